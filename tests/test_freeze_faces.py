"""Many shapes of each freeze that does nothing: `tests/faces/freezes.md`, linted with FRZ101 to FRZ109 alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import Block, read_blocks

from freezelint.rule import all_rules
from freezelint.source.lint import Project, lint_file

CODES = frozenset(code for code in all_rules() if "FRZ100" < code < "FRZ110")
PROGRAMS = [pytest.param(block, id=block.name) for block in read_blocks(Path(__file__).parent / "faces" / "freezes.md")]


@pytest.mark.parametrize("block", PROGRAMS)
def test_marked_lines_and_no_others_are_reported(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(block.text, encoding="utf-8")
    found = {(f.location.line, f.code) for f in lint_file(str(path), block.text, Project([tmp_path]), CODES).findings}
    assert found == block.marks
