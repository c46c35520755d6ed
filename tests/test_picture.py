"""Pictures of traced models: what they show, and that they are well formed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from pictured import HERE, VOID, audit, large, page, parts, small
from tool import freezelint as command

from freezelint.records import replace

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import freezelint  # noqa: E402
from freezelint.findings import Finding, Location  # noqa: E402
from freezelint.model_report import ModelReport, WhatIf  # noqa: E402
from freezelint.output import Report, picture, render  # noqa: E402
from freezelint.output.module_tree import STATES, opened, tree  # noqa: E402


def test_states_and_cuts_stand_at_their_modules() -> None:
    found = parts(tree(small()))
    assert {path: found[path].states for path in ("stem", "network.0.mlp.2", "adapter", "layers.0.mix", "head")} == {
        "stem": ["starved"],
        "network.0.mlp.2": ["frozen"],
        "adapter": ["trains"],
        "layers.0.mix": ["passes"],
        "head": ["trains"],
    }
    assert set(found[""].states) == set(STATES)
    (mark,) = found[""].marks
    assert mark.cut.text == "torch.no_grad()"
    assert mark.starved == {"stem.weight", "stem.bias"}


@pytest.mark.parametrize("report", [small, large], ids=["20", "2000"])
def test_sums_of_the_tree_are_those_of_the_model(report: Any) -> None:
    root = tree(report())
    assert (root.present, root.whole) == (report().present, report().whole)
    assert root.parameters == sum(row.elements for row in report().parameters)
    assert root.modules == len(report().modules)
    for part in root.inside():
        if part.children:
            assert part.present == sum((child.present for child in part.children), type(part.present)())


def test_alike_layers_fold_and_stay_reachable_one_by_one() -> None:
    fold = parts(tree(large()))["layers.0-279"]
    assert (fold.copies, fold.label, len(fold.each)) == (280, "0-279", 280)
    assert fold.modules == 280 * 7
    one = small().modules[[row.path for row in small().modules].index("layers.0.mix")]
    assert parts(fold)["layers.0-279.mix"].present.dgrad_flops == 280 * one.present.dgrad_flops
    assert len(opened(tree(large()), 40)) < 40


def test_layers_that_differ_are_not_folded() -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(6)))
    model[2].requires_grad_(False)
    labels = [child.label for child in tree(freezelint.audit(model).report).children]
    assert labels[:3] == ["0", "1", "2"]
    assert labels[-1] == "3-5"


def test_layers_that_take_turns_fold_together() -> None:
    model = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(4, 4), nn.Tanh())))
    first, fold, last = tree(freezelint.audit(model).report).children
    assert (first.label, fold.label, last.label) == ("0", "1-6", "7")
    assert (fold.copies, fold.class_name, len(fold.each)) == (3, "(Tanh, Linear)", 6)
    assert fold.parameters == 3 * 20


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 4)
        self.mix = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x) * self.gate(x).detach()


def test_a_cut_in_repeated_layers_is_told_once_with_all_it_starves() -> None:
    report = freezelint.audit(nn.Sequential(nn.Linear(4, 4), *(Gated() for _ in range(5)))).report
    found = parts(tree(report))
    folds = [part for part in found.values() if part.copies > 1]
    assert sum(part.copies for part in folds) >= 4
    for fold in folds:
        (cut,) = fold.cuts()
        assert len(cut.starved) == 2 * fold.copies
        assert all(len(part.marks) == 1 for part in fold.each)
    assert len({mark.number for part in found.values() for mark in part.marks}) == 1
    assert page(report).count("<b>.detach()</b>") == 1


def test_a_shared_parameter_is_counted_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    root = tree(freezelint.audit(model).report)
    assert root.parameters == sum(parameter.numel() for parameter in model.parameters())


class Balance(HTMLParser):
    """Fails on a tag that is closed in the wrong place."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.paths: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.stack.append(tag)
        self.paths += [value or "" for name, value in attrs if name == "data-p"]

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


NASTY = "<b>&\"'-->]]>\x07"


