"""Where in the user's own code something happens: the innermost frame that is neither torch, a library nor ours."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from types import CodeType, FrameType
from typing import Any

# (path, line, column, end_line, end_column, cell), as a Location of the host
Place = tuple[str, int, int, int, int, Any]

CELL_MARK = "#cell="  # a notebook's cell is compiled under "<path>#cell=<n>"

_here = os.path.dirname(os.path.abspath(__file__))
_library_roots = {
    os.path.realpath(path) + os.sep
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
}


_BLOCKS = ("with ", "async ", "for ", "while ", "if ", "try:", "def ", "class ", "@")


class Places:
    """Finds and remembers places; `roots` are folders of the user's project that count even inside a library folder."""

    def __init__(self, roots: tuple[str, ...] = ()) -> None:
        self.roots = tuple(os.path.realpath(root) + os.sep for root in roots)
        self._user: dict[CodeType, bool] = {}
        self._at: dict[tuple[CodeType, int], Place] = {}
        self._spans: dict[CodeType, list[Any]] = {}
        self.seen: dict[tuple[str, int | None], set[int]] = {}

    def is_user(self, code: CodeType) -> bool:
        known = self._user.get(code)
        if known is None:
            known = self._user[code] = self._decide(code.co_filename)
        return known

    def _decide(self, filename: str) -> bool:
        if filename.startswith("<") or not filename:
            return False
        path = os.path.realpath(filename.split(CELL_MARK)[0])
        if path.startswith(_here + os.sep):
            return False
        inside = [root for root in self.roots if path.startswith(root)]
        outside = [root for root in _library_roots if path.startswith(root)]
        if not outside:
            return f"{os.sep}site-packages{os.sep}" not in path and f"{os.sep}dist-packages{os.sep}" not in path
        return bool(inside) and max(map(len, inside)) > max(map(len, outside))

    def frame(self, depth: int = 2) -> FrameType | None:
        """The innermost user frame above the caller."""
        frame: FrameType | None = sys._getframe(depth)
        user = self._user
        while frame is not None:
            known = user.get(frame.f_code)
            if known or (known is None and self.is_user(frame.f_code)):
                return frame
            frame = frame.f_back
        return None

    def here(self, depth: int = 3) -> Place | None:
        frame = self.frame(depth)
        return self.of(frame) if frame is not None else None

    def outer(self) -> Place | None:
        """Like `here`, but of who handed the running function to `Module.apply`, not the function itself."""
        frame = self.frame()
        above = frame.f_back if frame is not None else None
        handed = False
        while above is not None and frame is not None:
            if self.is_user(above.f_code):
                return self.of(above if handed else frame)
            handed |= above.f_code.co_name in ("apply", "_apply")
            above = above.f_back
        return self.of(frame) if frame is not None else None

    def chain(self, most: int = 6) -> list[tuple[CodeType, Place]]:
        """The user's frames from the innermost out, each with the line it stands at."""
        found: list[tuple[CodeType, Place]] = []
        frame = self.frame()
        while frame is not None and len(found) < most:
            if self.is_user(frame.f_code):
                found.append((frame.f_code, self.of(frame)))
            frame = frame.f_back
        return found

    def of(self, frame: FrameType) -> Place:
        key = (frame.f_code, frame.f_lasti)
        place = self._at.get(key)
        if place is None:
            place = self._at[key] = self._locate(frame)
            self.note(place)
        return place

    def note(self, place: Place) -> None:
        self.seen.setdefault((place[0], place[5]), set()).update(range(place[1], max(place[3], place[1]) + 1))

    def _locate(self, frame: FrameType) -> Place:
        code = frame.f_code
        path, cell = split_cell(code.co_filename)
        line = frame.f_lineno or code.co_firstlineno
        span = self._span(code, frame.f_lasti)
        if span is None or None in span:
            return (path, line, 0, line, 0, cell)
        first, last, start, end = span
        if last > first and linecache.getline(code.co_filename, first).lstrip().startswith(_BLOCKS):
            last, end = first, start  # its head stands for a block: not every line in it ran
        return (path, first, code_points(code, first, start), last, code_points(code, last, end), cell)

    def _span(self, code: CodeType, offset: int) -> Any:
        """(line, end line, byte column, end byte column) of an instruction; Python 3.11 and later know it."""
        positions = getattr(code, "co_positions", None)
        if positions is None or offset < 0:
            return None
        spans = self._spans.get(code)
        if spans is None:
            spans = self._spans[code] = list(positions())
        index = offset // 2
        return spans[index] if index < len(spans) else None

    def definition(self, code: CodeType, words: tuple[str, ...] = ()) -> Place:
        """The line of a function's definition, or of the decorator above it that holds one of `words`."""
        path, cell = split_cell(code.co_filename)
        for line in range(code.co_firstlineno, code.co_firstlineno + 12):
            text = linecache.getline(code.co_filename, line).strip()
            if words and text.startswith("@") and any(word in text for word in words):
                return (path, line, 0, line, 0, cell)
            if text.startswith(("def ", "async def ", "class ")):
                break
        return (path, code.co_firstlineno, 0, code.co_firstlineno, 0, cell)


def split_cell(filename: str) -> tuple[str, int | None]:
    path, mark, cell = filename.partition(CELL_MARK)
    return os.path.abspath(path), int(cell) if mark else None


def code_points(code: CodeType, line: int, column: int) -> int:
    """A byte column as a column in code points."""
    text = linecache.getline(code.co_filename, line)
    return column if text.isascii() else len(text.encode()[:column].decode(errors="ignore"))


def source_line(place: Place) -> str:
    path, cell = place[0], place[5]
    return linecache.getline(f"{path}{CELL_MARK}{cell}" if cell else path, place[1]).strip()


def called_from_torch(depth: int = 2) -> bool:
    """Whether the frame `depth` levels up runs torch's own code."""
    return "/torch/" in sys._getframe(depth).f_code.co_filename.replace(os.sep, "/")
