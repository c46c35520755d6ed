"""One warm worker for those who ask again and again: a fresh interpreter that waits with torch imported.

Every trace and every run gets an interpreter that has seen no user code, so that an edited file is read anew and
nothing that a model did to the process (patches, registries, default dtypes) reaches the next; only the wait for torch
is gone.
The first is started when the first is asked for, the next while that one works, and none outlives a pause.
"""

from __future__ import annotations

import threading
from pathlib import Path

from freezelint.client import Cancelled, Worker, WorkerError

PAUSE_S = 600.0
Key = tuple[Path, Path]


class WarmWorkers:
    """Called as `Worker` is; what it gives may have been started before."""

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        self.pause_s = pause_s
        self._lock = threading.Lock()
        self._key: Key | None = None
        self._spare: Worker | None = None
        self._ready: threading.Thread | None = None
        self._timer: threading.Timer | None = None

    def __call__(self, python: Path, cwd: Path, timeout_s: float = 120.0) -> Worker:
        with self._lock:
            worker = self._take((python, cwd)) or Worker(python, cwd)
            worker.timeout_s = timeout_s
            self._prepare((python, cwd))
        return worker

    def close(self) -> None:
        """End the worker that waits."""
        with self._lock:
            self._drop()

    def _take(self, key: Key) -> Worker | None:
        if self._key != key:
            self._drop()
            return None
        if self._ready is not None:
            self._ready.join()
        worker, self._spare = self._spare, None
        return worker if worker is not None and worker.alive else None

    def _prepare(self, key: Key) -> None:
        self._key, self._spare = key, Worker(*key)
        self._ready = threading.Thread(target=_warm, args=(self._spare,), daemon=True)
        self._ready.start()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(self.pause_s, self.close)
        self._timer.daemon = True
        self._timer.start()

    def _drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        worker, self._spare, self._key = self._spare, None, None
        if worker is not None:
            worker.close()


def _warm(worker: Worker) -> None:
    try:
        worker.call("warm")
    except (WorkerError, ValueError):  # whoever takes it hears of it, or it was closed meanwhile
        return


class Errand:
    """The workers of one trace or run that may be cancelled from another thread. Called as `Worker` is."""

    def __init__(self, workers: WarmWorkers) -> None:
        self.workers = workers
        self._off = threading.Event()
        self._at_work: Worker | None = None

    def __call__(self, python: Path, cwd: Path, timeout_s: float = 120.0) -> Worker:
        self.check()
        worker = self._at_work = self.workers(python, cwd, timeout_s)
        if self._off.is_set():
            worker.close()
        return worker

    def check(self, _text: str = "") -> None:
        """Raises Cancelled when it is off; fits where progress is told."""
        if self._off.is_set():
            raise Cancelled

    def cancel(self) -> None:
        """End the worker at work; the next step of the errand raises Cancelled."""
        self._off.set()
        if self._at_work is not None:
            self._at_work.close()
