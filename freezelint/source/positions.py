"""Where nodes stand in their file.

libcst finds positions by writing the whole file out again. Here only the top-level statement that holds the node is
written; on which line that begins, Python's own parser says.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from typing import Any

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

from freezelint.source.tree import walk


class Positions:
    """Positions of the nodes of one tree, found when they are asked for."""

    def __init__(self, tree: cst.Module, text: str) -> None:
        self._tree, self._text = tree, text
        self._top: dict[int, int] | None = None  # id of a node -> number of its top-level statement
        self._lines: list[int] = []
        self._known: dict[int, tuple[Mapping[cst.CSTNode, Any], int]] = {}
        self._whole: Mapping[cst.CSTNode, Any] | None = None

    def of(self, node: cst.CSTNode) -> tuple[int, int, int, int] | None:
        """(line, column, end line, end column), lines from 1, columns from 0; None for a node of no file."""
        if self._top is None:
            self._top = {id(n): i for i, top in enumerate(self._tree.body) for n in walk(top)}
            self._lines = _first_lines(self._tree, self._text)
        number = self._top.get(id(node)) if self._lines else None
        if number is None:
            where, below = self._everything().get(node), 0
        else:
            ranges, below = self._statement(number)
            where = ranges.get(node)
        if not isinstance(where, CodeRange):
            return None
        return where.start.line + below, where.start.column, where.end.line + below, where.end.column

    def _statement(self, number: int) -> tuple[Mapping[cst.CSTNode, Any], int]:
        if number not in self._known:
            top = self._tree.body[number]
            ranges = _ranges(cst.Module(body=[top], default_indent=self._tree.default_indent))
            decorators = getattr(top, "decorators", ())
            first = ranges[decorators[0] if decorators else top]
            self._known[number] = (ranges, self._lines[number] - first.start.line)
        return self._known[number]

    def _everything(self) -> Mapping[cst.CSTNode, Any]:
        if self._whole is None:
            self._whole = _ranges(self._tree)
        return self._whole


def _ranges(tree: cst.Module) -> Mapping[cst.CSTNode, Any]:
    return MetadataWrapper(tree, unsafe_skip_copy=True).resolve(PositionProvider)


def _first_lines(tree: cst.Module, text: str) -> list[int]:
    """The first line of each top-level statement; empty where Python and libcst do not see the same statements."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    lines: list[int] = []
    for top in tree.body:
        width = len(top.body) if isinstance(top, cst.SimpleStatementLine) else 1
        mine, body = body[:width], body[width:]
        if len(mine) < width:
            return []
        lines.append(min([mine[0].lineno, *(d.lineno for d in getattr(mine[0], "decorator_list", ()))]))
    return [] if body else lines
