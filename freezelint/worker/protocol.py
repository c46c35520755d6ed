"""One JSON object a line each way: `{"id", "op", "args"}` in, `{"id", "result"}` or `{"id", "error"}` out, and before
these any number of `{"id", "progress"}`.

Replies leave on a private copy of fd 1 and requests come on a private copy of fd 0, so that user code may print and
read as it likes: what it prints goes to stderr, what it reads is empty. An exception of user code, `SystemExit`
included, is a reply with its type, its text and the user's line that raised it.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

PROTOCOL = 1

OPS: dict[str, tuple[str, str]] = {  # op -> (module of this folder, function); imported when first asked for
    "hello": ("protocol", "hello"),
    "warm": ("protocol", "warm"),
    "trace": ("trace", "trace"),
    "steps": ("steps", "steps"),
    "script": ("script", "script"),
}


class UnsupportedError(Exception):
    """What was asked for cannot be done here; the text says why, in one line for the user."""


class TargetError(UnsupportedError):
    """What a target names is not there, or is nothing that a model can be built from."""


def hello(_args: dict[str, Any]) -> dict[str, Any]:
    """The handshake: versions, without the seconds that importing torch takes."""
    from importlib import metadata

    try:
        torch_version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch_version = ""
    return {"protocol": PROTOCOL, "python": sys.version.split()[0], "torch": torch_version, "prefix": sys.prefix}


def warm(_args: dict[str, Any]) -> dict[str, Any]:
    """Import what a trace and a run need, torch above all, ahead of the first question."""
    for name in ("trace", "steps"):
        importlib.import_module(f"{__package__}.{name}")
    return {}


_listeners: list[Callable[[str], None]] = []


def tell(text: str) -> None:
    """What is being done now, for whoever waits for the answer."""
    for say in _listeners:
        say(text)


def serve() -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for line in requests:
        request = json.loads(line)
        _listeners[:] = [functools.partial(_progress, replies, request["id"])]
        reply = answer(request)
        try:
            text = json.dumps(reply)
        except (TypeError, ValueError) as error:
            text = json.dumps({"id": request["id"], "error": describe(error)})
        replies.write(text + "\n")
        replies.flush()


def _progress(replies: IO[str], number: int, text: str) -> None:
    replies.write(json.dumps({"id": number, "progress": text}) + "\n")
    replies.flush()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        module, function = OPS[request["op"]]
        handler = getattr(importlib.import_module(f"{__package__}.{module}"), function)
        return {"id": request["id"], "result": handler(request.get("args", {}))}
    except BaseException as error:  # a reply whatever user code raises; SystemExit and KeyboardInterrupt too
        return {"id": request["id"], "error": describe(error)}


def describe(error: BaseException) -> dict[str, Any]:
    """Type, one-line text and the innermost line outside of torch, the worker and the standard library."""
    text = " ".join(str(error).split()) or type(error).__name__
    kind = type(error).__name__
    if isinstance(error, SystemExit):
        text = f"the code ended the program (exit code {error.code})"
    where = place_of(error)
    return {"type": kind, "text": text[:500], "path": where[0], "line": where[1]}


def place_of(error: BaseException) -> tuple[str, int]:
    from .frames import is_user_file

    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return error.filename, error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if is_user_file(frame.filename):
            return frame.filename, frame.lineno or 0
    return "", 0
