"""The run witness inside a real training: watches its first optimizer steps, warns once, and steps aside.

`lightning()` is a callback for Lightning's `Trainer`, `huggingface()` one for the `Trainer` of transformers; `Watch`
serves any other loop.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module, util
from pathlib import Path
from typing import Any

from freezelint import book
from freezelint.facts import Facts
from freezelint.findings import Finding, Severity
from freezelint.records import replace
from freezelint.rule import ask, table
from freezelint.settle import in_run


class FreezelintWarning(UserWarning):
    """What the first steps of a training showed."""


class Watch:
    """Watches this process from `start` until `steps` optimizer steps were made, or until `stop`.

    The models are watched as they are from `start` on, so start before the optimizer is made. The training's random
    numbers, results and outputs stay what they are.
    """

    def __init__(self, steps: int = 2) -> None:
        self.steps = steps
        self.findings: list[Finding] = []
        self.facts: Facts | None = None
        self._monitor: Any = None
        self._patches: Any = None

    @property
    def watching(self) -> bool:
        return self._monitor is not None

    def start(self) -> None:
        if self.watching or self.facts is not None:
            return
        from freezelint.worker.monitor import Monitor
        from freezelint.worker.patches import Patches
        from freezelint.worker.places import Places

        self._monitor = Monitor(Places((str(Path.cwd()),)))
        self._patches = Patches(self._monitor)
        self._patches.install()
        self._monitor.flow.__enter__()

    def after_step(self) -> None:
        """Called after each optimizer step; the last one ends the watch and warns."""
        if self.watching and self._monitor.steps >= self.steps:
            self.stop()

    def stop(self) -> None:
        """End the watch and warn of what was seen; a second call does nothing."""
        if not self.watching:
            return
        from freezelint.worker.digest import digest

        monitor, self._monitor = self._monitor, None
        monitor.survey()
        monitor.flow.__exit__(None, None, None)
        self._patches.undo()
        seen = digest(monitor)
        seen.update(script="", stopped="steps", error=None, seconds=0.0)
        self.facts = Facts.from_json(seen)
        self.findings = _findings(self.facts)
        for finding in self.findings:
            warnings.warn(_text(finding), FreezelintWarning, stacklevel=2)


def _findings(facts: Facts) -> list[Finding]:
    """What the rules say of the run, hints aside, each once."""
    checks = table(frozenset(book.codes()))
    found = [*ask(checks, facts), *(in_run(one, facts) for one in ask(checks, facts.map, facts))]
    unique = {(one.code, one.location): one for one in found if one.severity is not Severity.HINT}
    short = [replace(one, location=replace(one.location, path=_short(one.location.path))) for one in unique.values()]
    return sorted(short, key=lambda one: (one.location, one.code))


def _short(path: str) -> str:
    try:
        return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path
    except ValueError:
        return path


def _text(finding: Finding) -> str:
    at = finding.location
    detail = "".join(f" ({item.detail})" for item in finding.evidence[:1])
    return f"{at.path}:{at.line}: {finding.code} {finding.message}{detail}"


def lightning(steps: int = 2) -> Any:
    """A callback for Lightning's `Trainer`: watches the first steps of `fit`."""
    name = "lightning.pytorch" if util.find_spec("lightning") else "pytorch_lightning"
    base: Any = import_module(name).Callback

    class Freezelint(base):  # type: ignore[misc]
        """Starts with the set-up of `fit`, before the optimizers are made."""

        def __init__(self) -> None:
            self.watch = Watch(steps)

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            if stage == "fit":
                self.watch.start()

        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            self.watch.after_step()

        def on_exception(self, *_: Any) -> None:
            self.watch.stop()

        def on_fit_end(self, *_: Any) -> None:
            self.watch.stop()

    return Freezelint()


def huggingface(steps: int = 2) -> Any:
    """A callback for the `Trainer` of transformers: watches its first steps."""
    base: Any = import_module("transformers").TrainerCallback

    class Freezelint(base):  # type: ignore[misc]
        """Starts when the trainer is made, before the optimizer is."""

        def __init__(self) -> None:
            self.watch = Watch(steps)

        def on_init_end(self, *_: Any, **__: Any) -> None:
            self.watch.start()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.watch.after_step()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.watch.stop()

    return Freezelint()
