"""Which line of the user's code runs: the innermost frame outside of torch, the worker and the standard library."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType

HERE = str(Path(__file__).resolve().parent)
STDLIB = sysconfig.get_paths()["stdlib"]
SKIPPED_PACKAGES = ("torch", "functorch", "lightning", "pytorch_lightning", "accelerate")
INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
Line = tuple[str, int]


@cache
def is_user_file(filename: str) -> bool:
    """A real file, not ours, torch's or the standard library's; other installed packages count as the user's."""
    if not filename or filename.startswith("<"):
        return False
    path = str(Path(filename).absolute())
    if path.startswith(HERE + os.sep):
        return False
    for marker in INSTALLED:
        if marker in path:
            return path.rsplit(marker, 1)[1].split(os.sep, 1)[0] not in SKIPPED_PACKAGES
    return not path.startswith(STDLIB + os.sep)


@cache
def is_project_file(filename: str) -> bool:
    """A user file that is not part of an installed package."""
    path = str(Path(filename).absolute())
    return is_user_file(filename) and not any(marker in path for marker in INSTALLED)


def frames(start: FrameType | None = None) -> Iterator[FrameType]:
    frame: FrameType | None = start or sys._getframe(1)
    while frame is not None:
        yield frame
        if frame.f_back is None:
            return
        frame = frame.f_back


def user_line(start: FrameType | None = None) -> Line | None:
    """The innermost user line, or None."""
    for frame in frames(start or sys._getframe(1)):
        if is_user_file(frame.f_code.co_filename):
            return frame.f_code.co_filename, frame.f_lineno
    return None


def project_line(start: FrameType | None = None) -> Line | None:
    """The innermost line of the user's own project, else the innermost user line."""
    first: Line | None = None
    for frame in frames(start or sys._getframe(1)):
        filename = frame.f_code.co_filename
        if is_user_file(filename):
            if is_project_file(filename):
                return filename, frame.f_lineno
            first = first or (filename, frame.f_lineno)
    return first


def user_stack(start: FrameType | None = None, limit: int = 8) -> list[tuple[CodeType, int]]:
    """(code, line) of the innermost `limit` user frames, innermost first."""
    found: list[tuple[CodeType, int]] = []
    frame: FrameType | None = start or sys._getframe(1)
    while frame is not None and len(found) < limit:
        if is_user_file(frame.f_code.co_filename):
            found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return found
