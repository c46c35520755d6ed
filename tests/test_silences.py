"""Right programs that look like mistakes: each idiom of the pages' "Stays silent" is run under torch and linted."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import Block, clean_torch, execute, lint, read_blocks

from freezelint.source import lint as reading

FILES = sorted((Path(__file__).parent / "silences").glob("*.md"))
PROGRAMS = [pytest.param(path.name, block, id=block.name) for path in FILES for block in read_blocks(path)]


def test_every_program_has_a_name_of_its_own() -> None:
    names = [parameter.id for parameter in PROGRAMS]
    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("where", "block"), PROGRAMS)
def test_right_program_is_silent(where: str, block: Block, tmp_path: Path) -> None:
    said = [(finding.location.line, finding.code, finding.message) for finding in lint(block.text, tmp_path)]
    assert said == [], f"{where}:{block.line}"


@pytest.mark.parametrize("budget", [40, 80, 120, 160, 240, 320, 480, 640])
def test_right_program_is_silent_wherever_its_reading_ends(
    budget: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BUDGET", budget)
    monkeypatch.setattr(reading, "STEPS_PER_LINE", 0)
    said = []
    for parameter in PROGRAMS:
        _, block = parameter.values
        assert isinstance(block, Block)
        said += [(block.name, finding.code, finding.message) for finding in lint(block.text, tmp_path)]
    assert said == []


@pytest.mark.parametrize(("where", "block"), PROGRAMS)
def test_right_program_runs(where: str, block: Block) -> None:
    pytest.importorskip("torch")
    if block.role == "read":
        compile(block.text, where, "exec")
        return
    with clean_torch():
        execute(block, where)
