"""Every block of every page that names the run as a witness, and whole programs, through `freezelint run` itself.

And right programs of many kinds under the monitor alone: what the run would say on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

from nursery import Ended, run
from pages import Block, all_pages, read_blocks
from quick_python import stand_in
from tool import freezelint

from freezelint.facts import Facts
from freezelint.rule import all_rules, ask, table

BLOCKS = {
    f"{page.code}-{block.role}-{block.name or number}": block
    for page in all_pages()
    if page.about_a_mistake and "run" in page.witnesses
    for number, block in enumerate([*page.of("bad"), *page.of("good")])
}
BLOCKS |= {f"{block.role}-{block.name}": block for block in read_blocks(Path(__file__).parent / "runs" / "programs.md")}
SILENCES = {
    block.name: block
    for path in sorted((Path(__file__).parent / "silences").glob("*.md"))
    for block in read_blocks(path)
    if block.role != "read"
}
ONLY_A_RUN_KNOWS = {"early-dict-unknown-key": {"FRZ404"}, "early-dict-unknown-key-2": {"FRZ404"}}  # and it is so


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with stand_in(tmp_path_factory.mktemp("python")) as path:
        yield path


def said(block: Block, python: Path, *options: str) -> list[tuple[set[tuple[int, str]], str, str]]:
    """What the command reports of a block: lines and codes, the run's verdict, its detail. Notes on the run aside."""
    Path("block.py").write_text(block.text, encoding="utf-8")
    result = freezelint("run", "--python", python, "--output-format", "json", "--no-cache", *options, "block.py")
    rows = []
    for one in result.findings:
        evidence = {item["witness"]: item for item in one["evidence"]}.get("run", {"verdict": "", "detail": ""})
        lines = range(one["location"]["row"], max(one["end_location"]["row"], one["location"]["row"]) + 1)
        if not one["code"].startswith("FRZ0"):
            rows.append(({(line, one["code"]) for line in lines}, evidence["verdict"], evidence["detail"]))
    return rows


@pytest.mark.parametrize("name", BLOCKS)
def test_mistakes_are_confirmed_and_right_code_is_clean(
    name: str, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    block = BLOCKS[name]
    rows = said(block, python)
    assert all(places & block.marks for places, _, _ in rows), rows
    confirmed = {place for places, verdict, detail in rows if verdict == "confirmed" and detail for place in places}
    assert block.marks <= confirmed, rows


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    folder = tmp_path_factory.mktemp("programs")
    scripts = {name: folder / f"{name}.py" for name in SILENCES}
    for name, path in scripts.items():
        path.write_text(SILENCES[name].text, encoding="utf-8")
    return dict(zip(scripts, run(scripts.values(), folder), strict=True))


@pytest.mark.parametrize("name", SILENCES)
def test_run_is_silent_about_a_right_program(name: str, ended: dict[str, Ended]) -> None:
    left = ended[name].facts
    assert left is not None, ended[name].stderr
    assert left["troubles"] == []
    facts, checks = Facts.from_json(left), table(frozenset(all_rules()))
    found = [*ask(checks, facts), *ask(checks, facts.map, facts)]
    known = {"FRZ403", *ONLY_A_RUN_KNOWS.get(name, ())}
    assert [(one.location.line, one.code) for one in found if one.code not in known] == []
