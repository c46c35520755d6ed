"""What the README shows is what is printed: its example, its options, its rules."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tool import freezelint

from freezelint import book

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="runs in the source tree")


def block(after: str) -> str:
    """The first fenced block after a text."""
    rest = README.read_text(encoding="utf-8").partition(after)[2]
    return rest.split("```")[1].partition("\n")[2]


def test_example_is_printed_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if torch.cuda.is_available():
        pytest.skip("the README shows a run on the CPU")
    assert block("## An example") in (HERE / "readme" / "finetune.py").read_text()
    monkeypatch.chdir(HERE / "readme")
    printed = freezelint("finetune.py", "--trace", "--verify", "--isolated", "--python", sys.executable).out
    version = r"torch \d[\w.+]*"
    shown = block("`freezelint finetune.py --trace --verify` prints:")
    assert re.sub(version, "torch", printed) == re.sub(version, "torch", shown)


def test_audit_as_shown() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    import freezelint as package

    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    report = package.audit(model, torch.rand(3, 4), loss=lambda output: output.sum(), optimizer=optimizer)
    assert report.ok, str(report)


def test_every_option_and_rule_it_names_exists() -> None:
    text = README.read_text(encoding="utf-8")
    helps = "".join(freezelint(command, "--help").out for command in ("check", "run", "trace", "rule"))
    helps = helps.replace("--[no-]", "--")
    own = text.partition("## Beside other tools")[0]
    options = {word for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", own) if word not in ("--epochs",)}
    assert {word for word in options if word not in helps} == set()
    assert {code for code in re.findall(r"FRZ\d{3}", text) if code not in book.codes()} == set()
