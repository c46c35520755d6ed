"""System 1 as it is often written: the frozen ResNet runs under `no_grad`, "because it is frozen anyway".

Question: why does the autoencoder not learn?
Answer: `no_grad` does not freeze the ResNet, it cuts the gradient on its way through it. Only the classifier trains.
"""

from __future__ import annotations

import torch
from networks import AutoEncoder, ResNet, pretrained_resnet
from torch import Tensor, nn


class StarvedClassifier(nn.Module):
    def __init__(self, autoencoder: AutoEncoder, backbone: ResNet, classes: int) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.backbone = backbone
        self.classifier = nn.Linear(backbone.features, classes)
        for parameter in self.backbone.parameters():
            parameter.requires_grad = False

    def forward(self, images: Tensor) -> Tensor:
        cleaned = self.autoencoder(images)
        with torch.no_grad():
            features = self.backbone(cleaned)
        return self.classifier(features)


def build() -> tuple[StarvedClassifier, torch.optim.Optimizer]:
    backbone = pretrained_resnet(channels=3, width=16, stages=3).eval()
    model = StarvedClassifier(AutoEncoder(channels=3, hidden=16), backbone, classes=10)
    return model, torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-3)


def batch() -> tuple[Tensor, Tensor]:
    return torch.rand(4, 3, 32, 32), torch.randint(0, 10, (4,))
