"""The run witness: real optimizer steps, of nominated models or of the user's own script, and what they showed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from freezelint import processes
from freezelint.client import WORKER, WantsPython, Worker, WorkerError, Workers, find_python
from freezelint.facts import Facts
from freezelint.findings import Finding, Location, Severity
from freezelint.graph_stage import stages, target_json, told
from freezelint.records import field, record, replace

CODE = "FRZ004"
DEFAULT_STEPS = 2  # of a script that asks for no other number: cheap steps go on until what is rare has shown
LAST_WORDS_S = 10.0  # after an interrupt: to leave what was learnt
GRACE_S = 20.0  # after the soft limit: to come to a stop and leave the facts
WELL = "it ended with exit code 0"
Progress = Callable[[str], None]


class RunSettings(WantsPython, Protocol):
    @property
    def timeout_s(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def dgrad_threshold(self) -> float: ...
    @property
    def output_format(self) -> str: ...
    @property
    def output_file(self) -> Path | None: ...


@record
class RunResult:
    facts: list[Facts] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)


def verify_targets(
    targets: Iterable[Any],
    settings: RunSettings,
    project_root: Path,
    progress: Progress,
    workers: Workers = Worker,
) -> RunResult:
    """A few real steps of each target; what could not be run is a note (FRZ004)."""
    result = RunResult()
    chosen = [target_json(target) for target in targets]
    if not chosen:
        return result
    python, reason = find_python(settings, project_root)
    if python is None:
        result.notes.append(note(reason, Location(str(project_root), 1)))
        return result
    options: dict[str, Any] = {"steps": settings.steps, "device": settings.device, "seed": settings.seed}
    with workers(python, project_root, settings.timeout_s) as worker:
        for number, target in enumerate(chosen, 1):
            worker.heard = stages(progress, target["name"], number, len(chosen))
            worker.heard("running")
            try:
                facts = Facts.from_json(worker.call("steps", target=target, **options))
            except WorkerError as error:
                at = Location(error.path or target.get("path", str(project_root)), error.line or target.get("line", 1))
                result.notes.append(note(f"`{target['name']}` was not run: {told(error)}", at))
                continue
            contract = (tuple(target.get("frozen", ())), tuple(target.get("trainable", ())))
            known = replace(facts, name=target["name"], contract=contract)
            result.facts.append(replace(known, dgrad_threshold=settings.dgrad_threshold))
            if facts.error is not None:
                at = Location(target.get("path", str(project_root)), target.get("line", 1))
                result.notes.append(note(_raised(target["name"], facts), at))
    return result


def run_script(script: str, args: Sequence[str], module: bool, settings: RunSettings, progress: Progress) -> RunResult:
    """The user's own script under the monitor. Its output goes where it always goes, except under our own report."""
    result = RunResult()
    python, reason = find_python(settings, Path.cwd())
    if python is None:
        result.notes.append(note(reason, Location(script, 1)))
        return result
    progress(f"running {script}")
    with tempfile.TemporaryDirectory(prefix="freezelint-") as folder:
        facts = Path(folder) / "facts.json"
        command = [str(python), str(WORKER), "script", "--facts", str(facts), "--steps", str(settings.steps)]
        command += ["--settle"] if settings.steps == DEFAULT_STEPS else []
        command += ["--timeout", str(settings.timeout_s), *(["--module"] if module else []), script, *args]
        ended = _run(command, settings)
        parts = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(Path(folder).glob("facts*.json"))]
    if not parts:
        result.notes.append(note(f"`{script}` left no facts: {ended}", Location(script, 1)))
        return result
    for data in parts:
        result.facts.append(replace(Facts.from_json(data), dgrad_threshold=settings.dgrad_threshold))
    result.notes.extend(_ending(script, result.facts[0], ended))
    return result


def _run(command: list[str], settings: RunSettings) -> str:
    """Start the script and wait for it; how it ended, in words."""
    ours = settings.output_format not in ("text", "full", "concise") and settings.output_file is None
    process = subprocess.Popen(command, stdout=sys.stderr.fileno() if ours else None, **processes.apart())
    try:
        code = _wait(process, settings.timeout_s)
    except subprocess.TimeoutExpired:
        processes.interrupt(process, LAST_WORDS_S)
        return f"stopped after {settings.timeout_s:g} s"
    except KeyboardInterrupt:
        processes.interrupt(process, LAST_WORDS_S)
        return "interrupted"
    if processes.was_killed(code):
        return f"it was killed, {processes.OUT_OF_MEMORY}"
    return f"it ended with {processes.ending(code)}"


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    """The exit code. A script that comes to no step within its time is told to leave what was seen, and then ended."""
    if not hasattr(signal, "SIGXCPU"):
        return process.wait(timeout=timeout_s + GRACE_S)
    try:
        return process.wait(timeout=timeout_s + GRACE_S / 4)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGXCPU)
        return process.wait(timeout=GRACE_S)


def _ending(script: str, facts: Facts, ended: str) -> list[Finding]:
    """What the user must know of how the run went: an error of the script's own, or no step at all."""
    if facts.troubles:
        text = f"part of what `{script}` did was not seen, please report it: {_line(facts.troubles[0])}"
        return [note(text, Location(script, 1))]
    if facts.error is not None:
        at = Location(*facts.error["place"]) if facts.error.get("place") else Location(script, 1)
        return [note(_raised(script, facts), at)]
    if not facts.steps:
        late = f" (stopped after {facts.seconds:.0f} s)" if facts.stopped == "timeout" else ""
        how = late or ("" if ended == WELL else f" ({ended})")
        text = f"`{script}` made no optimizer step{how}: nothing could be seen of its training"
        return [note(text, Location(script, 1))]
    return []


def _raised(name: str, facts: Facts) -> str:
    assert facts.error is not None
    how = "was interrupted" if facts.error["type"] == "KeyboardInterrupt" else f"raised {facts.error['type']}"
    text = f"`{name}` {how} after {facts.steps} step{'s' * (facts.steps != 1)}: {_line(facts.error['text'])}"
    return text.removesuffix(": ")


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


def note(text: str, location: Location) -> Finding:
    return Finding(CODE, text, location, Severity.WARNING)
