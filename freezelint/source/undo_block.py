"""Edits that take a `with` block or a decorator away and leave everything else as it is."""

from __future__ import annotations

from typing import Any

from freezelint.findings import Location
from freezelint.source import cst
from freezelint.source.starved import enclosing_with
from freezelint.source.story import Spot
from freezelint.source.syntax import enclosing
from freezelint.textfile import python_lines


def undone(place: Any) -> tuple[tuple[Location, str], ...]:
    """The edits for a context manager in a `with`, or for a decorator; none where more than it stands there."""
    if not isinstance(place, Spot):
        return ()
    block = enclosing_with(place)
    if block is None:
        return _without_decorator(place)
    if len(block.items) > 1 or not isinstance(block.body, cst.IndentedBlock):
        return ()
    return _dedented(place, block)


def _without_decorator(place: Spot) -> tuple[tuple[Location, str], ...]:
    at = place.locate()
    lines = python_lines(place.file.text, keepends=True)
    head = lines[at.line - 1][: at.column].rstrip()
    if not head.endswith("@") or at.end_line >= len(lines):
        return ()
    return ((Location(at.path, at.line, 0, at.end_line + 1, 0), ""),)


def _dedented(place: Spot, block: cst.With) -> tuple[tuple[Location, str], ...]:
    """The body in the place of the block: its lines, moved to the left by what the block had put before them."""
    whole = place.file.locate(block)
    first = place.file.locate(block.body.body[0])
    lines = python_lines(place.file.text, keepends=True)
    head = lines[whole.line - 1][: whole.column]
    deeper = lines[first.line - 1][: first.column]
    if first.line == whole.line or head.strip() or not deeper.startswith(head):
        return ()
    moved = [head + line[len(deeper) :] if line.startswith(deeper) else line for line in _body(lines, whole)]
    text = "".join(moved)
    end = Location(whole.path, whole.line, 0, whole.end_line, whole.end_column)
    return ((end, text[: len(text) - _rest(lines, whole)]),)


def _body(lines: list[str], whole: Location) -> list[str]:
    start = next(i for i in range(whole.line - 1, whole.end_line) if lines[i].split("#")[0].rstrip().endswith(":"))
    return lines[start + 1 : whole.end_line]


def _rest(lines: list[str], whole: Location) -> int:
    return len(lines[whole.end_line - 1]) - whole.end_column


def without_call(place: Any) -> tuple[tuple[Location, str], ...]:
    """`x.detach()`, `x.data`, `x.item()`: `x` alone."""
    if not isinstance(place, Spot):
        return ()
    node = place.node
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and not node.args:
        node = node.func
    if not isinstance(node, cst.Attribute) or node.attr.value not in ("detach", "data", "item") or _leaves_torch(place):
        return ()
    return ((place.locate(), place.file.code(node.value)),)


def _leaves_torch(place: Spot) -> bool:
    """Whether the value goes on to where no tensor with a graph can: `x.detach().cpu().numpy()`."""
    inner: cst.CSTNode = place.node
    for node in enclosing(place):
        if isinstance(node, cst.Attribute):
            if node.attr.value in ("numpy", "tolist", "__array__"):
                return True
        elif not isinstance(node, cst.Call) or node.func is not inner:
            return False
        inner = node
    return False
