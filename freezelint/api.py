"""`freezelint.audit(model, inputs)`: the graph witness for a notebook or a test, in this process, on fake tensors."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from freezelint.findings import Evidence, Finding, Severity, Verdict
from freezelint.gradient_map import GradientMap
from freezelint.model_report import ModelReport, ParameterRow

if TYPE_CHECKING:
    import torch


class Audit:
    """What one traced step says about a live model. `print` shows the cost table, a notebook the picture."""

    def __init__(self, report: ModelReport, findings: list[Finding], graph: torch.fx.Graph) -> None:
        self.report = report
        self.findings = findings
        self.graph = graph  # every operation of the step, with the usual metadata

    @property
    def ok(self) -> bool:
        """Whether every trainable parameter gets a gradient, from the loss or from an output that may be added to it,
        and no rule found more than a hint."""
        serious = [finding for finding in self.findings if finding.severity is not Severity.HINT]
        return not serious and all(row.output for row in self.report.starved())

    @property
    def map(self) -> GradientMap:
        return self.report.map

    def parameters(self) -> list[ParameterRow]:
        """A row for each parameter: trainable, reached by the gradient, stepped by the optimizer."""
        return self.report.parameters

    def __str__(self) -> str:
        from freezelint.output.cost_table import render

        told = [f"{f.code} {f.message} ({f.location.path}:{f.location.line})" for f in self.findings]
        return "\n".join([render(self.report), *told])

    def __repr__(self) -> str:
        state = "ok" if self.ok else f"{len(self.findings)} findings"
        return f"<Audit of {self.report.name}: {state}>"

    def _repr_html_(self) -> str:
        from freezelint.output.picture import fragment

        return fragment(self.report, self.findings, _line)


def audit(
    model: torch.nn.Module,
    inputs: Any = None,
    *,
    loss: Callable[..., Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    frozen: str | Iterable[str] = (),
    trainable: str | Iterable[str] = (),
) -> Audit:
    """Trace one step of a live model and ask every rule about it. The model is left as it was.

    `inputs`: a tensor, a tuple of positional or a dict of keyword arguments, a spec ("float32[2,3,224,224]"), or None
    to have them inferred. `loss(output)` or `loss(output, inputs)`; without one, `.loss` of the output or every output.
    `frozen` and `trainable` are the contract, as patterns of parameter names. Raises what the model raises, and
    TypeError for an argument of another kind.
    """
    import torch

    from freezelint.worker.guess import example_inputs
    from freezelint.worker.setup_log import SetupLog
    from freezelint.worker.targets import Built
    from freezelint.worker.trace import trace_recorded

    contract = [_patterns("frozen", frozen), _patterns("trainable", trainable)]
    _check_arguments(model, loss, optimizer)
    log, caller = SetupLog(), sys._getframe(1)
    log.asked = caller.f_code.co_filename, caller.f_lineno
    with torch.inference_mode(False):  # what the caller is in is not where the model trains
        chosen = example_inputs(Built(model, optimizer, loss, inputs))
        data, recording = trace_recorded(model, chosen, loss, optimizer, log)
    report = ModelReport.from_json({**data, "name": type(model).__name__})
    report.frozen, report.trainable = contract
    return Audit(report, findings_of(report), recording.recorder.graph)


def _patterns(name: str, given: Any) -> tuple[str, ...]:
    """One pattern, or several."""
    patterns = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError(f"audit: `{name}` takes patterns of parameter names, not {given!r}")
    return patterns


def _check_arguments(model: Any, loss: Any, optimizer: Any) -> None:
    import torch

    wanted = "a torch.nn.Module" + (", built: call the class first" if isinstance(model, type) else "")
    checks = (
        ("model", model, isinstance(model, torch.nn.Module), wanted),
        ("loss", loss, loss is None or callable(loss), "a function of the output"),
        ("optimizer", optimizer, optimizer is None or hasattr(optimizer, "param_groups"), "an optimizer that is built"),
    )
    for name, given, fits, what in checks:
        if not fits:
            raise TypeError(f"audit: `{name}` takes {what}, not {given!r:.80}")


def findings_of(report: ModelReport) -> list[Finding]:
    """What every rule says of a traced model, in the order of places."""
    from freezelint.rule import all_rules, ask, table
    from freezelint.settle import STARVATION, merge

    checks = table(frozenset(all_rules()))
    found = [*ask(checks, report.map, report), *ask(checks, report)]
    shown = Evidence("graph", Verdict.CONFIRMED, "seen in the trace", report.device)
    told = [finding.with_evidence(shown) for finding in found]
    starved = [finding for finding in told if finding.code in STARVATION]
    others = [finding for finding in told if finding.code not in STARVATION]
    return sorted([*merge([], starved), *others], key=lambda finding: (finding.location, finding.code))


def _line(path: str, _cell: int | None, number: int) -> str:
    """A line of a file, or of a notebook's cell as IPython keeps it."""
    return linecache.getline(path, number).rstrip("\n")
