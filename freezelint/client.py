"""The host's side of the worker: finds the user's interpreter, starts the worker in it, and survives whatever it does.

One worker serves a session; after a crash or a time-out the next call starts a fresh one. Every failure is a
`WorkerError` with a kind and one line of text.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from freezelint import processes

WORKER = Path(__file__).parent / "worker" / "__main__.py"
PROTOCOL = 1
START_S = 60.0
Workers = Callable[[Path, Path, float], "Worker"]  # how stages get one: the class itself, or one that keeps some warm


class WantsPython(Protocol):
    @property
    def python(self) -> Path | None: ...


class WorkerError(Exception):
    """`kind`: "start", "protocol", "timeout", "crash", "memory", or the name of the exception that user code raised."""

    def __init__(self, kind: str, text: str, path: str = "", line: int = 0) -> None:
        super().__init__(text)
        self.kind, self.text, self.path, self.line = kind, text, path, line


class Cancelled(BaseException):
    """Whoever asked for a trace or run no longer wants it."""


def find_python(settings: WantsPython, project_root: Path) -> tuple[Path | None, str]:
    """The interpreter with the user's torch, and why it was chosen; (None, reason) where there is none."""
    if settings.python is not None:
        given = shutil.which(str(settings.python))
        return (Path(given), "given") if given else (None, f"the interpreter {settings.python} does not exist")
    tried = []
    for path, why in _candidates(os.environ, project_root):
        if not path.is_file():
            continue
        if _has_torch(path):
            return path, why
        tried.append(why)
    looked = ", ".join(tried) if tried else "no interpreter"
    return None, f"no interpreter with torch was found (looked at: {looked}); name one with --python"


def _candidates(environ: Mapping[str, str], project_root: Path) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    active = environ.get("VIRTUAL_ENV")
    if active and Path(active).resolve() != Path(sys.prefix).resolve():
        found.append((_python_of(Path(active)), "$VIRTUAL_ENV"))
    if environ.get("CONDA_PREFIX"):
        prefix = Path(environ["CONDA_PREFIX"])
        found.append((prefix / "python.exe" if os.name == "nt" else _python_of(prefix), "$CONDA_PREFIX"))
    found.append((_python_of(project_root / ".venv"), ".venv of the project"))
    found.append((Path(sys.executable), "freezelint's own"))
    return found


def _python_of(prefix: Path) -> Path:
    return prefix / "Scripts" / "python.exe" if os.name == "nt" else prefix / "bin" / "python"


def _has_torch(python: Path) -> bool:
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)"
    try:
        return (
            subprocess.run([str(python), "-c", code], capture_output=True, timeout=START_S, check=False).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


class Worker:
    """A worker process and its conversation. Use as a context manager; `call` may be repeated after an error."""

    def __init__(
        self, python: Path, cwd: Path, timeout_s: float = 120.0, environ: Mapping[str, str] | None = None
    ) -> None:
        self.python, self.cwd, self.timeout_s = python, cwd, timeout_s
        self.environ = dict(os.environ if environ is None else environ)
        self.versions: dict[str, Any] = {}
        self.heard: Callable[[str], None] = lambda text: None  # what the worker does on the way to an answer
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: IO[bytes] | None = None
        self._last_id = 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def call(self, op: str, *, call_timeout_s: float | None = None, **args: Any) -> dict[str, Any]:
        """The result of one operation; raises WorkerError."""
        if not self.alive:
            self._start()
        return self._ask(op, args, self.timeout_s if call_timeout_s is None else call_timeout_s)

    def close(self) -> None:
        """End the worker and everything it started."""
        process, self._process = self._process, None
        if process is not None:
            self._kill(process)
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def _start(self) -> None:
        self.close()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the worker
        try:
            self._process = subprocess.Popen(
                [str(self.python), "-u", str(WORKER)], cwd=self.cwd, env=self.environ, text=True, encoding="utf-8",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, **processes.apart(),
            )  # fmt: skip
        except OSError as error:
            raise WorkerError("start", f"cannot start {self.python}: {error.strerror or error}") from None
        self._lines = queue.Queue()
        threading.Thread(target=_read, args=(self._process, self._lines), daemon=True).start()
        self.versions = self._ask("hello", {}, START_S)
        if self.versions.get("protocol") != PROTOCOL:
            self.close()
            raise WorkerError("protocol", f"the worker speaks protocol {self.versions.get('protocol')}, not {PROTOCOL}")
        if not self.versions["torch"]:
            self.close()
            raise WorkerError("start", f"{self.python} has no torch")

    def _ask(self, op: str, args: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        self._last_id += 1
        try:
            process.stdin.write(json.dumps({"id": self._last_id, "op": op, "args": args}) + "\n")
            process.stdin.flush()
        except OSError:  # a broken pipe; Windows says EINVAL
            raise self._dead(process) from None
        until = time.monotonic() + timeout_s
        while "progress" in (reply := self._reply(process, until, timeout_s)):
            self.heard(str(reply["progress"]))
        error = reply.get("error")
        if error:
            raise WorkerError(error["type"], error["text"], error.get("path", ""), error.get("line", 0))
        result: dict[str, Any] = reply["result"]
        return result

    def _reply(self, process: subprocess.Popen[str], until: float, timeout_s: float) -> dict[str, Any]:
        """The next line of the answer, or of what is told on the way to it."""
        try:
            line = self._lines.get(timeout=max(until - time.monotonic(), 0.0))
        except queue.Empty:
            self.close()
            raise WorkerError("timeout", f"no answer within {timeout_s:g} s") from None
        except KeyboardInterrupt:
            self.close()
            raise
        if line is None:
            raise self._dead(process)
        return self._parsed(line)

    def _parsed(self, line: str) -> dict[str, Any]:
        try:
            reply = json.loads(line)
            if reply["id"] != self._last_id:
                raise ValueError("an answer to another question")
        except (ValueError, KeyError, TypeError):
            self.close()
            raise WorkerError("protocol", f"not an answer: {line.strip()[:80]!r}") from None
        return dict(reply)

    def _dead(self, process: subprocess.Popen[str]) -> WorkerError:
        code = process.wait()
        said = self._last_words()
        self.close()
        if processes.was_killed(code):
            return WorkerError("memory", f"the worker was killed, {processes.OUT_OF_MEMORY}")
        return WorkerError("crash", f"the worker ended ({processes.ending(code)})" + (f": {said}" if said else ""))

    def _last_words(self) -> str:
        if self._errors is None:
            return ""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 4096))
        lines = [line.strip() for line in self._errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""

    def _kill(self, process: subprocess.Popen[str]) -> None:
        processes.end(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was not yet written has no reader any more
                    continue


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.put(line)
    except ValueError:  # closed while reading
        pass
    lines.put(None)
