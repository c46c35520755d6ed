"""Every rule page that names the run as a witness, and every right program: run for real under the monitor."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from nursery import Ended, run
from pages import Block, all_pages, read_blocks

from freezelint.facts import Facts
from freezelint.rule import all_rules, ask, table

UNSEEN = {
    ("FRZ102", "lambda"),  # a test that is always true leaves no trace at run time
    ("FRZ104", ""),
    ("FRZ104", "wrapper"),
}
PAGES = [page for page in all_pages() if page.about_a_mistake and "run" in page.witnesses]
BLOCKS = {
    f"{page.code}-{block.role}-{block.name or number}": (page.code, block)
    for page in PAGES
    for number, block in enumerate([*page.of("bad"), *page.of("good")])
    if (page.code, block.name) not in UNSEEN
}
SILENCES = {
    block.name: ("", block)
    for path in sorted((Path(__file__).parent / "silences").glob("*.md"))
    for block in read_blocks(path)
    if block.role != "read"
}
PROGRAMS: dict[str, tuple[str, Block]] = {**BLOCKS, **SILENCES}
QUICK = 4  # of the right programs, one in so many: the rest say the same of other idioms


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    folder = tmp_path_factory.mktemp("programs")
    scripts = {}
    for name in CHOSEN:
        scripts[name] = folder / f"{name}.py"
        scripts[name].write_text(PROGRAMS[name][1].text, encoding="utf-8")
    return dict(zip(scripts, run(scripts.values(), folder), strict=True))


RIGHT = [name for name, (_, block) in PROGRAMS.items() if block.role == "good"]
WRONG = [name for name, (_, block) in PROGRAMS.items() if block.role == "bad"]
CHOSEN = [*WRONG, *RIGHT[::QUICK]]


def told(ended: Ended) -> set[tuple[int, str]]:
    """Lines and codes that the run reports; notes of cost aside."""
    assert ended.facts is not None, ended.stderr
    facts = Facts.from_json(ended.facts)
    assert ended.facts["troubles"] == []
    checks = table(frozenset(all_rules()))
    found = [*ask(checks, facts), *ask(checks, facts.map, facts)]
    return {
        (line, finding.code)
        for finding in found
        if finding.code != "FRZ403"
        for line in range(finding.location.line, max(finding.location.end_line, finding.location.line) + 1)
    }


@pytest.mark.parametrize("name", WRONG)
def test_run_confirms_the_mistake(name: str, ended: dict[str, Ended]) -> None:
    code, block = PROGRAMS[name]
    if code == "FRZ403":
        assert ended[name].facts is not None
        return
    assert {mark for mark in block.marks if mark[1] == code} <= told(ended[name])


@pytest.mark.parametrize("name", RIGHT[::QUICK])
def test_run_is_silent_about_a_right_program(name: str, ended: dict[str, Ended]) -> None:
    assert told(ended[name]) == set()
