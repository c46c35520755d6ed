"""Notebooks as Python: the code cells joined, magics blanked, every line mapped back to its cell.

`nbformat` reads the file. Edits go back into the file's own text: only the `source` of a cell that changed is written
anew, every other byte stays.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from freezelint.findings import Location
from freezelint.records import record, replace

# Cell magics whose body is Python run in the user's namespace.
_PYTHON_CELLS = ("capture", "debug", "prun", "pypy", "python", "python3", "time", "timeit")
_LINE_MAGIC = re.compile(r"^(\s*)(?:[%!?]|[\w.]+\?{1,2}\s*$)")
_TIMED = re.compile(r"^\s*(%(?:time|timeit|prun|memit)\s)(?=\s*[^\s-])")  # the magic runs the rest of its line
_ASSIGNED = re.compile(r"^(\s*[\w.,\s\[\]'\"]+=\s*)[%!].*$")
_MARK = "# %% cell {}"
_MARKED = re.compile(r"^# %% cell \d+ *$")  # a line of the user's own like this gets one more space among the marks


class NotANotebook(Exception):
    """A file that is no notebook, or one not in Python."""


@record(frozen=True)
class Notebook:
    source: str  # to lint: magics blanked
    original: str  # to edit: the same lines, magics as written
    cell_lines: tuple[
        tuple[int, int], ...
    ]  # (cell from 1 among all cells, line from 1 in it) of every line of `source`

    def place(self, location: Location) -> Location:
        """A location in `source` as cell and line."""
        cell, line = self._at(location.line)
        end = location.end_line and self._at(location.end_line)[1]
        return replace(location, line=line, end_line=end, cell=cell)

    def _at(self, line: int) -> tuple[int, int]:
        return self.cell_lines[min(line, len(self.cell_lines)) - 1]

    def join(self, location: Location) -> Location:
        """The inverse of `place`: a cell's line as one of `source`."""
        if location.cell is None:
            return location
        first = next((n for n, (cell, _) in enumerate(self.cell_lines, 1) if cell == location.cell), 1)
        end = location.end_line and first + location.end_line
        return replace(location, line=first + location.line, end_line=end, cell=None)


