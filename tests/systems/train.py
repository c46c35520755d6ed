"""Trains the sample project's models for a few steps each: `python train.py --model starved --steps 4`."""

from __future__ import annotations

import argparse

import autoencoder_resnet
import embedding_only
import encoder_decoder
import frozen_by_attribute
import frozen_middle
import starved_autoencoder
import torch
from torch import nn

MODELS = {
    "cleaned": (autoencoder_resnet, nn.functional.cross_entropy),
    "starved": (starved_autoencoder, nn.functional.cross_entropy),
    "decoder": (encoder_decoder, nn.functional.mse_loss),
    "embedding": (embedding_only, nn.functional.cross_entropy),
    "attribute": (frozen_by_attribute, nn.functional.cross_entropy),
    "middle": (frozen_middle, nn.functional.mse_loss),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sorted(MODELS), default="starved")
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    torch.manual_seed(0)
    system, loss_function = MODELS[options.model]
    model, optimizer = system.build()
    for step in range(options.steps):
        inputs, targets = system.batch()
        loss = loss_function(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"{options.model} step {step}: loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
