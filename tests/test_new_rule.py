"""The scaffold writes a page and a check that run, in the shape of the others."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from new_rule import Refused, main, scaffold
from pages import harm, load_page
from test_rule_contracts import complaints


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "freezelint" / "checks").mkdir(parents=True)
    return tmp_path


def test_page_reads_and_its_blocks_run(tree: Path) -> None:
    pytest.importorskip("torch")
    page = load_page(scaffold("FRZ204", "some-name", tree)[0])
    assert (page.code, page.name, page.fix) == ("FRZ204", "some-name", "none")
    (bad,) = page.of("bad")
    assert {code for _, code in bad.marks} == {"FRZ204"}
    assert not harm(page, bad), "a scaffold proves nothing: its bad block must not pass as harm"


def test_check_is_a_rule_that_says_nothing_yet(tree: Path) -> None:
    path = scaffold("FRZ204", "some-name", tree)[1]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert path.name == "frz204_some_name.py"
    assert (module.RULE.code, module.RULE.name) == ("FRZ204", "some-name")
    assert complaints(module.RULE.message) == []
    assert module.RULE.checks


@pytest.mark.parametrize(("code", "name"), [("FRZ2", "some-name"), ("frz204", "some-name"), ("FRZ204", "Some Name")])
def test_odd_codes_and_names_are_refused(code: str, name: str, tree: Path) -> None:
    with pytest.raises(Refused):
        scaffold(code, name, tree)
    assert list(tree.rglob("*204*")) == []


def test_nothing_is_overwritten(tree: Path) -> None:
    scaffold("FRZ204", "some-name", tree)
    with pytest.raises(Refused, match=r"FRZ204 exists already: rules/FRZ204\.md"):
        scaffold("FRZ204", "other-name", tree)


def test_command_line_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["FRZ204"]) == 2
    assert main(["FRZ101", "some-name"]) == 2
    assert "exists already" in capsys.readouterr().err
