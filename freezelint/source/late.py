"""Parameters that came, or began to train, after the optimizers were built."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from freezelint.source.left_out import FIXED, LeftOut, held
from freezelint.source.starved import moved_by_hand
from freezelint.source.story import (
    AttributeSet,
    Backward,
    Built,
    Called,
    Event,
    GradFlag,
    Loaded,
    OptimizerBuilt,
    Replaced,
    Spot,
    Step,
    Story,
)
from freezelint.source.values import Dict, Instance, Param, ParamIter, Seq, Value, modules_in, options, parameters_of


def ordered(story: Story, first: Event, second: Event) -> bool:
    """Whether the order of two events is that of a run: methods of a class that nothing calls are read in any order."""
    if story.entry not in story.file.classes or "training_step" in story.file.classes[story.entry].methods:
        return True
    one, other = first.context.calls[:1], second.context.calls[:1]
    return one == other or not one or one[0].name == "__init__"


def added_after(story: Story, params: Iterable[Param], built: OptimizerBuilt) -> Event | None:
    """The event after the optimizer was built that put these parameters into the model."""
    wanted = {id(param) for param in params}
    found: list[Event] = []
    for event in story.events[built.seq :]:
        value = _put(event)
        if value is None or not ordered(story, built, event):
            continue
        if any(id(param) in wanted for param in _inside(value)):
            found.append(event)
    placed = [event for event in found if not isinstance(event, Built)]
    return min(placed or found, key=lambda event: len(event.context.calls), default=None)


def came_late(story: Story, group: LeftOut) -> bool:
    """Whether they were put into the model after the optimizers had taken theirs."""
    return any(added_after(story, group.params, built) is not None for built in story.of(OptimizerBuilt)[-1:])


def missing(story: Story, group: LeftOut) -> bool:
    """Whether parameters that no optimizer holds were forgotten: not targets, not loaded and left alone on purpose."""
    if (
        FIXED.search(group.names)
        or (group.target and _fixed_target(story, group))
        or any(_perhaps_computed(story, param) for param in group.params)
    ):
        return False
    if any(_handed_to_builder(story, param) for param in group.params):
        return False
    if group.modules and all(module.modes and module.modes[-1][1] is False for module in group.modules):
        return False
    if group.inside and not group.upstream and _probes(story, group):
        return False
    loaded = any(param.owner and param.owner.pretrained for param in group.params)
    return not loaded or (group.inside and group.upstream and _loaded_in_part(story, group))


def _fixed_target(story: Story, group: LeftOut) -> bool:
    """Whether a network that is only compared with what trains is made to stay: copied, averaged or written by hand."""
    moved = moved_by_hand(story)
    if any(id(param) in moved for param in group.params):
        return True
    return any(module.spot is None or "copy" in module.spot.text for module in group.modules) or not group.modules


def _perhaps_computed(story: Story, param: Param) -> bool:
    """Whether a parameter stands where, on another path, a computed tensor stands."""
    for event in story.of(AttributeSet):
        held_ = options(event.value)
        if len(held_) > 1 and any(option is param for option in held_):
            return not all(isinstance(option, Param) for option in held_)
    return False


BUILDER = re.compile(r"optim|param_?group|initialize|prepare|configure|solver|engine|trainer", re.IGNORECASE)


def _handed_to_builder(story: Story, param: Param) -> bool:
    """Whether code that cannot be read was given the module by a name that says it may build an optimizer."""
    for event in story.of(Called):
        if event.name.startswith("torch.") or not BUILDER.search(event.spot.text.split("(")[0]):
            continue
        given = [module for value in (*event.args, *event.kwargs.values()) for module in modules_in(value)]
        if any(param is known for module in given for known in parameters_of(module)):
            return True
    return False


HEAD = re.compile(r"head|classif|^fc\d*$|probe|linear|logit|^out|output|predict|final|last|^cls", re.IGNORECASE)


def _probes(story: Story, group: LeftOut) -> bool:
    """Whether only a head is optimised, on top of everything else: a way to train, told as waste elsewhere."""
    named = [name for one in story.optimizers for module in one.of for name in (module.name,)]
    named += [owner.name for one in story.optimizers for param in one.params if (owner := param.owner) is not None]
    return bool(named) and all(HEAD.search(name) for name in named)


def _loaded_in_part(story: Story, group: LeftOut) -> bool:
    """Whether the only weights came from a state dict that need not hold these (`strict=False` on the whole model)."""
    around = [e for e in story.of(Loaded) if isinstance(e.target, Instance) and _holds(e.target, group)]
    if any(event.target is module for event in around for module in group.modules):
        return False
    return bool(around) and all("strict=False" in event.spot.text for event in around)


def _holds(module: Value, group: LeftOut) -> bool:
    own = parameters_of(module) if isinstance(module, Instance) else []
    return any(param is known for param in group.params for known in own)


def _put(event: Event) -> Value | None:
    if isinstance(event, Replaced):
        return event.new
    if isinstance(event, AttributeSet):
        return event.value
    return event.module if isinstance(event, Built) else None


def _inside(value: Value) -> list[Param]:
    loose = [value] if isinstance(value, Param) else []
    return [*loose, *(param for module in modules_in(value) for param in parameters_of(module))]


def unfrozen_after(story: Story) -> Iterator[tuple[GradFlag, OptimizerBuilt, list[Param]]]:
    """Parameters that were frozen when the optimizers took theirs, set to train later, and stepped by none."""
    built = story.of(OptimizerBuilt)
    if not built or story.incomplete or not all(one.known for one in story.optimizers):
        return
    steps = story.of(Step)
    for event in story.of(GradFlag):
        before = [one for one in built if one.seq < event.seq and not event.context.excludes(one.context)]
        before = [one for one in before if ordered(story, one, event)]
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
