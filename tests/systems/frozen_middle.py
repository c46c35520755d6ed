"""System 5: three layers, the middle one frozen.

Question: what does freezing a layer in the middle save?
Answer: the kernels of its weight gradient. The kernels of its input gradient stay: the layer before it needs them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Three(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.middle = nn.Linear(width, width)
        self.last = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.middle(torch.relu(self.first(x)))))


def build() -> tuple[Three, torch.optim.Optimizer]:
    model = Three(width=128)
    model.middle.requires_grad_(False)
    return model, torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.1)


def batch() -> tuple[Tensor, Tensor]:
    return torch.rand(16, 128), torch.rand(16, 128)
