"""What a history of flags or modes comes to at one moment, in one of the worlds that branches make."""

from __future__ import annotations

import re
from collections.abc import Sequence

from freezelint.records import replace
from freezelint.source.story import Context, Entry, Event, Story, TrainMode
from freezelint.source.values import Instance, Param


def world(event: Event, entry: Entry) -> Context | None:
    """The context of an event where an earlier entry has happened too; None where the two exclude each other."""
    if event.context.excludes(entry[2]):
        return None
    return replace(event.context, arms=tuple(dict.fromkeys((*event.context.arms, *entry[2].arms))))


def last(history: Sequence[Entry], before: int, context: Context) -> tuple[Entry | None, bool]:
    """(the latest entry that surely happened, whether a later one may have changed it)."""
    latest, open_ = None, False
    for entry in history:
        if entry[0] >= before or context.excludes(entry[2]):
            continue
        if context.implies(entry[2]):
            latest, open_ = entry, False
        elif latest is None or entry[1] is not latest[1]:
            open_ = True
    return latest, open_


def freezes(param: Param, event: Event) -> list[tuple[Entry, Context]]:
    """The freezes of a parameter in force at an event, each with the world it is in force in."""
    found = []
    for entry in param.flags:
        context = world(event, entry) if entry[1] is False and entry[0] < event.seq else None
        if context is None or (param.many and not event.context.implies(entry[2])):
            continue
        latest, open_ = last(param.flags, event.seq, context)
        if latest is entry and not (open_ and param.many) and not _toggled(param, entry, event):
            found.append((entry, context))
    return found


def frozen_in(param: Param, event: Event, context: Context) -> bool:
    """Whether a parameter was surely frozen before an event of that world, and not surely opened again."""
    latest, _ = last(param.flags, event.seq, context)
    return latest[1] is False if latest else not param.born


def _toggled(param: Param, entry: Entry, event: Event) -> bool:
    """Whether the flag goes on and off inside the loop that holds the event."""
    shared = {loop for loop, _ in entry[2].loops} & {loop for loop, _ in event.context.loops}
    return bool(shared) and any(flag is not False for _, flag, _, _ in param.flags)


def training_mode(story: Story, module: Instance, event: Event, context: Context) -> tuple[bool | None, Entry | None]:
    """(train or eval mode of a module at an event, None where it cannot be told; the switch that did it)."""
    latest, open_ = last(module.modes, event.seq, context)
    if latest is None:
        return (None if open_ else True), None
    switch = story.events[latest[0]]
    if isinstance(switch, TrainMode) and switch.via == "engine":  # some versions leave an eval() of the author alone
        quiet = any(entry[1] is not True for entry in module.modes if entry[0] < latest[0])
        return (None if open_ or quiet else True), None
    if open_ and latest[1] is False and (back := _left_in_train(story, module, event, context)) is not None:
        return True, back
    by_trainer = isinstance(switch, TrainMode) and switch.via == "trainer"  # before every step, whoever did what
    return (None if open_ else latest[1]), None if by_trainer else latest


_ONCE = re.compile(r"last|final|total|max|num_", re.IGNORECASE)


def _left_in_train(story: Story, module: Instance, event: Event, context: Context) -> Entry | None:
    """The `train()` that ends an evaluation on some earlier passes of a loop round an event, if nothing undoes it."""
    for before, entry in zip(module.modes[-2::-1], module.modes[:0:-1], strict=True):
        if entry[0] >= event.seq or context.excludes(entry[2]):
            continue
        passes = dict(event.context.loops)
        earlier = any(number < passes.get(loop, number) for loop, number in entry[2].loops)
        paired = before[1] is False and before[2].arms == entry[2].arms and before[2].loops == entry[2].loops
        tests = [story.branches.get(branch) for branch, arm in entry[2].arms if (branch, arm) not in context.arms]
        often = all(test is not None and "%" in test.text and not _ONCE.search(test.text) for test in tests)
        return entry if entry[1] is True and earlier and paired and often else None
    return None
