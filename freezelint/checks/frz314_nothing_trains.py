"""FRZ314: everything is frozen, or the optimizer is empty, and the code trains all the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.gradient_map import Kind
from freezelint.model_report import ModelReport
from freezelint.rule import Rule
from freezelint.source import cst, freezes
from freezelint.source.story import (
    Backward,
    Called,
    Consumed,
    Event,
    GradFlag,
    OptimizerBuilt,
    Spot,
    Step,
    Story,
    TensorFlag,
)
from freezelint.source.syntax import tests_over
from freezelint.source.values import Dict, Param, ParamIter, Seq, Value

RULE = Rule(
    code="FRZ314",
    name="nothing-trains",
    message="everything that `{loss}` depends on is frozen here: no parameter gets a gradient, nothing trains",
    claim=ClaimKind.STARVED,
)
EMPTY = "`{optimizer}` gets no parameters: everything that could pass its filter is frozen"


@RULE.on(Backward)
def all_frozen(event: Backward, story: Story) -> Iterator[Finding]:
    if event.node is None or event.via == "autograd.grad" or story.incomplete:
        return
    if guarded(event) and not steps_all_the_same(event, story):
        return
    if any(True for built in story.of(OptimizerBuilt) for _ in empty_optimizer(built, story)):
        return
    params = _frozen_behind(event, story)
    if not params or not any(step.seq > event.seq for step in story.of(Step)):
        return
    closed = [e for e in story.of(GradFlag) if e.seq < event.seq and e.flag is False and _share(e.params, params)]
    place = frozen_at(closed[-1], event) if closed else event.spot
    loss = event.loss_spot.text if event.loss_spot else _loss(event)
    yield RULE.report(place, related=((event.spot, "backward starts here"),), subject=loss, loss=loss)


@RULE.on(OptimizerBuilt)
def empty_optimizer(event: OptimizerBuilt, story: Story) -> Iterator[Finding]:
    one = event.optimizer
    if one.params or one.tensors or not one.known or story.incomplete:
        return
    if not one.groups or not all(_filtered_empty(group) for group in one.groups):
        return
    if (
        _takes_unknowns(story)
        or _opened(story, event)
        or any(one.before for one in story.of(Consumed) if one.seq < event.seq)
    ):
        return
    if any(e.flag is False for e in story.of(GradFlag) if e.seq < event.seq):
        name = event.spot.text.split("(")[0]
        yield RULE.report(event.spot, subject=one.name, message=EMPTY, optimizer=name, loss="")


def _opened(story: Story, by: Event) -> bool:
    """Whether something unknown is set to train: it may be a part of what was frozen."""
    flags = (one for one in story.of(TensorFlag) if one.seq < by.seq)
    return any(type(one.target) is Value and one.flag is not False for one in flags)


def _takes_unknowns(story: Story) -> bool:
    """Whether a class is read on its own and keeps what it is given: a network may be among it."""
    if story.entry not in story.file.classes:
        return False
    return any(type(value) is Value for one in story.modules if one.cls for value in one.attrs.values())


def _frozen_behind(event: Backward, story: Story) -> list[Param]:
    """The parameters behind a loss, if all of them are surely frozen and nothing else could need a gradient."""
    assert event.node is not None
    behind = story.map.behind([event.node])
    if behind != story.map.surely_reached([event.node]):
        return []
    nodes = [story.map.nodes[i] for i in behind]
    if any(node.kind is Kind.UNKNOWN or (node.kind is Kind.INPUT and node.trainable) for node in nodes):
        return []
    params = [story.of_node[node.id] for node in nodes if node.id in story.of_node]
    if any(story.flag_at(p, event) is not False or (p.owner and p.owner.escaped) for p in params):
        return []
    return [] if _opened(story, event) or any("require" in e.name for e in story.of(Called)) else params


def guarded(event: Event) -> bool:
    return any("requires_grad" in event.spot.file.code(test) for _, test in tests_over(event.spot))


def steps_all_the_same(event: Backward, story: Story) -> bool:
    """Whether `if loss.requires_grad:` only hides the error: the optimizer holds what is frozen, and steps anyway."""
    steps = [one for one in story.of(Step) if one.seq > event.seq and one.context.loops == event.context.loops]
    steps = [one for one in steps if one.params and not guarded(one)]
    if not steps or not all(story.flag_at(param, one) is False for one in steps for param in one.params):
        return False
    stepped = steps[0].params
    if any(one.flag is not False and _share(one.params, stepped) for one in story.of(GradFlag) if one.seq > event.seq):
        return False
    return all(one.node is not None and _frozen_behind(one, story) for one in story.of(Backward))


def frozen_at(freeze: GradFlag, event: Backward) -> Spot:
    """The place of a freeze; where a helper of another file does it, the call that the training code makes."""
    calls, beside = freeze.context.calls, event.context.calls
    depth = next(
        (i for i, (one, other) in enumerate(zip(calls, beside, strict=False)) if one is not other), len(beside)
    )
    sites = freeze.context.sites[depth:]
    away = depth < len(calls) and bool(sites) and calls[depth].file is not sites[0].file
    return sites[0] if away and freeze.spot.file is not sites[0].file else freezes.asked_at(freeze)


def _share(one: list[Param], other: list[Param]) -> bool:
    return any(param is known for param in one for known in other)


def _loss(event: Backward) -> str:
    node = event.spot.node
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and not node.args:
        return " ".join(event.spot.file.code(node.func.value).split())
    return "the loss"


def _filtered_empty(value: Value | None) -> bool:
    """A filter by `requires_grad` that let nothing through."""
    if isinstance(value, Dict):
        return _filtered_empty(value.items.get("params"))
    if isinstance(value, Seq) and value.items:
        return all(_filtered_empty(item) for item in value.items)
    if not isinstance(value, (Seq, ParamIter)) or value.items or value.spot is None:
        return False
    return not getattr(value, "open", False) and bool(re.search(r"\bfor\b|filter\(", value.spot.text))


@RULE.on(Facts, ModelReport)
def seen_in_step(facts: Facts | ModelReport) -> Iterator[Finding]:
    for fact in facts.of("nothing_trains"):
        message = "`{subject}` steps without a single gradient: nothing trains"
        yield fact.report(RULE, message, "{steps} steps, none with a gradient")
