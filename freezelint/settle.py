"""The second and third witness: models traced, steps run, and each finding settled by what was seen.

A finding that a later witness makes too, at a line of the same range, is confirmed and told once; one whose line ran
without the harm it claims is refuted; what could not be settled says why.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from freezelint import book
from freezelint.backing import about, borne_out
from freezelint.config import Resolver
from freezelint.findings import ClaimKind, Evidence, Finding, Location, Severity, Verdict
from freezelint.records import replace
from freezelint.rule import ask, locate, table

if TYPE_CHECKING:
    from freezelint.engine import Check, Outcome
    from freezelint.facts import Facts
    from freezelint.model_report import ModelReport
    from freezelint.run_stage import RunResult
    from freezelint.settings import ModelSettings

Progress = Callable[[str], None]
STARVATION = frozenset(
    {"FRZ301", "FRZ302", "FRZ303", "FRZ305", "FRZ306", "FRZ313"}
)  # one cause, told under the code that came first

# A run of a model alone, under a loop and a loss of our own, refutes only what the model itself decides.
OF_THE_MODEL = frozenset({"FRZ101", "FRZ102", "FRZ103", "FRZ105", "FRZ109", "FRZ306", "FRZ311"})
OF_THE_LOSS = frozenset({"FRZ301", "FRZ302", "FRZ303", "FRZ313"})  # these too, where the settings name the loss
DEVICE_BOUND = frozenset({"FRZ312", "FRZ315"})  # on the CPU a copy or a cast may not happen


def witness(found: list[Finding], outcome: Outcome, check: Check, progress: Progress) -> list[Finding]:
    """`found` with what the graph and, when asked for, a run have to say."""
    settings = check.settings
    targets: Sequence[Any] = settings.models or outcome.targets
    if not targets:
        text = "no model to trace: none can be built without arguments; name one in [[tool.freezelint.models]]"
        return [*found, _note("FRZ003", text)]
    if settings.trace:
        found = _survived("FRZ003", found, lambda: _traced(found, targets, outcome, check, progress))
    if settings.verify:
        found = _survived("FRZ004", found, lambda: _verified(found, targets, outcome, check, progress))
    return found


def _survived(code: str, found: list[Finding], stage: Callable[[], list[Finding]]) -> list[Finding]:
    """What a stage makes of `found`; a fault of our own in it costs the stage, not the report."""
    try:
        return stage()
    except Exception as error:
        if os.environ.get("FREEZELINT_DEBUG"):
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return [*found, _note(code, f"the stage failed, please report it: {text}", Severity.WARNING)]


def _traced(
    found: list[Finding], targets: Sequence[Any], outcome: Outcome, check: Check, progress: Progress
) -> list[Finding]:
    from freezelint.graph_stage import trace_targets

    graph = trace_targets(targets, check.settings, check.settings.root, progress, check.workers)
    outcome.models = len(graph.reports)
    _draw(graph.reports, outcome)
    found = merge(found, check.keep(graph_findings(graph.reports, check)))
    return found + kept_apart([*graph.refused, *graph.notes], check)


def _verified(
    found: list[Finding], targets: Sequence[Any], outcome: Outcome, check: Check, progress: Progress
) -> list[Finding]:
    from freezelint.run_stage import verify_targets

    result = verify_targets(targets, check.settings, check.settings.root, progress, check.workers)
    models = check.settings.models
    own_loss = bool(models) and all(model.loss for model in models)
    return _after_run(found, result, outcome, check, OF_THE_MODEL | OF_THE_LOSS if own_loss else OF_THE_MODEL)


def trace_named(names: list[str], resolver: Resolver, progress: Progress) -> Outcome:
    """`freezelint trace pkg.mod:build`: the named models alone, each as the settings have it where they do."""
    from freezelint.engine import Check, Outcome
    from freezelint.graph_stage import trace_targets

    check = Check.of_nothing(resolver)
    outcome = Outcome([], [], check.sources)
    targets = [target for name in names for target in _as_set(name, resolver.settings.models)]
    root = resolver.folder if any(isinstance(target, str) for target in targets) else resolver.settings.root
    graph = trace_targets(targets, resolver.settings, root, progress)
    outcome.models = len(graph.reports)
    _draw(graph.reports, outcome, asked=True)
    found = merge([], check.keep(graph_findings(graph.reports, check)))
    notes = [
        replace(note, severity=Severity.ERROR) if note.severity is Severity.WARNING else note for note in graph.notes
    ]
    outcome.findings = check.told(found + kept_apart(notes, check))
    outcome.refused_targets = [note.message for note in graph.refused]
    progress("")
    return outcome


def _as_set(name: str, models: Sequence[ModelSettings]) -> Sequence[ModelSettings | str]:
    """The tables of the settings that a name stands for, by `name` or by what they build; else the name itself."""
    return [model for model in models if name in (model.name, model.build)] or [name]


def kept_apart(notes: Iterable[Finding], check: Check) -> list[Finding]:
    """Notes on models that have no file all stand at the same place, and each is told."""
    return [kept for note in notes for kept in check.keep([note])]


def run_script(script: str, arguments: list[str], module: bool, resolver: Resolver, progress: Progress) -> Outcome:
    """`freezelint run train.py`: the source's findings in the script, settled by its first steps."""
    from freezelint.engine import Check, Outcome
    from freezelint.run_stage import run_script as run

    path = _module_file(script) if module else script
    check = Check([path] if path else [], resolver) if path else Check.of_nothing(resolver)
    outcome = Outcome([], check.files, check.sources)
    found = check.source_findings()
    result = run(script, arguments, module, resolver.settings, progress)
    outcome.findings = check.told(_after_run(found, result, outcome, check, frozenset(book.codes())))
    progress("")
    return outcome


