"""Reads and writes source files without changing a byte that was not edited: encoding, byte order mark, line ends."""

from __future__ import annotations

import codecs
import errno
import os
import re
from pathlib import Path

from freezelint.records import record

_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@record(frozen=True)
class TextFile:
    text: str
    encoding: str = "utf-8"
    mark: bytes = b""  # the byte order mark, kept apart

    def encode(self, text: str) -> bytes:
        return self.mark + text.encode(self.encoding)


def read_regular(path: str) -> bytes:
    """The bytes of a file; a pipe or device, reading which may never end, raises OSError."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return Path(path).read_bytes()


class Undecodable(Exception):
    """Bytes that are not text in the encoding the file declares."""


def decode(data: bytes) -> TextFile:
    """The text of a Python file: UTF-8, or what its coding line says."""
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    body = data[len(mark) :]
    encoding = "utf-8" if mark else _declared(body)
    try:
        return TextFile(body.decode(encoding), encoding, mark)
    except UnicodeDecodeError as error:
        raise Undecodable(f"not {encoding}: byte {error.start}") from None
    except LookupError:
        raise Undecodable(f"unknown encoding `{encoding}`") from None


def _declared(body: bytes) -> str:
    for line in body.split(b"\n", 2)[:2]:
        if match := _COOKIE.match(line):
            named = match.group(1).decode("ascii")
            return "utf-8" if named.lower().replace("_", "-") == "utf-8-sig" else named  # which would write a mark
        if line.strip() and not line.lstrip().startswith(b"#"):
            break
    return "utf-8"


def python_lines(text: str, *, keepends: bool = False) -> list[str]:
    """`text.splitlines()` with Python's idea of a line: a form feed or a Unicode separator ends none."""
    if "\r" not in text:
        lines = text.split("\n")
        rest = [last] if (last := lines.pop()) else []
        return [f"{line}\n" for line in lines] + rest if keepends else lines + rest
    lines = _LINE.findall(text)
    return lines if keepends else [line.rstrip("\r\n") for line in lines]


def relative(path: str, folder: Path) -> str:
    """`path` from `folder`, or as it is where none leads there: another drive of Windows."""
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return path
