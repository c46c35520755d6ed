"""Scripts and builders with several models: each that an optimizer steps is traced, and what is left is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tool import freezelint

pytest.importorskip("torch")

from freezelint.worker.setup_slice import build_script

HEAD = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width, cut=False):
        super().__init__()
        self.front, self.back, self.cut = nn.Linear(4, width), nn.Linear(width, 4), cut

    def forward(self, x):
        hidden = self.front(x)
        return self.back(hidden.detach() if self.cut else hidden)

"""
PAIR = """
made, judge, target = Net(32), Net(8, cut=True), Net(64)
criterion = nn.MSELoss()
optimizers = {"made": torch.optim.SGD(made.parameters(), lr=0.1)}
optimizers["judge"] = torch.optim.SGD(judge.parameters(), lr=0.1)
for _ in range(2):
    x = torch.randn(3, 4)
    loss = criterion(judge(made(x)), target(x))
    loss.backward()
    for one in optimizers.values():
        one.step()
"""
LIST = """
models = [Net(8 + number) for number in range(8)]
steppers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
for model, stepper in zip(models, steppers):
    model(torch.randn(3, 4)).sum().backward()
    stepper.step()
"""
BUILDER = """
def build():
    first, second, teacher = Net(8), Net(16), Net(32)
    return {"first": first, "second": second, "teacher": teacher,
            "optimizer": torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)}
"""


def write(folder: Path, text: str) -> str:
    (folder / "train.py").write_text(HEAD + text)
    return str(folder / "train.py")


def test_a_teacher_is_not_taken_for_the_model_that_trains(tmp_path: Path) -> None:
    built = build_script(write(tmp_path, PAIR))
    assert [one.part for one in (built, *built.others)] == ["made", "judge"]
    assert built.notes == ["`target`: in no optimizer of the script, and not looked at"]
    for one in (built, *built.others):
        assert one.optimizer is not None
        held = {id(p) for group in one.optimizer.param_groups for p in group["params"]}
        assert held == {id(p) for p in one.model.parameters()}


def test_models_in_a_list_and_the_inputs_their_loop_gives_them(tmp_path: Path) -> None:
    built = build_script(write(tmp_path, LIST))
    assert [one.part for one in (built, *built.others)] == [f"models[{number}]" for number in range(7, -1, -1)]
    assert {one.inputs.describe()[0] for one in (built, *built.others) if one.inputs} == {"#0: float32[3,4]"}


def test_a_model_without_an_optimizer_is_the_largest(tmp_path: Path) -> None:
    built = build_script(write(tmp_path, "a, b = Net(8), Net(16)\na.requires_grad_(False)\nb.requires_grad_(True)\n"))
    assert (built.part, built.others) == ("b", [])
    assert built.notes == ["only `b` of the script was looked at, not `a`"]


def trace(target: str, *more: str) -> str:
    result = freezelint("trace", "--isolated", "--python", sys.executable, target, *more)
    return result.out


def test_each_model_of_a_script_is_traced_up_to_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, PAIR)
    out = trace("train.py")
    assert [line.split(": #0")[0] for line in out.splitlines() if "fake tensors" in line] == [
        "train.py: made", "train.py: judge",
    ]  # fmt: skip
    assert "FRZ302 `.detach()` ends the gradient on its way to `front`" in out
    write(tmp_path, LIST)
    out = trace("train.py", "--output-format", "concise")
    assert "FRZ003 hint: `train.py`: `models[1]`, `models[0]` not traced: 6 of its models were" in out


def test_each_model_that_a_builder_returns_with_its_optimizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, BUILDER)
    out = trace("train.py:build")
    assert [line.split(": #0")[0] for line in out.splitlines() if "fake tensors" in line] == [
        "train.py:build: second", "train.py:build: first",
    ]  # fmt: skip
    assert "note: `teacher`: in no optimizer of `train.py:build`, and not looked at" in out
