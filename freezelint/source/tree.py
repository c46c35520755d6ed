"""Walking libcst trees without their visitors: what a node holds, less commas, brackets and white space.

`CSTNode.children` and `visit` rebuild what they walk; that costs more than all rules together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache

import libcst as cst

_LAYOUT = (
    "whitespace", "lpar", "rpar", "lbracket", "rbracket", "lbrace", "rbrace", "comma", "semicolon", "equal", "dot",
    "colon", "indent", "newline", "header", "footer", "leading_lines", "lines_after", "trailing", "operator",
    "empty", "async", "asynchronous", "default_indent", "default_newline", "encoding", "has_trailing",
)  # fmt: skip

_PLAIN = (str, bool, cst.MaybeSentinel)  # asking for CSTNode itself, an abstract class, is slow


@cache
def _parts(kind: type[cst.CSTNode]) -> tuple[str, ...]:
    if kind.__name__ in ("Name", "Integer", "Float", "SimpleString", "Pass", "Break", "Continue", "Ellipsis"):
        return ()
    return tuple(field.name for field in fields(kind) if field.name != "star" and not field.name.startswith(_LAYOUT))


def children(node: cst.CSTNode) -> list[cst.CSTNode]:
    """The nodes directly below, in the order of the fields."""
    found: list[cst.CSTNode] = []
    for name in _parts(type(node)):
        value = getattr(node, name)
        if isinstance(value, (list, tuple)):
            found += value
        elif value is not None and not isinstance(value, _PLAIN):
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
