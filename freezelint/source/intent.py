"""What a line says it is for: the words of its comment, its function, its condition."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from freezelint.findings import Location
from freezelint.source import cst, polarity
from freezelint.source.project import ClassInfo
from freezelint.source.story import Event, Spot
from freezelint.source.syntax import within_function
from freezelint.textfile import python_lines

FREEZES = re.compile(r"\b(freez(e|es|ing)|frozen|froze)\b", re.IGNORECASE)
OTHERWISE = re.compile(
    r"un-?_?fr[eo]|except|\bbut\b|\bonly\b|\bnot\b|n't|\blast\b|\brest\b|other|train|until|after|\bif\b", re.IGNORECASE
)
STAYS = re.compile(
    r"\bfrozen\b|\bfreez(e|es|ing)\b|\bfixed\b|(stay|keep|remain|left|leave)s?\b.*\b(as|fixed|unchanged|pre-?trained|constant)"
    r"|(do not|don't|not|never|no|without)\b.*\b(train|updat|tun|learn|gradient)",
    re.IGNORECASE,
)
FREEZER = re.compile(r"_?Freez(e|es|er|ing)(?!Until|Except|But|Not|Only)([A-Z_]|$)")
PLAIN_BASES = ("Callback", "Module", "Hook", "ABC", "Protocol")
PARTLY = re.compile(r"un-?_?fr[eo]|eval\b|\bmode\b|except|gradual|progressive|until|after", re.IGNORECASE)
BORROWS = re.compile(r"eval|valid|test|predict|infer|generate|sample|unfreeze|(^|_)thaw", re.IGNORECASE)
STATISTICS = re.compile(r"(?<![a-z])bn(?![a-z])|batch_?-?norm|statistic|running|dropout|norm", re.IGNORECASE)


def comments(spot: Spot, first: int | None = None) -> str:
    """The comment on a line, and the lines of comment right above it (or above line `first`)."""
    lines = python_lines(spot.file.text)
    here = spot.locate().line
    first = here if first is None else first
    found = [text.partition("#")[2] for text in lines[first - 1 : here]]
    above = first - 2
    while above >= 0 and lines[above].strip().startswith("#"):
        found.insert(0, lines[above].strip().lstrip("# "))
        above -= 1
    return " ".join(found)


def conditions(spot: Spot) -> list[tuple[cst.BaseExpression, cst.BaseSuite | None]]:
    """The tests of the `if`s a node stands under in its function, with their bodies; None where it is in the `else`."""
    found: list[tuple[cst.BaseExpression, cst.BaseSuite | None]] = []
    inner: cst.CSTNode = spot.node
    for node in within_function(spot):
        if isinstance(node, cst.If) and inner is not node.test:
            found.append((node.test, node.body if inner is node.body else None))
        inner = node
    return found


def tests(event: Event) -> set[str]:
    """The text of every condition an event stands under, in its function and where that was called."""
    places = (*event.context.sites, event.spot)
    return {place.file.code(test) for place in places for test, _ in conditions(place)}


def means_to_freeze(event: Event) -> bool:
    """Whether the comment, the function or the condition of a line says that it is to freeze something."""
    text = comments(event.spot)
    if STAYS.search(text):
        return not STATISTICS.search(text)
    for test, body in conditions(event.spot):
        says = polarity.says(test)
        if says is not None and says is (body is None):
            return True
    inside = event.context.calls[-1] if event.context.calls else None
    if inside is None:
        return False
    named = re.match(r"_?(freeze|fix)(_|$)", inside.name)
    if named:
        return not OTHERWISE.search(inside.name) and not STATISTICS.search(inside.name)
    return inside.owner is not None and not BORROWS.search(inside.name) and freezing_class(inside.owner)


def said_at(place: Location) -> bool:
    """The same of a line that a run went by, as far as its file alone tells; True where that cannot be read."""
    try:
        text = Path(place.path).read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError):
        return True
    lines, above = python_lines(text), place.line - 2
    words = lines[place.line - 1].partition("#")[2] if place.cell is None else "frozen"
    while above >= 0 and lines[above].strip().startswith("#"):
        words, above = f"{lines[above]} {words}", above - 1
    if STAYS.search(words):
        return not STATISTICS.search(words)
    around = [node for node in ast.walk(tree) if _around(node, place.line)]
    if any(isinstance(node, ast.If) and FREEZES.search(ast.unparse(node.test).replace("_", " ")) for node in around):
        return True
    functions = [node for node in around if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    name = functions[-1].name if functions else ""
    if re.match(r"_?(freeze|fix)(_|$)", name):
        return not OTHERWISE.search(name) and not STATISTICS.search(name)
    kinds = [node for node in around if isinstance(node, ast.ClassDef) and FREEZER.match(node.name)]
    said = " ".join(f"{node.name} {ast.get_docstring(node) or ''}" for node in kinds)
    return bool(kinds) and not (BORROWS.search(name) or STATISTICS.search(said) or PARTLY.search(said))


def _around(node: ast.AST, line: int) -> bool:
    return isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0)


def freezing_class(info: ClassInfo) -> bool:
    """Whether a class is there to freeze, by its name, and by what it says of itself."""
    said = info.node.docstring
    bases = [base.split(".")[-1] for base in info.lineage()[1]]
    if not FREEZER.match(info.name) or not all(base == "object" or base.endswith(PLAIN_BASES) for base in bases):
        return False  # a base of a library may freeze for it
    return not STATISTICS.search(f"{info.name} {said}") and not PARTLY.search(said)
