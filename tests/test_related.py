"""The other places a finding names: where it was frozen, where the optimizer was built, where the graph had ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import lint

HEAD = """import torch
from torch import nn

net, head = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), nn.Linear(4, 2)
net.load_state_dict(torch.load("net.pt"))
"""  # the program goes on with line 6
FREEZE = "net.requires_grad_(False)\n"
OPTIMIZER = "optimizer = torch.optim.SGD([*net.parameters(), *head.parameters()], lr=0.1)\n"
LOOP = """net.eval()
for x, y in batches:
    loss = nn.functional.cross_entropy(head(net(x)), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
PROGRAMS = {
    "module-attribute": (
        "net.requires_grad = False\n" + OPTIMIZER + LOOP,
        ("FRZ101", 6, [(7, "the optimizer gets its parameters here")]),
    ),
    "undone": (FREEZE + "net.requires_grad_(True)\n" + OPTIMIZER + LOOP, ("FRZ105", 7, [(6, "frozen here")])),
    "drifts": (
        FREEZE + OPTIMIZER.replace("*net.parameters(), ", "") + LOOP.replace("eval", "train"),
        ("FRZ201", 8, [(6, "frozen here")]),
    ),
    "forced": (
        OPTIMIZER
        + LOOP.replace("    optimizer.zero", "    loss = loss.detach()\n    loss.requires_grad_()\n    optimizer.zero"),
        ("FRZ304", 11, [(10, "the graph ends here")]),
    ),
    "in-the-optimizer": (FREEZE + OPTIMIZER + LOOP, ("FRZ404", 7, [(6, "frozen here")])),
}


@pytest.mark.parametrize(("text", "wanted"), PROGRAMS.values(), ids=PROGRAMS)
def test_related_places(text: str, wanted: tuple[str, int, list[tuple[int, str]]], tmp_path: Path) -> None:
    found = [
        (one.code, one.location.line, [(other.location.line, other.note) for other in one.related])
        for one in lint(HEAD + text, tmp_path)
    ]
    assert found == [wanted]
