"""Programs of several files: what a finding quotes, and what a fix in another file leaves to be said."""

from __future__ import annotations

from pathlib import Path

import pytest
from tool import freezelint, write

ACCUMULATOR = '''"""Gradients of several batches in one step: other lines, other offsets, than those of the training."""


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


GROUPS = """def split(model):
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return {
        "decay": (p for name, p in named if p.ndim > 1),
        "no_decay": (p for name, p in named if p.ndim < 2),
    }


def trainable(model):
    return (p for p in model.parameters() if p.requires_grad)


def count(params):
    return sum(p.numel() for p in params)


def optimizer(params, lr):
    return torch.optim.SGD(params, lr=lr)
"""
COUNTS = """import torch
from groups import count, split


def build(model, decay):
    groups = split(model)
    for name, group in groups.items():
        print(name, count(group))
    return torch.optim.SGD(
        [
            {"params": groups["decay"], "weight_decay": decay},
            {"params": groups["no_decay"]},
        ],
        lr=0.1,
    )


model = torch.nn.Linear(8, 2)
optimizer = build(model, 0.1)
model(torch.randn(4, 8)).square().mean().backward()
optimizer.step()
"""
CLIPS = """import torch
from groups import optimizer, trainable


def main(model, limit=0.1):
    params = trainable(model)
    sgd = optimizer(params, 0.1)
    for _ in range(4):
        sgd.zero_grad()
        model(torch.randn(4, 8)).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(params, limit)
        sgd.step()


main(torch.nn.Linear(8, 2))
"""


def test_every_group_that_was_counted_is_told_and_made_a_list(folder: Path) -> None:
    write(folder, {"groups.py": "import torch\n\n\n" + GROUPS, "train.py": COUNTS})
    told = freezelint("--output-format", "concise", ".").out
    assert (
        'train.py:11:24: FRZ310 [*] `groups["decay"]` was used up at line 8: the optimizer gets no parameters' in told
    )
    assert 'train.py:12:24: FRZ310 [*] `groups["no_decay"]` was used up at line 8:' in told
    fixed = freezelint("--fix", ".")
    assert (fixed.code, fixed.err) == (0, "")
    text = (folder / "groups.py").read_text()
    assert '"decay": list(p for name, p in named if p.ndim > 1),' in text
    assert '"no_decay": list(p for name, p in named if p.ndim < 2),' in text


def test_a_second_use_is_told_where_it_is_whatever_else_the_call_is_given(folder: Path) -> None:
    write(folder, {"groups.py": "import torch\n\n\n" + GROUPS, "train.py": CLIPS})
    told = freezelint("--output-format", "concise", ".").out
    assert "train.py:11:9: FRZ310 [*] `params` was used up at line 7: no gradient is clipped" in told
    assert freezelint("--fix", ".").code == 0
    assert "    return list(p for p in model.parameters() if p.requires_grad)\n" in (folder / "groups.py").read_text()


def test_a_use_in_another_file_is_told_with_its_file(folder: Path) -> None:
    kept = "class Kept:\n    def __init__(self, model):\n        self.params = trainable(model)\n"
    uses = "        self.sgd = torch.optim.SGD(self.params, lr=0.1)\n"
    write(folder, {"groups.py": "import torch\n\n\n" + GROUPS + "\n\n" + kept + uses, "train.py": KEEPS})
    told = freezelint("--output-format", "concise", ".").out
    assert "train.py:7:1: FRZ310 [*] `params` was used up at line 27 of groups.py: no gradient is clipped" in told


KEEPS = """import torch
from groups import Kept

model = torch.nn.Linear(8, 2)
kept = Kept(model)
model(torch.randn(4, 8)).square().mean().backward()
torch.nn.utils.clip_grad_norm_(kept.params, 0.1)
kept.sgd.step()
"""


POLICY = """class FreezePolicy:
    def __init__(self, keep=()):
        self.keep = keep

    def __call__(self, model):
        for parameter in model.parameters():
            parameter.requires_grad = False
        for name in self.keep:
            getattr(model, name).requires_grad_(True)
"""
KEEPS_NOTHING = """import torch
from policy import FreezePolicy

model = torch.nn.Linear(8, 2)
model.load_state_dict(torch.load("linear.pt"))
FreezePolicy()(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(4):
    loss = model(torch.randn(4, 8)).square().mean()
    loss.backward()
    optimizer.step()
"""


def test_a_freeze_by_a_helper_of_another_file_is_told_at_its_call(folder: Path) -> None:
    write(folder, {"policy.py": POLICY, "train.py": KEEPS_NOTHING})
    told = freezelint("--output-format", "concise", ".").out
    assert "train.py:6:1: FRZ314 everything that `loss` depends on is frozen here" in told
    assert "policy.py" not in told


GROUP = """

class Group:
    def __init__(self, **optimizers):
        self.optimizers = optimizers

    def zero_grad(self):
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    def step(self):
        for optimizer in self.optimizers.values():
            optimizer.step()
"""


def test_zeroing_through_a_group_of_optimizers_is_told_at_the_call_of_the_group(folder: Path) -> None:
    sgd = "torch.optim.SGD(model.parameters(), lr=0.1)"
    grouped = ACCUMULATES.replace(sgd, f"Group(a={sgd}, b=torch.optim.SGD([bias], lr=0.1))")
    grouped = grouped.replace("import Accumulator", "import Accumulator, Group")
    grouped = grouped.replace("accumulator =", "bias = torch.nn.Parameter(torch.zeros(2))\naccumulator =")
    grouped = grouped.replace("model(torch.randn(4, 8))", "(model(torch.randn(4, 8)) + bias)")
    write(folder, {"accumulate.py": ACCUMULATOR + GROUP, "train.py": grouped})
    told = freezelint("--output-format", "concise", ".").out
    assert "accumulate.py:9:9: FRZ308 `self.optimizer.zero_grad()` runs on every pass" in told
    assert "but `accumulator.step()` waits for `(i + 1) % 4 == 0`:" in told
    assert told.count("FRZ308") == 1


NET = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, trunk):
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(8, 2)
        self.project = nn.Linear(16, 8)

    def forward(self, x):
        with torch.no_grad():
            found = self.project(self.trunk(x))
        return self.head(found)
"""
TRAINS_NET = """import torch
from torch import nn
from net import Net

trunk = nn.Sequential(nn.Linear(4, 16), nn.ReLU())
trunk.load_state_dict(torch.load("trunk.pt"))
net = Net(trunk.requires_grad_(False))
optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
for _ in range(10):
    loss = nn.functional.cross_entropy(net(torch.randn(8, 4)), torch.randint(0, 2, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def test_a_layer_read_only_without_grad_mode_is_told_once_where_another_file_trains_it(folder: Path) -> None:
    write(folder, {"net.py": NET})
    alone = [
        (finding["code"], finding["location"]["row"]) for finding in freezelint(".", "--output-format", "json").findings
    ]
    assert alone == [("FRZ313", 9), ("FRZ301", 12)], "the layer, and the block that starves it"
    write(folder, {"net.py": NET, "train.py": TRAINS_NET})
    told = [
        (finding["code"], finding["location"]["row"]) for finding in freezelint(".", "--output-format", "json").findings
    ]
    assert told == [("FRZ301", 13)]
