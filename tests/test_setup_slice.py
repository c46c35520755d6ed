"""Models of training scripts: what is run to build them, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from freezelint.worker.inputs import Inputs
from freezelint.worker.protocol import UnsupportedError
from freezelint.worker.setup_slice import build_script
from freezelint.worker.targets import find

SCRIPT = """
import argparse
import no_such_package_for_data
import torch
from torch import nn

WIDTH = 8

class Net(nn.Module):
    def __init__(self, width=WIDTH):
        super().__init__()
        self.encoder, self.head = nn.Linear(4, width), nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.encoder(x))

def freeze(module):
    for parameter in module.parameters():
        parameter.requires_grad = False

def fit(model, optimizer, data):
    for x in data:
        model(x).sum().backward()
        optimizer.step()
"""
MAIN = """
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=16)
    options = parser.parse_args()
    data = no_such_package_for_data.load("/nowhere")
    net = Net(options.width)
    net.load_state_dict(torch.load("/nowhere/weights.pt"))
    freeze(net.encoder)
    optimizer = torch.optim.SGD(net.head.parameters(), lr=0.1)
    fit(net, optimizer, data)
    raise SystemExit("the training is over")

if __name__ == "__main__":
    main()
"""


def script(folder: Path, text: str) -> str:
    file = folder / "train.py"
    file.write_text(text)
    return str(file)


def test_only_what_the_model_hangs_on_is_run(tmp_path: Path) -> None:
    built = build_script(script(tmp_path, SCRIPT.replace("import no_such_package_for_data\n", "") + MAIN))
    assert built.name == "net"
    assert built.model.encoder.out_features == 16
    assert not any(p.requires_grad for p in built.model.encoder.parameters())
    assert built.optimizer is not None
    assert len(built.optimizer.param_groups[0]["params"]) == 2


def test_a_package_that_only_the_data_needs_may_be_missing(tmp_path: Path) -> None:
    assert build_script(script(tmp_path, SCRIPT + MAIN)).name == "net"


def test_inputs_that_the_script_writes_out(tmp_path: Path) -> None:
    top = "net = Net()\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)\nbatch = torch.randn(3, 4)\n"
    built = build_script(script(tmp_path, SCRIPT + top + "net(batch).sum().backward()\noptimizer.step()\n"))
    assert isinstance(built.inputs, Inputs)
    assert built.inputs.describe() == ["#0: float32[3,4]"]
    assert built.inputs.how == "script"


def test_a_class_of_a_script_is_had_without_its_training(tmp_path: Path) -> None:
    top = "net = Net()\nfit(net, torch.optim.SGD(net.parameters(), lr=0.1), no_such_package_for_data.load())\n"
    path = script(tmp_path, SCRIPT + top)
    assert find({"path": path, "qualname": "Net", "kind": "class"})().head.in_features == 8


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("import os; os.makedirs('x/y/z'); width = os.system('true')", "os.system(...)` (line"),
        ("width = int(input('width? '))", "`input(...)` (line"),
        ("width = len(open('log.txt', 'w').name)", "`open(...)` (line"),
        ("p = argparse.ArgumentParser(); p.add_argument('w', type=int); width = p.parse_args().w", "needs arguments"),
    ],
)
def test_what_a_set_up_may_not_do_is_said(tmp_path: Path, line: str, reason: str) -> None:
    top = f"{line}\nnet = Net(width)\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
    with pytest.raises(UnsupportedError) as error:
        build_script(script(tmp_path, SCRIPT.replace("import no_such_package_for_data\n", "") + top))
    assert reason in str(error.value)


@pytest.mark.parametrize("text", ["print('no model')\n", "def broken(:\n"])
def test_a_script_without_a_model_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnsupportedError) as error:
        build_script(script(tmp_path, text))
    assert "\n" not in str(error.value)
