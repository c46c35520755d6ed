"""Says on stderr what is being worked on: a bar on a terminal, a quiet line now and then elsewhere.

A text may end in `(3 of 7)`; that is the bar. An empty text is the end.
"""

from __future__ import annotations

import re
import shutil
import sys
import threading
import time
from typing import IO

SILENT_S = 10.0  # where nobody watches: how long all may take before a line is due; each next one takes twice as long
TICK_S = 1.0
BAR = 16
OWN = "reading"  # the work of this very process, whose pool may fork: no thread runs beside it
_OF = re.compile(r"\((\d+) of (\d+)\)$")


class Progress:
    """Called with each new text. `rewrites`: whether the terminal is ours alone, with no output of a script's on it."""

    def __init__(self, stream: IO[str] | None = None, *, quiet: bool = False, rewrites: bool = True) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.rewrites = rewrites and self.stream.isatty()
        self.text = ""
        self.pause = SILENT_S
        self.since = self.told = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ticking: threading.Thread | None = None

    def __call__(self, text: str) -> None:
        if self.quiet:
            return
        with self._lock:
            if text != self.text:
                self.text, self.since = text, time.monotonic()
            self._show()
        if text and not text.startswith(OWN) and self._ticking is None:
            self._ended.clear()
            self._ticking = threading.Thread(target=self._tick, daemon=True)
            self._ticking.start()
        elif not text and self._ticking is not None:
            self._ended.set()
            self._ticking.join()
            self._ticking = None

    def _tick(self) -> None:
        while not self._ended.wait(TICK_S):
            with self._lock:
                self._show()

    def _show(self) -> None:
        if self.rewrites:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{self.line()[:width]}", end="", file=self.stream, flush=True)
        elif self.text and time.monotonic() - self.told >= self.pause:
            self.told, self.pause = time.monotonic(), 2 * self.pause
            print(f"freezelint: {self.text}{self._waited()}", file=self.stream, flush=True)

    def line(self) -> str:
        """What stands on the terminal: the bar of what is done, the text, and how long it has been at it."""
        if not self.text:
            return ""
        part = _OF.search(self.text)
        filled = BAR * (int(part[1]) - 1) // int(part[2]) if part else 0
        bar = f"[{'#' * filled}{'.' * (BAR - filled)}] " if part else ""
        return f"{bar}{self.text}{self._waited()}"

    def _waited(self) -> str:
        seconds = int(time.monotonic() - self.since)
        return f", {seconds} s" if seconds >= 2 else ""
