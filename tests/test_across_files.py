"""Programs of several files: what a finding quotes, and what a fix in another file leaves to be said."""

from __future__ import annotations

from pathlib import Path

import pytest
from tool import freezelint, write

ACCUMULATOR = '''"""Gradients of several batches in one step: lines that make the offsets of the other file say nothing here."""


class Accumulator:
    def __init__(self, optimizer, every):
        self.optimizer, self.every = optimizer, every

    def backward(self, loss):
        self.optimizer.zero_grad()
        (loss / self.every).backward()

    def step(self):
        self.optimizer.step()
'''
ACCUMULATES = """import torch
from accumulate import Accumulator

model = torch.nn.Linear(8, 2)
accumulator = Accumulator(torch.optim.SGD(model.parameters(), lr=0.1), 4)
for i in range(8):
    accumulator.backward(model(torch.randn(4, 8)).square().mean())
    if (i + 1) % 4 == 0:
        accumulator.step()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_condition_is_quoted_from_its_own_file(folder: Path) -> None:
    write(folder, {"accumulate.py": ACCUMULATOR, "train.py": ACCUMULATES})
    told = freezelint("--output-format", "concise", ".").out
    assert "accumulate.py:9:9: FRZ308" in told
    assert "waits for `(i + 1) % 4 == 0`:" in told