def nasty() -> ModelReport:
    report = small()
    modules = [replace(row, path=row.path.replace("stem", NASTY)) for row in report.modules]
    parameters = [replace(row, name=row.name.replace("stem", NASTY)) for row in report.parameters]
    zero = report.present
    change = WhatIf("freeze", f"freeze `{NASTY}` too", (NASTY,), Location(f"{NASTY}.py", 1), zero, 1, 1, True)
    return replace(
        report, name=NASTY, modules=modules, parameters=parameters, notes=[NASTY], what_if=[change], frozen=(NASTY,)
    )


@pytest.mark.parametrize("report", [small, large, nasty])
def test_the_page_is_well_formed_holds_every_module_and_asks_for_nothing(report: Any) -> None:
    text = page(report(), [Finding("FRZ301", f"it is `{NASTY}`", Location(f"{NASTY}.py", 3))])
    parser = Balance()
    parser.feed(text)
    parser.close()
    assert parser.stack == []
    assert {row.path for row in report().modules} <= set(parser.paths)
    assert not re.search(r'(?:src|href)="(?!#)|url\(|@import|<link|fetch\(|https?:', text)
    assert "<b>&\"'" not in text


@pytest.mark.parametrize("report", [small, large, nasty])
def test_svg_is_xml_for_both_themes_and_stays_short(report: Any) -> None:
    text = page(report(), name="svg")
    root = ElementTree.fromstring(text.encode())
    told = " ".join(root.itertext())
    assert "prefers-color-scheme: dark" in told
    assert "torch.no_grad()" in told
    assert float(root.get("height", "0")) < 2000
    for word in STATES.values():
        assert word in told
    drawn = {row.get("class", "") for row in root.iter() if "glyph" in row.get("class", "")}
    assert drawn == {f"glyph {state}" for state in STATES}


@pytest.mark.parametrize("report", [small, large, nasty])
def test_dot_is_read_by_graphviz(report: Any) -> None:
    dot = shutil.which("dot")
    if dot is None:
        pytest.skip("Graphviz is not installed")
    text = page(report(), name="dot")
    done = subprocess.run([dot, "-Tplain"], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    nodes = [line for line in done.stdout.splitlines() if line.startswith("node ")]
    assert 10 < len(nodes) < 90
    for word in ("trains", "starved", "frozen, passed", "frozen:"):
        assert any(word in line for line in nodes)


def test_two_models_share_one_page_and_one_svg() -> None:
    both = Report([], models=2, pictures=[small(), nasty()])
    assert render(both, "html").count('<div class="frz">') == 2
    assert render(both, "html").count("<style>") == 2  # the page's and the pictures'
    assert len(ElementTree.fromstring(render(both, "svg")).findall("*[@class='title']")) == 2


def test_styles_touch_nothing_outside_of_the_picture() -> None:
    style = re.sub(r"@container[^{]*", "", picture.style().removeprefix("<style>").partition("</style>")[0])
    selectors = [part.strip() for rule in re.findall(r"([^{}]+)\{", style) for part in rule.split(",")]
    assert selectors
    assert [one for one in selectors if one and not re.match(r"(\[data-jp|\.vscode-)?[^ ]* ?\.?frz|\.frz", one)] == []


def test_a_notebook_shows_the_picture() -> None:
    text = audit()._repr_html_()
    assert text.startswith("<style>")
    assert '<div class="frz">' in text
    assert "with torch.no_grad():" in text
    assert "<html" not in text
    assert "<body" not in text


def test_the_command_writes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE / "systems")
    file = tmp_path / "new" / "page.html"
    options = ("--isolated", "--python", sys.executable, "--output-file", file)
    done = command("trace", "starved_autoencoder.py:build", "--output-format", "html", *options)
    assert (done.code, done.out) == (1, "")
    text = file.read_text(encoding="utf-8")
    assert "cut by <code>torch.no_grad()</code> at starved_autoencoder.py:25" in text
    assert "FRZ301" in text


def test_without_a_model_there_is_a_line_and_no_file(tmp_path: Path) -> None:
    file = tmp_path / "none.svg"
    options = ("--isolated", "--python", sys.executable, "--output-file", file)
    done = command("trace", "no_such_module:build", "--output-format", "svg", *options)
    assert done.code == 2
    assert "freezelint: `no_such_module:build` was not traced: there is no module" in done.err
    assert not file.exists()


def test_check_does_not_draw_alone() -> None:
    done = command("check", "--output-format", "svg")
    assert done.code == 2
    assert "--output-format: one of full" in done.err
