"""Where nodes stand in their file, and the text that stands there."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import Any

from freezelint.source import cst
from freezelint.textfile import python_lines

_HEADER_COMMENT = re.compile(r":\s*(#[^\n\"']*)$")
_WITH_COMMENTS = (cst.BaseStatement, cst.IndentedBlock)


class Positions:
    """Lines from 1, columns from 0 in characters; `ast` counts bytes of UTF-8."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = python_lines(text, keepends=True)
        self._starts = [0, *accumulate(len(line) for line in self._lines)]

    def of(self, node: cst.CSTNode) -> tuple[int, int, int, int] | None:
        """(line, column, end line, end column) without brackets round the node; None for what nobody wrote."""
        ends = self.offsets(node)
        return None if ends is None else (*self.place(ends[0]), *self.place(ends[1]))

    def offsets(self, node: cst.CSTNode) -> tuple[int, int] | None:
        """Where a node starts and ends in the text."""
        at = node.at
        if at is None or at.end_lineno > len(self._lines):
            return None
        start = self._offset(at.lineno, at.col_offset)
        end = self._offset(at.end_lineno, at.end_col_offset)
        if isinstance(node, cst.GeneratorExp):  # its brackets may be those of a call
            inside = self._text[start + 1 : end - 1]
            return start + 1 + len(inside) - len(inside.lstrip()), end - 1 - len(inside) + len(inside.rstrip())
        if isinstance(node, cst.Decorator):
            return self._text.rfind("@", 0, start), end
        return start, end

    def with_brackets(self, node: cst.CSTNode) -> tuple[int, int, int, int] | None:
        """As `of`, but of a generator expression with the brackets that Python's parser counts to it."""
        at = node.at
        if at is None or at.end_lineno > len(self._lines):
            return None
        ends = self._offset(at.lineno, at.col_offset), self._offset(at.end_lineno, at.end_col_offset)
        return (*self.place(ends[0]), *self.place(ends[1]))

    def place(self, offset: int) -> tuple[int, int]:
        """(line, column) of an offset in the text."""
        line = bisect_right(self._starts, offset, hi=len(self._lines))
        return line, offset - self._starts[line - 1]

    def text(self, node: cst.CSTNode) -> str:
        """What stands at a node; of a statement or a block also the comments over it and behind it."""
        ends = self.offsets(node)
        if ends is None:
            return self._text if isinstance(node, cst.Module) else ""
        start, end = ends
        if isinstance(node, _WITH_COMMENTS):
            return self._with_comments(node, start, end)
        return self._text[start:end]

    def _with_comments(self, node: Any, start: int, end: int) -> str:
        decorators = getattr(node, "decorators", ())
        if decorators:
            start = (self.offsets(decorators[0]) or (start,))[0]
        first, last = self.place(start)[0], self.place(end)[0]
        column = start - self._starts[first - 1]
        header = ""
        if not self._lines[first - 1][:column].strip():
            while first > 1 and self._lines[first - 2].lstrip()[:1] in ("", "#"):
                first -= 1
            start = self._starts[first - 1]
            if isinstance(node, cst.IndentedBlock) and first > 1:
                match = _HEADER_COMMENT.search(self._lines[first - 2].rstrip())
                header = f"{match[1]}\n" if match else ""
        inner = column if isinstance(node, cst.IndentedBlock) else column + 1
        while not isinstance(node, cst.SimpleStatementLine) and last < len(self._lines):
            below = self._lines[last].lstrip()
            if below[:1] not in ("", "#") or (below and len(self._lines[last]) - len(below) < inner):
                break
            last += 1
        return (header + self._text[start : self._starts[last]]).strip()

    def _offset(self, line: int, column: int) -> int:
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        if not text.isascii():
            column = len(text.encode()[:column].decode(errors="ignore"))
        return self._starts[line - 1] + column
