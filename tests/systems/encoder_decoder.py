"""System 2: a trainable encoder in front of a frozen decoder.

Question: the decoder is frozen. Does the encoder train?
Answer: yes. The loss sits behind the decoder, and its gradient passes through the frozen weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EncoderDecoder(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, 2 * hidden, 3, stride=2, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(2 * hidden, hidden, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(hidden, channels, 4, stride=2, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.encoder(images))


def build() -> tuple[EncoderDecoder, torch.optim.Optimizer]:
    model = EncoderDecoder(channels=3, hidden=16)
    model.decoder.requires_grad_(False)
    return model, torch.optim.AdamW(model.encoder.parameters(), lr=1e-3)


def batch() -> tuple[Tensor, Tensor]:
    images = torch.rand(4, 3, 32, 32)
    return images, images
