"""What the README shows is what is printed: its example, its options, its rules."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
from tool import FROZEN_BY_ATTRIBUTE, freezelint

from freezelint import book
from freezelint.model_report import flop, size

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="runs in the source tree")


NOT_OURS = ("--epochs", "--allow-missing-repository", "--skip-license", "--install-extension", "--install-completion")


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


def test_systems_are_printed_as_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if torch.cuda.is_available():
        pytest.skip("the README shows a trace on the CPU")
    monkeypatch.chdir(HERE / "systems")
    monkeypatch.syspath_prepend(HERE / "systems")
    told = "`freezelint trace (autoencoder_resnet.*)`:\n"
    (line,) = re.findall(told, README.read_text(encoding="utf-8"))
    printed = freezelint("trace", *line.split(), "--isolated", "--python", sys.executable).out
    assert plain(printed) == plain(block(f"{line}`:"))
    example = block("The fourth, with the batch that asks for a gradient nobody reads:")
    exec(compile(example, "wasted_input.py", "exec"), {})
    assert plain(capsys.readouterr().out) == plain(block(f"{example}```"))


def plain(text: str) -> str:
    return re.sub(r"torch \d[\w.+]*", "torch", text)


SYSTEMS = ("autoencoder_resnet", "encoder_decoder", "embedding_only", "wasted_input_gradient", "frozen_middle")


def test_the_table_of_systems_holds_what_a_trace_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    import freezelint as package

    monkeypatch.syspath_prepend(HERE / "systems")
    rows = re.findall(r"^\| \d\. .*", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(SYSTEMS)
    for number, name in enumerate(SYSTEMS, 1):
        system = importlib.import_module(name)
        wasted = name == "wasted_input_gradient"
        report = package.audit(system.build()[0], system.batch()[0].requires_grad_() if wasted else None).report
        now, whole = report.present, report.whole
        share = f"{report.share_of_backward():.3f}"
        cost = f"{flop(now.backward_flops)}, {size(now.saved_bytes)} saved" if wasted else share
        told = f"| {cost} | {now.dgrad_ops} of {whole.dgrad_ops} | {now.wgrad_ops} of {whole.wgrad_ops} |"
        assert told in rows[number - 1]


def test_audit_as_shown() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    import freezelint as package

    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    report = package.audit(model, torch.rand(3, 4), loss=lambda output: output.sum(), optimizer=optimizer)
    assert report.ok, str(report)


def test_recipes_for_ci_work_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of a recipe that calls freezelint: 1 for findings unless told otherwise, and the report is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(FROZEN_BY_ATTRIBUTE)
    section = README.read_text(encoding="utf-8").partition("## Continuous integration")[2].partition("\n## ")[0]
    lines = re.findall(r"(?:- run: |  - |^)freezelint (--output-format .*)$", section, re.MULTILINE)
    assert {line.split()[1] for line in lines} == {"github", "sarif", "gitlab", "junit"}
    for line in lines:
        options = line.split()
        result = freezelint(*options, "--isolated")
        assert result.code == ("--exit-zero" not in options)
        written = Path(options[options.index("--output-file") + 1]).read_text() if "--output-file" in options else ""
        assert "FRZ101" in (written or result.out)


def test_every_option_and_rule_it_names_exists() -> None:
    text = README.read_text(encoding="utf-8")
    helps = "".join(freezelint(command, "--help").out for command in ("check", "run", "trace", "rule"))
    helps = helps.replace("--[no-]", "--")
    own = text.partition("## Beside other tools")[0]
    options = {word for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", own) if word not in NOT_OURS}
    assert {word for word in options if word not in helps} == set()
    assert {code for code in re.findall(r"FRZ\d{3}", text) if code not in book.codes()} == set()
