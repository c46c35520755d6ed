"""The same mistake in `main()`, in a method, in a function that nothing calls: what is said must not change."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import Block, all_pages, lint, read_blocks, told

HEADS = {
    "class": [
        "class Experiment:",
        "    def __init__(self, args):",
        "        self.args = args",
        "",
        "    def run(self):",
    ],
    "main": ["def launch():"],
    "uncalled": ["def launch():"],
}
TAILS = {
    "class": ["", "", "Experiment(None).run()"],
    "uncalled": [],
    "main": ["", "", 'if __name__ == "__main__":', "    launch()"],
}
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


def names(tree: ast.AST, context: type[ast.expr_context]) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, context)}


def movable(text: str) -> bool:
    """Whether no function or class of the program reads what its statements bind."""
    tree = ast.parse(text)
    inside = [part for part in tree.body if isinstance(part, (ast.FunctionDef, ast.ClassDef))]
    bound = {name for part in tree.body if not isinstance(part, DEFINITIONS) for name in names(part, ast.Store)}
    for part in inside:
        own = {argument.arg for node in ast.walk(part) if isinstance(node, ast.arguments) for argument in node.args}
        if names(part, ast.Load) & bound - own - names(part, ast.Store):
            return False
    return any(not isinstance(part, DEFINITIONS) for part in tree.body)


def moved(block: Block, kind: str) -> tuple[str, frozenset[tuple[int, str]]]:
    """The program with its statements under a function, and where its marks have gone."""
    lines, out, place = block.text.splitlines(), [], {}
    parts = ast.parse(block.text).body
    heads = HEADS[kind]
    indent = " " * (len(heads[-1]) - len(heads[-1].lstrip()) + 4)
    for part in sorted(parts, key=lambda part: not isinstance(part, DEFINITIONS)):
        definition = isinstance(part, DEFINITIONS)
        if not definition and heads[-1] not in out:
            out += heads
        first = min([part.lineno, *(item.lineno for item in getattr(part, "decorator_list", []))])
        for line in range(first, (part.end_lineno or first) + 1):
            out.append(lines[line - 1] if definition or not lines[line - 1] else indent + lines[line - 1])
            place[line] = len(out)
    marks = frozenset((place[line], code) for line, code in block.marks)
    return "\n".join([*out, *TAILS[kind], ""]), marks


def programs() -> Iterator[object]:
    """Every bad block of the pages and every variant that can be moved."""
    pages = [(page.code, page.of("bad")) for page in all_pages() if "source" in page.witnesses]
    variants = [("", read_blocks(path)) for path in sorted((Path(__file__).parent / "variants").glob("*.md"))]
    for prefix, blocks in (*pages, *variants):
        for block in blocks:
            if block.raises != "SyntaxError" and movable(block.text):
                yield pytest.param(block, id="-".join(filter(None, (prefix, block.name))))


@pytest.mark.parametrize("kind", list(HEADS))
@pytest.mark.parametrize("block", list(programs()))
def test_moving_a_program_changes_nothing(block: Block, kind: str, tmp_path: Path) -> None:
    text, marks = moved(block, kind)
    assert told(lint(text, tmp_path), marks) == marks, text
