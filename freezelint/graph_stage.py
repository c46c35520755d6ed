"""The graph witness: every nominated model traced by the worker; what could not be traced is a note (FRZ003)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from freezelint.client import WantsPython, Worker, WorkerError, Workers, find_python
from freezelint.findings import Finding, Location, Severity
from freezelint.model_report import ModelReport
from freezelint.records import field, record

CODE = "FRZ003"
MOST_MODELS = 6  # of one script
Progress = Callable[[str], None]


class TraceSettings(WantsPython, Protocol):
    @property
    def timeout_s(self) -> float: ...

    @property
    def dgrad_threshold(self) -> float: ...


@record
class GraphResult:
    reports: list[ModelReport] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    refused: list[Finding] = field(default_factory=list)  # targets that name no model, or nothing to trace them with


def trace_targets(
    targets: Iterable[Any],
    settings: TraceSettings,
    project_root: Path,
    progress: Progress,
    workers: Workers = Worker,
) -> GraphResult:
    """Trace each target: a `Target` of the source stage, a `ModelSettings`, or "pkg.mod:callable"."""
    result = GraphResult()
    chosen = [target_json(target) for target in targets]
    if not chosen:
        return result
    python, reason = find_python(settings, project_root)
    if python is None:
        result.refused.append(note(reason, {"path": str(project_root)}))
        return result
    with workers(python, project_root, settings.timeout_s) as worker:
        for number, target in enumerate(chosen, 1):
            worker.heard = stages(progress, target["name"], number, len(chosen))
            worker.heard("tracing")
            _trace_all(worker, target, result, settings.timeout_s)
    for report in result.reports:
        report.dgrad_threshold = settings.dgrad_threshold
    return result


def stages(progress: Progress, name: str, number: int, count: int) -> Progress:
    """Tells what becomes of one of several models: `building`, `tracing`, `running`."""
    return lambda stage: progress(f"{stage} {name} ({number} of {count})")


def _trace_all(worker: Worker, target: dict[str, Any], result: GraphResult, timeout_s: float) -> None:
    """The target's model, and further ones that its optimizers step, as many as fit in the time of one."""
    until = time.monotonic() + timeout_s
    first = _trace_one(worker, target, result)
    others = first.others if first else []
    for number, part in enumerate(others, 1):
        if number == MOST_MODELS or time.monotonic() > until:
            left = ", ".join(f"`{name}`" for name in others[number - 1 :])
            text = f"`{target['name']}`: {left} not traced: {number} of its models were"
            result.notes.append(note(text, target, severity=Severity.HINT))
            return
        _trace_one(worker, {**target, "part": part}, result, Severity.HINT)


def _trace_one(
    worker: Worker, target: dict[str, Any], result: GraphResult, severity: Severity = Severity.WARNING
) -> ModelReport | None:
    try:
        report = ModelReport.from_json(worker.call("trace", target=target))
    except WorkerError as error:
        name = f"{target['name']}: {target['part']}" if "part" in target else target["name"]
        notes = result.refused if error.kind == "TargetError" else result.notes
        notes.append(note(f"`{name}` was not traced: {told(error)}", target, error, severity))
        return None
    report.frozen, report.trainable = tuple(target.get("frozen", ())), tuple(target.get("trainable", ()))
    result.reports.append(report)
    if report.method == "real":
        result.notes.append(note(f"`{report.name}`: {report.notes[0]}", target, severity=Severity.HINT))
    return report


def told(error: WorkerError) -> str:
    if error.kind in ("start", "protocol", "timeout", "crash", "memory", "UnsupportedError", "TargetError"):
        return error.text
    return error.text if error.text.startswith(error.kind) else f"{error.kind}: {error.text}"


def target_json(target: Any) -> dict[str, Any]:
    """What the worker is asked for. Paths are absolute: the worker's folder need not be ours."""
    if isinstance(target, str) and target.endswith(".py"):
        return {"name": target, "path": str(Path(target).absolute()), "kind": "script"}
    if isinstance(target, str):
        return {"name": target, "build": _absolute(target)}
    if isinstance(target, Mapping):
        return dict(target)
    build = getattr(target, "build", None)
    if build is None:
        path = str(Path(target.path).absolute())
        keys = {"kind": target.kind, "qualname": target.qualname, "line": target.line}
        return {"name": target.name, "path": path, **keys}
    inputs = list(target.inputs) if not isinstance(target.inputs, str) else target.inputs
    asked = {"name": target.name, "build": _absolute(build), "loss": target.loss or None}
    if inputs:
        asked["inputs"] = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs
    return {**asked, "frozen": list(target.frozen), "trainable": list(target.trainable)}


def _absolute(reference: str) -> str:
    """`models/net.py:build` with the file's full path; `pkg.mod:build` as it is."""
    path, _, name = reference.rpartition(":")
    return f"{Path(path).absolute()}:{name}" if path.endswith(".py") else reference


def note(
    text: str, target: Mapping[str, Any], error: WorkerError | None = None, severity: Severity = Severity.WARNING
) -> Finding:
    path, line = str(target.get("path") or ""), int(target.get("line") or 1)
    if error is not None and error.path and error.line:
        path, line = error.path, error.line
    return Finding(CODE, text, Location(_relative(path or "."), line), severity)


def _relative(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
