"""Walking trees."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.source import cst


def children(node: cst.CSTNode) -> list[cst.CSTNode]:
    """The nodes directly below, in the order of the fields."""
    found: list[cst.CSTNode] = []
    for name in node.FIELDS:
        value = getattr(node, name)
        if isinstance(value, (list, tuple)):
            found += value
        elif value is not None:
            found.append(value)
    return found


def walk(node: cst.CSTNode, *closed: type[cst.CSTNode]) -> Iterator[cst.CSTNode]:
    """The node and everything below it; what is below `closed` kinds is left out."""
    todo = [node]
    while todo:
        current = todo.pop()
        yield current
        if not isinstance(current, closed):
            todo += reversed(children(current))


def holds(node: cst.CSTNode, wanted: cst.CSTNode) -> bool:
    """Whether `wanted` is the node or something below it."""
    return any(one is wanted for one in walk(node))
