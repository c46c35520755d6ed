"""System 3: a RoBERTa whose word embedding trains while everything after it is frozen.

Question: how much of backward is saved? Half?
Answer: about half. Every frozen layer still computes the gradient of its input (dgrad), because the embedding lies in
front of it; only the gradients of the weights (wgrad) are gone.
"""

from __future__ import annotations

import torch
from networks import Roberta, small_roberta
from torch import Tensor


def freeze_all_but_words(model: Roberta) -> Roberta:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("words."))
    return model


def build() -> tuple[Roberta, torch.optim.Optimizer]:
    model = freeze_all_but_words(small_roberta())
    return model, torch.optim.AdamW(model.words.parameters(), lr=1e-3)


def batch() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 1000, (4, 32)), torch.randint(0, 2, (4,))
