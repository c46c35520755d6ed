"""Other faces of the mistakes: each marked line of `tests/variants/*.md` is reported, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import Block, clean_torch, execute, lint, read_blocks, told

from freezelint.fixes import apply

FILES = sorted((Path(__file__).parent / "variants").glob("*.md"))
PROGRAMS = [pytest.param(path.name, block, id=block.name) for path in FILES for block in read_blocks(path)]


def test_every_program_is_named_after_the_rule_it_marks() -> None:
    blocks = [block for path in FILES for block in read_blocks(path)]
    assert len({block.name for block in blocks}) == len(blocks)
    for block in blocks:
        assert {code for _, code in block.marks} == {f"FRZ{block.name[:3]}"}, block.name


@pytest.mark.parametrize(("where", "block"), PROGRAMS)
def test_marked_lines_are_reported(where: str, block: Block, tmp_path: Path) -> None:
    assert told(lint(block.text, tmp_path), block.marks) == block.marks, f"{where}:{block.line}"


@pytest.mark.parametrize(("where", "block"), PROGRAMS)
def test_fixes_make_their_findings_go_away(where: str, block: Block, tmp_path: Path) -> None:
    path = str(tmp_path / "page.py")
    findings = lint(block.text, tmp_path)
    for finding in findings:
        changed, fixed = apply({path: block.text}, [finding], unsafe=True)
        if fixed:
            compile(changed[path], where, "exec", dont_inherit=True)
            left = [one for one in lint(changed[path], tmp_path) if one.code == finding.code]
            assert len(left) < sum(one.code == finding.code for one in findings), changed[path]


@pytest.mark.parametrize(("where", "block"), PROGRAMS)
def test_program_runs(where: str, block: Block) -> None:
    pytest.importorskip("torch")
    if block.role == "read":
        compile(block.text, where, "exec")
        return
    with clean_torch():
        assert (execute(block, where)["error"] is None) == (not block.raises)


@pytest.mark.parametrize(("where", "block"), PROGRAMS)
def test_fixed_program_runs(where: str, block: Block, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = str(tmp_path / "page.py")
    changed, _ = apply({path: block.text}, lint(block.text, tmp_path), unsafe=True)
    if changed and block.role != "read":
        with clean_torch():
            execute(block, where, changed[path])
