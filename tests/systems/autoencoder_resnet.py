"""System 1: a trainable autoencoder, a frozen ResNet, a trainable classifier.

Question: the ResNet is frozen. Does the autoencoder in front of it still get a gradient?
Answer: yes, all of it. Autograd goes back to the first parameter that needs a gradient, through frozen layers too.
"""

from __future__ import annotations

import torch
from networks import AutoEncoder, ResNet, pretrained_resnet
from torch import Tensor, nn


class CleanedClassifier(nn.Module):
    """Cleans images, looks at them with a pretrained network, and classifies what it saw."""

    def __init__(self, autoencoder: AutoEncoder, backbone: ResNet, classes: int) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.backbone = backbone
        self.classifier = nn.Linear(backbone.features, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.backbone(self.autoencoder(images)))


def build() -> tuple[CleanedClassifier, torch.optim.Optimizer]:
    backbone = pretrained_resnet(channels=3, width=16, stages=3)
    backbone.requires_grad_(False).eval()
    model = CleanedClassifier(AutoEncoder(channels=3, hidden=16), backbone, classes=10)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-3)
    return model, optimizer


def batch() -> tuple[Tensor, Tensor]:
    return torch.rand(4, 3, 32, 32), torch.randint(0, 10, (4,))
