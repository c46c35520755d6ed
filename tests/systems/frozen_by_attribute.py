"""A module "frozen" by an attribute.

Question: why does the backbone drift although it was frozen?
Answer: `module.requires_grad = False` sets an attribute that nothing reads. Every parameter keeps training.
"""

from __future__ import annotations

import torch
from networks import ResNet, pretrained_resnet
from torch import Tensor, nn


class Classifier(nn.Module):
    def __init__(self, backbone: ResNet, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.features, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))


def build() -> tuple[Classifier, torch.optim.Optimizer]:
    model = Classifier(pretrained_resnet(channels=3, width=16, stages=2), classes=10)
    model.backbone.requires_grad = False
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3)


def batch() -> tuple[Tensor, Tensor]:
    return torch.rand(4, 3, 32, 32), torch.randint(0, 10, (4,))
