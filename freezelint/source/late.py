"""Parameters that came, or began to train, after the optimizers were built."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from freezelint.source.left_out import held
from freezelint.source.story import (
    AttributeSet,
    Backward,
    Built,
    Event,
    GradFlag,
    OptimizerBuilt,
    Replaced,
    Spot,
    Step,
    Story,
)
from freezelint.source.values import Dict, Param, ParamIter, Seq, Value, modules_in, options, parameters_of


def added_after(story: Story, params: Iterable[Param], built: OptimizerBuilt) -> Event | None:
    """The event after the optimizer was built that put these parameters into the model."""
    wanted = {id(param) for param in params}
    found: list[Event] = []
    for event in story.events[built.seq :]:
        value = _put(event)
        if value is not None and any(id(param) in wanted for param in _inside(value)):
            found.append(event)
    placed = [event for event in found if not isinstance(event, Built)]
    return next(iter([*placed, *found]), None)


def _put(event: Event) -> Value | None:
    if isinstance(event, Replaced):
        return event.new
    if isinstance(event, AttributeSet):
        return event.value
    return event.module if isinstance(event, Built) else None


def _inside(value: Value) -> list[Param]:
    loose = [option for option in options(value) if isinstance(option, Param)]
    return [*loose, *(param for module in modules_in(value) for param in parameters_of(module))]


def unfrozen_after(story: Story) -> Iterator[tuple[GradFlag, OptimizerBuilt, list[Param]]]:
    """Parameters that were frozen when the optimizers took theirs, set to train later, and stepped by none."""
    built = story.of(OptimizerBuilt)
    if not built or story.incomplete or not all(one.known for one in story.optimizers):
        return
    steps = story.of(Step)
    for event in story.of(GradFlag):
        before = [one for one in built if one.seq < event.seq and not event.context.excludes(one.context)]
        if event.flag is not True or not before or not any(step.seq > event.seq for step in steps):
            continue
        late = [p for p in event.params if story.flag_at(p, before[0]) is False and not held(story, p)]
        late = [p for p in late if _trained_after(story, p, event)]
        if late:
            yield event, before[0], late


def _trained_after(story: Story, param: Param, event: Event) -> bool:
    later = [b for b in story.of(Backward) if b.seq > event.seq and b.node is not None]
    return any(param.node in story.map.surely_reached([b.node]) for b in later if b.node is not None)


def seen_from(story: Story, event: Event, built: OptimizerBuilt) -> Spot:
    """The place of a change as the function that built the optimizer sees it: the call that leads to it."""
    calls, start = event.context.calls, len(built.context.calls)
    if calls[:start] != built.context.calls or any(call.name == "forward" for call in calls):
        return event.spot
    for depth in range(start, min(len(calls), len(event.context.sites))):
        training = (e for e in story.events if isinstance(e, (Step, Backward)))
        if not any(e.context.calls[: depth + 1] == calls[: depth + 1] for e in training):
            return event.context.sites[depth]
    return event.spot


def forgotten_group(story: Story, params: Iterable[Param]) -> Dict | None:
    """A dict with these parameters that reached no optimizer."""
    wanted = {id(param) for param in params}
    for group in story.groups:
        held_ = _parameters(group.items.get("params"))
        if held_ and all(id(param) in wanted for param in held_) and group.spot is not None:
            return group
    return None


def _parameters(value: Value | None) -> list[Param]:
    if isinstance(value, Param):
        return [value]
    if isinstance(value, (Seq, ParamIter)):
        return [param for item in value.items for param in _parameters(item)]
    return []
