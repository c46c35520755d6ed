"""What a line says it is for: the words of its comment, its function, its condition."""

from __future__ import annotations

import re
from pathlib import Path

from freezelint.findings import Location
from freezelint.source import cst, polarity
from freezelint.source.cst.parse import BROKEN
from freezelint.source.project import ClassInfo, FunctionInfo, Project
from freezelint.source.story import Event, Spot
from freezelint.source.syntax import enclosing, within_function
from freezelint.source.tree import walk
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
    return _says_so(event.spot, event.context.calls[-1] if event.context.calls else None)


def _says_so(spot: Spot, inside: FunctionInfo | None) -> bool:
    text = comments(spot)
    if STAYS.search(text):
        return not STATISTICS.search(text)
    for test, body in conditions(spot):
        says = polarity.says(test)
        if says is not None and says is (body is None):
            return True
    if inside is None:
        return False
    named = re.match(r"_?(freeze|fix)(_|$)", inside.name)
    if named:
        return not OTHERWISE.search(inside.name) and not STATISTICS.search(inside.name)
    return inside.owner is not None and not BORROWS.search(inside.name) and freezing_class(inside.owner)


def said_at(place: Location) -> bool:
    """The same of an `eval()` that a run went by, as its file has it; True where that cannot be read."""
    try:
        file = Project([]).add(place.path, Path(place.path).read_text(encoding="utf-8"))
    except (OSError, *BROKEN):
        return True
    calls = (node for node in walk(file.tree) if isinstance(node, cst.Call) and _switches(node, place.line))
    spot = next((Spot(file, node) for node in calls), None)
    if spot is None:
        return True
    inside = next((node for node in enclosing(spot) if isinstance(node, cst.FunctionDef)), None)
    methods = (method for info in file.classes.values() for method in info.methods.values())
    return _says_so(spot, next((one for one in (*file.functions.values(), *methods) if one.node is inside), None))


def _switches(node: cst.Call, line: int) -> bool:
    named = isinstance(node.func, cst.Attribute) and node.func.attr.value in ("eval", "train")
    return named and node.at.lineno <= line <= node.at.end_lineno


def freezing_class(info: ClassInfo) -> bool:
    """Whether a class is there to freeze, by its name, and by what it says of itself."""
    said = info.node.docstring
    bases = [base.split(".")[-1] for base in info.lineage()[1]]
    if not FREEZER.match(info.name) or not all(base == "object" or base.endswith(PLAIN_BASES) for base in bases):
        return False  # a base of a library may freeze for it
    return not STATISTICS.search(f"{info.name} {said}") and not PARTLY.search(said)
