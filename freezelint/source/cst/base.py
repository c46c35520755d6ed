"""What all nodes of a tree have."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from freezelint.records import record

__all__ = ["BaseExpression", "BaseStatement", "CSTNode", "Span"]


class Span(NamedTuple):
    """Where a node stands that Python's parser has none for: from the first to the last of what it holds."""

    lineno: int
    col_offset: int  # bytes of UTF-8, as in `ast`
    end_lineno: int
    end_col_offset: int


@record(eq=False)
class CSTNode:
    """`at` has the four numbers of a Span: what Python's parser made the node from, or a Span."""

    FIELDS: ClassVar[tuple[str, ...]] = ()  # those that hold nodes, in the order they are walked
    at: Any


class BaseExpression(CSTNode):
    __slots__ = ()


class BaseStatement(CSTNode):
    __slots__ = ()