def load(text: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """(Python source, the (cell, line) of each of its lines). Raises NotANotebook."""
    notebook = read(text)
    return notebook.source, notebook.cell_lines


def read(text: str) -> Notebook:
    """The notebook in `text`. Raises NotANotebook."""
    blanked: list[str] = []
    original: list[str] = []
    places: list[tuple[int, int]] = []
    for index, source in _code_cells(text):
        places.append((index, 1))
        blanked.append(_MARK.format(index))
        original.append(_MARK.format(index))
        lines = source.split("\n")
        blanked.extend(_blank(lines))
        original.extend(_MARKED.sub(r"\g<0> ", line) for line in lines)
        places.extend((index, line) for line in range(1, len(lines) + 1))
    if not places:
        return Notebook("", "", ((1, 1),))
    return Notebook("\n".join(blanked) + "\n", "\n".join(original) + "\n", (*places, places[-1]))


def write(text: str, edited: str) -> str:
    """The notebook `text` with the cells of `edited` (an edited `original`) put back."""
    new: dict[int, list[str]] = {}
    current: list[str] = []
    for line in edited.removesuffix("\n").split("\n"):
        if match := re.fullmatch(_MARK.format(r"(\d+)"), line):
            current = new.setdefault(int(match.group(1)), [])
        else:
            current.append(line[:-1] if _MARKED.match(line) else line)
    old = dict(_code_cells(text))
    for index, (start, end) in sorted(_source_spans(text).items(), reverse=True):
        source = "\n".join(new.get(index, []))
        if index in old and source != old[index]:
            text = text[:start] + _dump(source, text[start:end]) + text[end:]
    return text


def _code_cells(text: str) -> list[tuple[int, str]]:
    """(cell from 1 among all cells, its source) of every code cell."""
    import warnings

    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            notebook = nbformat.reads(text, as_version=nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]
    except Exception as error:  # the reader raises what its JSON and schema layers raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise NotANotebook(f"not a notebook: {reason}") from None
    if notebook.get("nbformat") != 4:  # its cells lie elsewhere: what is edited could not be put back
        raise NotANotebook("not a notebook of format 4; `jupyter nbconvert --to notebook --inplace` makes it one")
    told = notebook.metadata.get("language_info")
    language = told.get("name", "python") if isinstance(told, dict) else "python"
    if language != "python":
        raise NotANotebook(f"not a Python notebook: `{language}`")
    found: list[tuple[int, Any]] = [
        (index, cell.get("source")) for index, cell in _cells(notebook) if cell.get("cell_type") == "code"
    ]
    for index, source in found:
        if not isinstance(source, str):
            raise NotANotebook(f"not a notebook: cell {index} has no text as its source")
    return found


def _cells(notebook: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """The cells by number, from 1. Raises NotANotebook."""
    cells = notebook.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise NotANotebook("not a notebook: its cells are no list of cells")
    yield from enumerate(cells, 1)


def _blank(lines: list[str]) -> list[str]:
    """The lines of a cell without what only IPython understands, each still in its place."""
    if _parses("\n".join(lines)):
        return lines
    head = next((line for line in lines if line.strip()), "")
    if head.startswith("%%") and head[2:].split(" ")[0] not in _PYTHON_CELLS:
        return ["" for _ in lines]
    blanked: list[str] = []
    continued = False
    for written in lines:
        line = _timed(written)
        magic = _LINE_MAGIC.match(line)
        if continued or magic:
            continued = line.rstrip().endswith("\\")
            blanked.append(magic.group(1) + "pass" if magic else "")
        elif assigned := _ASSIGNED.match(line):
            blanked.append(assigned.group(1) + "None")
        else:
            blanked.append(line)
    return blanked


def _timed(line: str) -> str:
    """`%time f()` as the statement it runs, in its own columns."""
    magic = _TIMED.match(line)
    return line if magic is None else f"{line[: magic.start(1)]}{'0;':<{len(magic[1])}}{line[magic.end(1) :]}"


def _parses(source: str) -> bool:
    try:
        compile(source, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def _dump(source: str, old: str) -> str:
    """`source` as JSON in the way `old` was written: one string, or a list of lines with its indentation."""
    if not old.startswith("["):
        return json.dumps(source, ensure_ascii="\\u" in old)
    lines = re.findall(r"[^\n]*\n|[^\n]+", source)
    if not lines:
        return "[]"
    indent = re.match(r"\[(\s*)", old)
    close = re.search(r"(\s*)\]$", old)
    before, after = (indent.group(1) if indent else ""), (close.group(1) if close else "")
    strings = [json.dumps(line, ensure_ascii="\\u" in old) for line in lines]
    return "[" + before + ("," + (before or " ")).join(strings) + after + "]"


def _source_spans(text: str) -> dict[int, tuple[int, int]]:
    """Where the value of `source` of each cell (from 1) stands in the notebook's text."""
    decoder = json.JSONDecoder()
    spans = {}
    start = _value(text, 0, "cells", decoder)
    for index, cell in enumerate(_items(text, start, decoder), 1):
        at = _value(text, cell, "source", decoder)
        spans[index] = (at, decoder.raw_decode(text, at)[1])
    return spans


def _blanks(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def _value(text: str, at: int, key: str, decoder: json.JSONDecoder) -> int:
    """Where the value of `key` starts in the object at `at`."""
    at = _blanks(text, at) + 1
    while True:
        name, end = decoder.raw_decode(text, _blanks(text, at))
        at = _blanks(text, _blanks(text, end) + 1)
        if name == key:
            return at
        at = _blanks(text, decoder.raw_decode(text, at)[1]) + 1


def _items(text: str, at: int, decoder: json.JSONDecoder) -> Iterator[int]:
    """Where each item of the array at `at` starts."""
    at = _blanks(text, at + 1)
    while text[at] != "]":
        yield at
        at = _blanks(text, decoder.raw_decode(text, at)[1])
        if text[at] == ",":
            at = _blanks(text, at + 1)