def _module_file(name: str) -> str:
    """The file of a module below the working folder, or an empty string."""
    path = name.replace(".", os.sep)
    return next((file for file in (f"{path}.py", os.path.join(path, "__main__.py")) if os.path.isfile(file)), "")


def graph_findings(reports: Iterable[ModelReport], check: Check) -> list[Finding]:
    """What the rules say of every traced model."""
    checks = table(check.asked())
    found: list[Finding] = []
    for report in reports:
        try:
            found.extend(in_graph(one, report) for one in (*ask(checks, report.map, report), *ask(checks, report)))
        except Exception as error:
            if os.environ.get("FREEZELINT_DEBUG"):
                raise
            found.append(_note("FRZ003", f"`{report.name}`: a rule failed on its map: {type(error).__name__}: {error}"))
    return found


def in_graph(finding: Finding, report: ModelReport) -> Finding:
    """A finding of a traced model, with what the trace counted."""
    known = _lost_at(finding, report) or about(finding, [row.name for row in report.parameters])
    starved = [row for row in report.starved() if row.name in known]
    names = [row.name for row in starved]
    numbers: dict[str, float] = {"starved_parameters": len(names)} if names else {}
    detail = f"the trace of `{report.name}` shows it"
    if names and finding.claim is not None and finding.claim.kind is ClaimKind.STARVED:
        what = "only zeros reach" if all(row.zero for row in starved) else "no gradient reaches"
        detail = f"{what} {listed(names)} in the trace of `{report.name}`"
    change = report.change_at(finding.location) if finding.code == "FRZ401" else None
    if finding.code == "FRZ401" and change is None and report.present.backward_flops:
        finding = replace(finding, severity=Severity.HINT)  # it costs next to nothing
    if change is not None:
        detail = f"without it, the backward pass of `{report.name}` does {change.less(report.present)}"
        numbers = {"saved_flops": change.saved_flops, "share": change.saved_flops / report.present.backward_flops}
    return _with(finding, Evidence("graph", Verdict.CONFIRMED, detail, report.device, numbers))


def _lost_at(finding: Finding, report: ModelReport) -> set[str]:
    """What the cut that a finding tells of starves, which other findings at that cut may tell parts of."""
    places = [finding.location, *(item.location for item in finding.related)]
    cuts = [(locate(cut.place), nodes) for cut, nodes in report.cuts() if cut.place is not None]
    return {node.name for at, nodes in cuts if any(at.touches(place) for place in places) for node in nodes}


def in_run(finding: Finding, facts: Facts) -> Finding:
    """A finding of the map that a run walked, with what the run counted."""
    known = about(finding, [one.name for one in facts.parameters])
    held = [one for one in facts.parameters if one.trainable and one.optimizers and one.name in known]
    names = [one.name for one in held if not one.steps_with_gradient]
    numbers: dict[str, float] = {"steps": facts.steps, **({"starved_parameters": len(names)} if names else {})}
    detail = f"{_steps(facts.steps)} showed it"
    if names and finding.claim is not None and finding.claim.kind is ClaimKind.STARVED:
        detail = f"{listed(names)} had no gradient in {_steps(facts.steps)}"
    return _with(finding, Evidence("run", Verdict.CONFIRMED, detail, facts.device, numbers))


def _with(finding: Finding, evidence: Evidence) -> Finding:
    return finding if finding.evidence else finding.with_evidence(evidence)


def listed(names: list[str]) -> str:
    """`a`, `b` and 3 more parameters."""
    shown = ", ".join(f"`{name}`" for name in names[:2])
    return f"{shown} and {len(names) - 2} more parameters" if len(names) > 2 else shown


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


def merge(found: Iterable[Finding], seen: Iterable[Finding]) -> list[Finding]:
    """`found` with the findings of a later witness: the same mistake is confirmed, a new one is added."""
    merged = list(found)
    for finding in seen:
        told = [n for n, known in enumerate(merged) if same(known, finding)]
        here = [n for n in told if merged[n].location.touches(finding.location)]
        index = next(iter(here or told), None)
        if index is None:
            merged.append(finding)
        else:
            known = merged[index]
            fresh = tuple(
                item for item in finding.evidence if item.witness not in {old.witness for old in known.evidence}
            )
            merged[index] = replace(known, evidence=known.evidence + fresh)
    return merged


