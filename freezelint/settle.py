"""The second and third witness: models traced, steps run, and each finding settled by what was seen.

A finding that a later witness makes too, at a line of the same range, is confirmed and told once; one whose line ran
without the harm it claims is refuted; what could not be settled says why.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezelint.config import Resolver
from freezelint.findings import Evidence, Finding, Location, Severity, Verdict
from freezelint.rule import ask, table
from freezelint.source.discover import shown

if TYPE_CHECKING:
    from freezelint.engine import Check, Outcome
    from freezelint.model_report import ModelReport

Progress = Callable[[str], None]
STARVATION = frozenset(
    {"FRZ301", "FRZ302", "FRZ303", "FRZ305", "FRZ306"}
)  # one cause, told under the code that came first


def witness(found: list[Finding], outcome: Outcome, check: Check, progress: Progress) -> list[Finding]:
    """`found` with what the graph and, when asked for, a run have to say."""
    settings = check.settings
    targets: Sequence[Any] = settings.models or outcome.targets
    root = check.roots[0]
    if not targets:
        text = "no model to trace: none can be built without arguments; name one in [[tool.freezelint.models]]"
        return [*found, _note("FRZ003", text)]
    if settings.trace:
        from freezelint.graph_stage import trace_targets

        graph = trace_targets(targets, settings, root, progress)
        outcome.models = len(graph.reports)
        outcome.tables = _tables(graph.reports)
        found = merge(found, check.keep(graph_findings(graph.reports, check)), "graph")
        found += check.keep(graph.notes)
    if settings.verify:
        from freezelint.run_stage import verify_targets

        result = verify_targets(targets, found, settings, root, progress)
        found = _after_run(found, result, outcome, check)
    return found


def trace_named(names: list[str], resolver: Resolver, progress: Progress) -> Outcome:
    """`freezelint trace pkg.mod:build`: the named models alone."""
    from freezelint.engine import Check, Outcome
    from freezelint.graph_stage import trace_targets

    check = Check.of_nothing(resolver)
    outcome = Outcome([], [], check.sources)
    graph = trace_targets(names, resolver.settings, check.roots[0], progress)
    outcome.models = len(graph.reports)
    outcome.tables = _tables(graph.reports)
    found = merge([], check.keep(graph_findings(graph.reports, check)), "graph")
    notes = [
        replace(note, severity=Severity.ERROR) if note.severity is Severity.WARNING else note for note in graph.notes
    ]
    outcome.findings = check.told(found + check.keep(notes))
    progress("")
    return outcome


def run_script(script: str, arguments: list[str], module: bool, resolver: Resolver, progress: Progress) -> Outcome:
    """`freezelint run train.py`: the source's findings in the script, settled by its first steps."""
    from freezelint.engine import Check, Outcome
    from freezelint.run_stage import run_script as run

    path = _module_file(script) if module else script
    check = Check([path] if path else [], resolver) if path else Check.of_nothing(resolver)
    outcome = Outcome([], check.files, check.sources)
    found = check.source_findings()
    result = run(script, arguments, module, resolver.settings, progress)
    outcome.findings = check.told(_after_run(found, result, outcome, check))
    progress("")
    return outcome


def _module_file(name: str) -> str:
    """The file of a module below the working folder, or an empty string."""
    path = name.replace(".", os.sep)
    return next((file for file in (f"{path}.py", os.path.join(path, "__main__.py")) if os.path.isfile(file)), "")


def graph_findings(reports: Iterable[ModelReport], check: Check) -> list[Finding]:
    """What the rules say of every traced model."""
    checks = table(check.codes(check.settings))
    found: list[Finding] = []
    for report in reports:
        try:
            found.extend(ask(checks, report.map, report))
            found.extend(ask(checks, report))
        except Exception as error:
            if os.environ.get("FREEZELINT_DEBUG"):
                raise
            found.append(_note("FRZ003", f"`{report.name}`: a rule failed on its map: {type(error).__name__}: {error}"))
    return found


def merge(found: Iterable[Finding], seen: Iterable[Finding], by: str, device: str = "") -> list[Finding]:
    """`found` with the findings of a later witness: the same mistake is confirmed, a new one is added."""
    merged = list(found)
    for finding in seen:
        own = finding.evidence or (Evidence(by, Verdict.CONFIRMED, _detail(finding), device),)
        index = next((n for n, known in enumerate(merged) if same(known, finding)), None)
        if index is None:
            merged.append(replace(finding, evidence=own))
        else:
            known = merged[index]
            fresh = tuple(item for item in own if item.witness not in {old.witness for old in known.evidence})
            merged[index] = replace(known, evidence=known.evidence + fresh)
    return merged


def same(known: Finding, other: Finding) -> bool:
    """Whether two witnesses tell one mistake: the same rule, or the same cut under two codes, on a shared line."""
    codes = {known.code, other.code}
    return (len(codes) == 1 or codes <= STARVATION) and known.location.touches(other.location)


def _detail(finding: Finding) -> str:
    return finding.message


def _tables(reports: Iterable[ModelReport]) -> list[str]:
    from freezelint.output.cost_table import render

    told: dict[str, str] = {}  # the table without its name -> with it: a builder and its class give the same model
    for report in reports:
        text = render(report)
        told.setdefault(text.removeprefix(report.name), text)
    return list(told.values())


def _note(code: str, text: str) -> Finding:
    return Finding(code, text, Location(".", 1), Severity.HINT)


def _after_run(found: list[Finding], result: Any, outcome: Outcome, check: Check) -> list[Finding]:
    """`found` settled by the facts of a run, refuted ones left out unless they are asked for."""
    checks = table(check.codes(check.settings))
    outcome.runs += len(result.facts)
    for facts in result.facts:
        seen = check.keep([*ask(checks, facts), *ask(checks, facts.map, facts)])
        found = merge(found, seen, "run", facts.device)
        found = [settled(finding, facts) for finding in found]
    outcome.refuted = sum(finding.refuted for finding in found)
    if not check.settings.show_refuted:
        found = [finding for finding in found if not finding.refuted]
    return found + check.keep(result.notes)


def settled(finding: Finding, facts: Any) -> Finding:
    """A finding of another witness that the run made no finding of."""
    if finding.claim is None or any(item.witness == "run" for item in finding.evidence):
        return finding
    return finding


def spelled(location: Location) -> Location:
    return replace(location, path=shown(os.path.abspath(location.path)))


__all__ = ["Path", "merge", "run_script", "settled", "trace_named", "witness"]
