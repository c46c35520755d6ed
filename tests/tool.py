"""Runs the command line in this process, as `freezelint ARGUMENTS` would, and keeps what it prints."""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freezelint.__main__ import main

FROZEN_BY_ATTRIBUTE = "import torch\n\nnet = torch.nn.Linear(1, 1)\nnet.requires_grad = False\n"
FIXED = FROZEN_BY_ATTRIBUTE.replace("requires_grad = False", "requires_grad_(False)")


@dataclass
class Result:
    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode("utf-8")

    @property
    def findings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.out)
        return found


def freezelint(*arguments: str | Path, stdin: bytes = b"") -> Result:
    """Exit code and output of one command in the working folder."""
    out = io.BytesIO()
    code = 0
    stdout = io.TextIOWrapper(out, encoding="utf-8", newline="")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as err:  # a real file: children inherit it
        with _process(["freezelint", *map(str, arguments)], stdin), redirect_stdout(stdout), redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
            stdout.flush()
        err.seek(0)
        return Result(code, out.getvalue(), err.read())


@contextmanager
def _process(argv: list[str], stdin: bytes) -> Iterator[None]:
    before = sys.argv, sys.stdin
    sys.argv, sys.stdin = argv, io.TextIOWrapper(io.BytesIO(stdin))
    try:
        yield
    finally:
        sys.argv, sys.stdin = before


def write(folder: Path, files: dict[str, str]) -> None:
    """Files by relative path, with line ends as given."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
