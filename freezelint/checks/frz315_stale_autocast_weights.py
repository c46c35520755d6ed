"""FRZ315: the casts that autocast caches outlive the weights, or the grad mode, they were made from."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.records import record
from freezelint.rule import Rule
from freezelint.source import cst
from freezelint.source.story import Autocast, Backward, Called, Event, ModuleCall, Spot, Step, Story
from freezelint.source.values import Instance, parameters_of, submodules

RULE = Rule(
    code="FRZ315",
    name="stale-autocast-weights",
    message="this `autocast` region spans `{step}`: the next forward uses the cached casts of the old weights",
    fix="do not cache: `cache_enabled=False`",
    safety=Safety.UNSAFE,
    severity=Severity.WARNING,
    claim=ClaimKind.STARVED,
)
WITHOUT_GRAPH = (
    "`{step}` runs under no_grad first in this `autocast` region: where torch reuses the casts cached there "
    "(it depends on the version), the training pass gives its weights no gradient"
)
CAST = re.compile(r"Linear|Conv|LSTM|GRU|RNN|Attention|Transformer|Bilinear")


@record(frozen=True)
class Region:
    """An outermost autocast region: its `with` item and what happens inside."""

    spot: Spot
    events: list[Event]


@RULE.on(Story)
def region_over_steps(story: Story) -> Iterator[Finding]:
    for region in _regions(story):
        step = _stepped_inside(region)
        if step is not None:
            yield _report(region, step.spot, "the step the casts outlive")


@RULE.on(Story)
def no_grad_pass_first(story: Story) -> Iterator[Finding]:
    for region in _regions(story):
        first = _without_graph_first(region, story)
        if first is not None and _stepped_inside(region) is None:
            yield _report(region, first.spot, "the pass under no_grad", WITHOUT_GRAPH)


def _report(region: Region, other: Spot, note: str, message: str = "") -> Finding:
    text = " ".join(other.text.split())
    return RULE.report(
        region.spot,
        edits=_uncached(region.spot),
        related=((other, note),),
        subject=region.spot.text,
        message=message,
        step=text,
    )


def _regions(story: Story) -> Iterator[Region]:
    """The outermost regions that cache, each time they are entered."""
    depth, start = 0, 0
    for event in story.of(Autocast):
        depth += 1 if event.enter else -1
        if event.enter and depth == 1:
            start = event.seq
        elif not event.enter and depth == 0 and event.cache and event.block.flag is not False:
            inside = story.events[start + 1 : event.seq]
            if not any(isinstance(e, Autocast) for e in inside):
                yield Region(event.spot, inside)


def _stepped_inside(region: Region) -> Step | None:
    """A step between two forward passes of what it steps, with nothing that clears the cache."""
    for step in (event for event in region.events if isinstance(event, Step)):
        before = [e for e in region.events if e.seq < step.seq and _uses(e, step)]
        after = next((e for e in region.events if e.seq > step.seq and _uses(e, step)), None)
        if before and after is not None and not _cleared(region, step, after):
            return step
    return None


def _uses(event: Event, step: Step) -> bool:
    if isinstance(event, ModuleCall):
        held = {id(param) for param in parameters_of(event.module)}
        return any(id(param) in held for param in step.params)
    return not step.params and isinstance(event, Backward)


def _cleared(region: Region, start: Event, end: Event) -> bool:
    between = (e for e in region.events if start.seq < e.seq < end.seq and isinstance(e, Called))
    return any(event.name.endswith("clear_autocast_cache") for event in between)


def _without_graph_first(region: Region, story: Story) -> ModuleCall | None:
    """The first pass of a trainable layer that runs under no_grad and again with gradients, in one region."""
    seen: dict[int, ModuleCall] = {}
    for event in region.events:
        if not isinstance(event, ModuleCall) or not _is_cast(event.module):
            continue
        first = seen.setdefault(id(event.module), event)
        graph = event.context.mode.flag is True and first.context.mode.flag is False
        if not graph or event.context.excludes(first.context) or _cleared(region, first, event):
            continue
        if _trains(event.module, event, story):
            return first
    return None


def _is_cast(module: Instance) -> bool:
    return bool(CAST.search(module.external.split(".")[-1])) or (module.opaque and module.cls is None)


def _trains(module: Instance, event: Event, story: Story) -> bool:
    params = [param for part in submodules(module) for param in part.params.values()]
    return any(story.flag_at(param, event) is not False for param in params)


def _uncached(spot: Spot) -> tuple[tuple[Spot, str], ...]:
    node = spot.node
    if not isinstance(node, cst.Call):
        return ()
    head, tail = spot.text[:-1].rstrip(), spot.text[-1]
    comma = "" if not node.args else (" " if head.endswith(",") else ", ")
    return ((spot, f"{head}{comma}cache_enabled=False{tail}"),)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("stale_autocast"):
        message = "this `autocast` region spans several steps: later forwards use cached casts of the old weights"
        yield fact.report(RULE, message, "two steps were made inside it")
