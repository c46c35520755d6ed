"""System 4: a frozen network with a trainable head, fed a batch that requires grad for no reason.

Question: the network is frozen, so does the flag on the batch cost anything?
Answer: it costs nearly a full dgrad. Backward must reach the batch, through every frozen layer, for a gradient that
nobody reads; without the flag it ends at the head.
"""

from __future__ import annotations

import torch
from networks import pretrained_resnet
from torch import Tensor, nn


def build() -> tuple[nn.Sequential, torch.optim.Optimizer]:
    backbone = pretrained_resnet(channels=3, width=16, stages=3).requires_grad_(False).eval()
    head = nn.Linear(backbone.features, 10)
    return nn.Sequential(backbone, head), torch.optim.AdamW(head.parameters(), lr=1e-3)


def batch() -> tuple[Tensor, Tensor]:
    return torch.rand(4, 3, 32, 32), torch.randint(0, 10, (4,))


def train(steps: int = 2) -> float:
    model, optimizer = build()
    loss = torch.zeros(())
    for _ in range(steps):
        images, labels = batch()
        images.requires_grad_(True)
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


if __name__ == "__main__":
    print(f"loss {train():.3f}")