def same(known: Finding, other: Finding) -> bool:
    """Whether two witnesses tell one mistake: the same rule on a shared line, or one cut from its two ends."""
    if {known.code, other.code} <= STARVATION:
        return _near(known, other) or _near(other, known)
    if known.code == other.code == "FRZ313":  # told where its result is dropped, or where it is built
        return _near(known, other) or _near(other, known)
    return known.code == other.code and known.location.touches(other.location)


def _near(one: Finding, other: Finding) -> bool:
    places = (one.location, *(item.location for item in one.related))
    return any(place.touches(other.location) for place in places)


def _draw(reports: Iterable[ModelReport], outcome: Outcome, *, asked: bool = False) -> None:
    """A table of each model, and the model for formats that draw it; of two alike both, if they were `asked` for."""
    from freezelint.output.cost_table import render

    told: dict[str, ModelReport] = {}  # by the table without its name: a builder and its class give the same model
    for report in reports:
        text = render(report)
        told.setdefault(text if asked else text.removeprefix(report.name), report)
    outcome.pictures = list(told.values())
    outcome.tables = list(told) if asked else [report.name + text for text, report in told.items()]


def _note(code: str, text: str, severity: Severity = Severity.HINT) -> Finding:
    return Finding(code, text, Location(".", 1), severity)


def _after_run(
    found: list[Finding], result: RunResult, outcome: Outcome, check: Check, refutable: frozenset[str]
) -> list[Finding]:
    """`found` settled by the facts of a run, refuted ones left out unless they are asked for."""
    checks = table(check.asked())
    outcome.runs += len(result.facts)
    open_before = {id(finding) for finding in found}
    for facts in result.facts:
        seen = check.keep([*ask(checks, facts), *(in_run(one, facts) for one in ask(checks, facts.map, facts))])
        found = merge(_paired(found, seen, facts, check.in_cells), seen)
    if result.facts:
        found = [
            settled(one, result.facts, refutable, check.in_cells) if id(one) in open_before else one for one in found
        ]
    outcome.refuted = sum(finding.refuted for finding in found)
    if not check.settings.show_refuted:
        found = [finding for finding in found if not finding.refuted]
    return found + check.keep(result.notes)


def _paired(
    found: list[Finding], seen: list[Finding], facts: Facts, in_cells: Callable[[Location], Location]
) -> list[Finding]:
    """Confirm a finding whose rule the run raised once, but at the line where the harm showed: in the same file, or
    in another one where the run saw nothing of the finding's own line."""
    paired = list(found)

    def alike(known: Finding, later: Finding) -> bool:
        far = known.code == later.code and not facts.saw(_full(in_cells(known.location)))
        return _same_file(known, later) or far

    for later in [item for item in seen if not any(same(known, item) for known in found)]:
        known_alike = [n for n, known in enumerate(paired) if alike(known, later) and _unseen(known)]
        if len(known_alike) == 1 and sum(alike(paired[known_alike[0]], other) for other in seen) == 1:
            known = paired[known_alike[0]]
            paired[known_alike[0]] = replace(known, evidence=known.evidence + later.evidence)
            seen.remove(later)
    return paired


def _same_file(one: Finding, other: Finding) -> bool:
    return one.code == other.code and one.location.path == other.location.path


def _unseen(finding: Finding) -> bool:
    return not any(item.witness == "run" for item in finding.evidence)


def _as_is(location: Location) -> Location:
    return location


def settled(
    finding: Finding,
    runs: Sequence[Facts],
    refutable: frozenset[str],
    in_cells: Callable[[Location], Location] = _as_is,
) -> Finding:
    """A finding that no run made: refuted where its line ran without the harm, else unsettled with the reason."""
    if finding.claim is None or not _unseen(finding) or "run" not in book.witnesses(finding.code):
        return finding
    confirmed = any(item.verdict is Verdict.CONFIRMED for item in finding.evidence)
    if confirmed and finding.claim.kind is not ClaimKind.STARVED:
        return finding
    trained = [facts for facts in runs if facts.steps]
    watched = [facts for facts in trained if facts.saw(_full(in_cells(finding.location)))]
    if not trained:
        reason = "no optimizer step was made"
    elif not watched:
        reason = f"line {finding.location.line} did not run"
    elif finding.code in DEVICE_BOUND and all(facts.device == "cpu" for facts in watched):
        reason = "it shows on a CUDA device only"
    elif confirmed:
        reason = "the run did not see it"
    elif finding.code not in refutable:
        reason = "only a run of the training itself shows it: `freezelint run SCRIPT`"
    else:
        backed = next((item for facts in watched if (item := borne_out(finding, facts))), None)
        if backed is not None:
            return finding.with_evidence(backed)
        steps = sum(facts.steps for facts in watched)
        detail = f"the line ran, and {_steps(steps)} showed nothing of it"
        return finding.with_evidence(Evidence("run", Verdict.REFUTED, detail, watched[0].device, {"steps": steps}))
    return finding.with_evidence(Evidence("run", Verdict.UNSETTLED, reason, runs[0].device))


def _full(location: Location) -> Location:
    return replace(location, path=os.path.abspath(location.path))
