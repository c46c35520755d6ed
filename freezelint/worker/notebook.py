"""The code cells of a notebook as Python: what only IPython understands becomes `pass`, in its own line."""

from __future__ import annotations

import json
import re
from pathlib import Path

# Cell magics whose body is Python run in the notebook's own names, and line magics that run the rest of their line.
_PYTHON_CELLS = ("capture", "debug", "prun", "pypy", "python", "python3", "time", "timeit")
_TIMED = re.compile(r"^(\s*)%(?:time|timeit|prun|memit)\s+(?=[^\s-])")
_MAGIC = re.compile(r"^(\s*)(?:[%!?]|[\w.]+\?{1,2}\s*$)")
_ASSIGNED = re.compile(r"^(\s*[\w.,\s\[\]'\"]+=\s*)[%!].*$")


def cells(path: Path) -> list[tuple[int, str]]:
    """(number among all cells, from 1; source) of every code cell that runs as Python."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    found = []
    for number, cell in enumerate(notebook.get("cells", []), 1):
        source = "".join(cell["source"])
        head = source.lstrip().split(None, 1)[:1]
        foreign = bool(head) and head[0].startswith("%%") and head[0][2:] not in _PYTHON_CELLS
        if cell.get("cell_type") == "code" and not foreign:
            found.append((number, plain(source)))
    return found


def plain(source: str) -> str:
    try:
        compile(source, "cell", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return "\n".join(map(without_magic, source.split("\n"))) + "\n"
    return source + "\n"


def without_magic(line: str) -> str:
    line = _TIMED.sub(r"\1", line)
    if magic := _MAGIC.match(line):
        return f"{magic[1]}pass"
    assigned = _ASSIGNED.match(line)
    return f"{assigned[1]}None" if assigned else line
