"""What cannot be traced: one line that says what and where, and an exit code that tells it from a finding."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tool import freezelint

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import freezelint as package  # noqa: E402

MODULE = """
import torch
from torch import nn

number = 3


def build():
    return nn.Linear(4, 2)


def wants(width):
    return nn.Linear(width, 2)


def nothing():
    return None


def raises():
    raise ValueError("no weights\\nat all")
"""
REFUSED = {
    "gone:build": "there is no module `gone`",
    "made:gone": "`made` has no `gone`",
    "made:number": "`made:number` is neither callable nor a module",
    "made:wants": "`made:wants` needs arguments: width",
    "made:nothing": "`made:nothing` returned NoneType, not a torch.nn.Module",
    "made": "`made` is not of the form pkg.mod:callable",
    ":build": "`:build` is not of the form pkg.mod:callable",
    "gone.py": "no such file",
    "folder.py": "folder.py: not a regular file",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.py").write_text(MODULE)
    (tmp_path / "folder.py").mkdir()
    return tmp_path


def test_targets_that_name_no_model_are_refused_and_the_others_traced(folder: Path) -> None:
    options = ("--isolated", "--python", sys.executable)
    result = freezelint("trace", *options, *REFUSED, "made:build", "made:raises", "--output-format", "concise")
    said = [line for line in result.err.splitlines() if "was not traced" in line]
    lines = dict(zip(REFUSED, said, strict=True))
    for target, reason in REFUSED.items():
        assert lines[target].startswith(f"freezelint: `{target}` was not traced: ")
        assert lines[target].endswith(reason)
    assert result.code == 2
    assert "FRZ003 `made:raises` was not traced: ValueError: no weights at all" in result.out
    assert "Found 1 error" in result.out
    assert "1 model traced" in result.out


SETTINGS = """
[[tool.freezelint.models]]
name = "small"
build = "made:build"
inputs = "float32[7,4]"
trainable = ["gone.*"]
"""


@pytest.mark.parametrize("asked", ["small", "made:build"])
@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_model_of_the_settings_is_traced_as_they_have_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, asked: str, below: str
) -> None:
    (folder / "pyproject.toml").write_text(SETTINGS)
    (folder / "deeper").mkdir()
    monkeypatch.chdir(folder / below)
    result = freezelint("trace", "--python", sys.executable, asked, "--output-format", "full")
    assert "float32[7,4]" in result.out, result.out + result.err
    assert "FRZ502" in result.out
    assert result.code == 1


def test_a_model_that_failed_is_counted_in_no_files(folder: Path) -> None:
    result = freezelint("trace", "--isolated", "--python", sys.executable, "made:raises")
    assert result.out.splitlines()[-1].startswith("Found 1 error; ") or "Found 1 error\n" in result.out


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.py")
    for command in (("check", "--no-cache"), ("trace", "--python", sys.executable)):
        result = freezelint(*command, "--isolated", "pipe.py")
        assert (result.code, result.out) == (2, "")
        assert "pipe.py: not a regular file\n" in result.err
    assert freezelint("check", "--isolated", "--no-cache", ".").code == 0


class Net(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize(("arguments", "text"), [
    ({"model": Net}, "call the class first"), ({"model": "net"}, "takes a torch.nn.Module, not 'net'"),
    ({"loss": 3}, "`loss` takes a function"), ({"optimizer": torch.optim.SGD}, "`optimizer` takes an optimizer"),
    ({"frozen": 3}, "`frozen` takes patterns"),
])  # fmt: skip
def test_audit_says_which_argument_is_wrong(arguments: dict[str, object], text: str) -> None:
    given = {"model": nn.Linear(4, 2), "inputs": "float32[2,4]", **arguments}
    with pytest.raises(TypeError, match=text):
        package.audit(**given)  # type: ignore[arg-type]


def test_audit_takes_one_pattern_as_well_as_several() -> None:
    model = nn.Linear(4, 2)
    for patterns in ("weight", ["weight"]):
        (finding,) = package.audit(model, "float32[2,4]", frozen=patterns).findings
        assert finding.code == "FRZ501"
