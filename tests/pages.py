"""Rule pages as data: the blocks of `rules/FRZ*.md`, how a block is run under torch, and how one is linted.

A page has fenced blocks with a role after the language: `python bad`, `python good`, `python harmed`; a word after the
role names the block (`python bad loop`), and `harmed` of the same name judges it (the unnamed one judges the rest).
`read` blocks are linted and not run (they need packages or files we do not have).
`raises=RuntimeError` on a bad block says how it ends; `harmed()` then sees the exception as `error`.
A line of a bad block that must be reported ends in its code: `x.requires_grad = True  # FRZ401`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezelint.findings import Finding
from freezelint.rule import all_rules

RULES = Path(__file__).resolve().parent.parent / "rules"
TITLE = re.compile(r"# (FRZ\d{3}) ([a-z0-9-]+)\Z")
FACTS = re.compile(r"Raised by: (.+?)\. Fix: (safe|unsafe|none)\.")
FENCE = re.compile(r"```python (bad|good|harmed|read)(?: ([a-z0-9-]+))?(?: raises=([A-Za-z]+))?\Z")
MARK = re.compile(r" {2}# (FRZ\d{3})\Z")
SECTIONS = ("What happens", "Bad", "Good", "Harmed", "Stays silent", "Fix", "Source")


@dataclass(frozen=True)
class Block:
    """One fenced block. `marks`: (line, code) of each line that must be reported; `text` no longer shows them."""

    role: str
    name: str
    raises: str
    text: str
    line: int
    marks: frozenset[tuple[int, str]]


@dataclass(frozen=True)
class Page:
    path: Path
    code: str
    name: str
    witnesses: tuple[str, ...]
    fix: str
    sections: tuple[str, ...]
    blocks: tuple[Block, ...]

    def of(self, role: str) -> list[Block]:
        return [block for block in self.blocks if block.role == role]

    @property
    def about_a_mistake(self) -> bool:
        """Whether the rule is about training code; FRZ0 codes are about the check itself."""
        return not self.code.startswith("FRZ0")

    def judge(self, block: Block) -> Block:
        """The `harmed` block of the same name, else the unnamed one."""
        by_name = {judge.name: judge for judge in self.of("harmed")}
        return by_name.get(block.name) or by_name[""]


def load_page(path: Path) -> Page:
    """The page, or a ValueError that says what it lacks and where."""
    lines = path.read_text(encoding="utf-8").splitlines()
    title, facts = TITLE.match(lines[0] if lines else ""), FACTS.search("\n".join(lines[:4]))
    if not title or not facts:
        raise ValueError(f"{path.name}: must open with `# FRZ101 some-name` and `Raised by: source. Fix: safe.`")
    return Page(
        path=path,
        code=title[1],
        name=title[2],
        witnesses=tuple(facts[1].split(", ")),
        fix=facts[2],
        sections=tuple(line[3:] for line in lines if line.startswith("## ")),
        blocks=tuple(read_blocks(path)),
    )


def all_pages() -> list[Page]:
    return [load_page(path) for path in sorted(RULES.glob("FRZ*.md"))]


def read_blocks(path: Path) -> Iterator[Block]:
    """The fenced Python blocks of a Markdown file. Raises ValueError for a fence that is no known one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    head = None
    for number, line in enumerate(lines, start=1):
        if start is None and line.startswith("```"):
            start, head = number, FENCE.match(line)
            if line.startswith("```python") and not head:
                raise ValueError(
                    f"{path.name}:{number}: `{line}` is not `python bad|good|harmed|read [name] [raises=Error]`"
                )
        elif start is not None and line == "```":
            if head:
                yield _block(head, start, lines[start : number - 1])
            start = head = None
    if start is not None:
        raise ValueError(f"{path.name}:{start}: the block is not closed")


def _block(head: re.Match[str], line: int, body: list[str]) -> Block:
    marks = frozenset((row, found[1]) for row, text in enumerate(body, start=1) if (found := MARK.search(text)))
    text = "".join(MARK.sub("", row) + "\n" for row in body)
    return Block(head[1], head[2] or "", head[3] or "", text, line, marks)


@contextmanager
def clean_torch(seed: int = 0) -> Iterator[None]:
    """A seeded torch whose global switches are put back afterwards, whatever the block did to them."""
    import torch

    grad, dtype, threads = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.set_grad_enabled(True)
        try:
            yield
        finally:
            torch.set_grad_enabled(grad)
            torch.set_default_dtype(dtype)
            torch.set_num_threads(threads)
            torch.clear_autocast_cache()


def execute(block: Block, where: str, text: str | None = None) -> dict[str, Any]:
    """Run a block (or `text` in its place) and return what it has bound; `error` is the exception it may end with."""
    scope: dict[str, Any] = {"__name__": "__page__", "error": None}
    try:
        exec(compile(text or block.text, f"{where}:{block.line}", "exec", dont_inherit=True), scope)
    except Exception as error:
        if type(error).__name__ != block.raises:
            raise
        scope["error"] = error
    return scope


def harm(page: Page, block: Block, text: str | None = None) -> bool:
    """Run the block (or `text` in its place) under torch and ask the page's `harmed()` about it."""
    judge = page.judge(block)
    with clean_torch():
        scope = execute(block, page.path.name, text)
        exec(compile(judge.text, f"{page.path.name}:{judge.line}", "exec", dont_inherit=True), scope)
        return bool(scope["harmed"]())


def lint(text: str, folder: Path) -> list[Finding]:
    """What the source witness says about one program, with every rule on."""
    from freezelint.source.lint import Project, lint_file

    return lint_file(str(folder / "page.py"), text, Project([folder]), frozenset({*all_rules(), "FRZ002"})).findings


def told(findings: list[Finding], marks: frozenset[tuple[int, str]]) -> set[tuple[int, str]]:
    """Each finding as (line, code): the marked line of its code that it touches, else the line it starts on."""
    places = set()
    for finding in findings:
        lines = range(finding.location.line, max(finding.location.line, finding.location.end_line) + 1)
        marked = [line for line, code in marks if code == finding.code and line in lines]
        places.add((marked[0] if marked else finding.location.line, finding.code))
    return places
