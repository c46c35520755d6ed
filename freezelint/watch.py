"""`--watch`: check, wait until a file changes, check again."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

from freezelint.config import Resolver
from freezelint.source.discover import Missing, discover

INTERVAL_S = 0.5


def watch(check: Callable[[], int], paths: Sequence[str], resolver: Resolver, rounds: int | None = None) -> int:
    """Check after every change until interrupted (`rounds`: that many checks at most)."""
    done = 0
    while True:
        if sys.stdout.isatty():
            print("\033[2J\033[H", end="")
        before = _state(paths, resolver)
        code = check()
        done += 1
        if done == rounds:
            return code
        print("Watching for changes; Ctrl-C ends.", file=sys.stderr)
        while _state(paths, resolver) == before:
            time.sleep(INTERVAL_S)


def _state(paths: Sequence[str], resolver: Resolver) -> dict[str, tuple[int, int]]:
    """Modification time and size of every file; none while a path is missing."""
    state: dict[str, tuple[int, int]] = {}
    try:
        files = discover(paths, resolver)
    except Missing:
        return state
    for file in files:
        try:
            facts = os.stat(file.path)
        except OSError:
            continue
        state[file.path] = (facts.st_mtime_ns, facts.st_size)
    return state
