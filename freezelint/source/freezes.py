"""The freezes of a story: which parameters were frozen together, by which line, and what had happened by then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from weakref import WeakKeyDictionary

from freezelint.records import field, record
from freezelint.source import cst
from freezelint.source.story import (
    AttributeSet,
    Backward,
    Called,
    Event,
    GradFlag,
    Loaded,
    ModuleCall,
    OptimizerBuilt,
    Spot,
    Step,
    Story,
    Written,
)
from freezelint.source.values import Instance, Param, options, parameters_of, submodules
from freezelint.textfile import python_lines

GIVES = ("copy_", "item", "set_", "lerp_")


@record
class Setting:
    """One line that sets the flag of some parameters: a loop over them is one setting."""

    flag: bool | None
    events: list[GradFlag] = field(default_factory=list)
    params: dict[int, Param] = field(default_factory=dict)

    @property
    def first(self) -> GradFlag:
        return self.events[0]

    @property
    def last(self) -> GradFlag:
        return self.events[-1]

    def sure_of(self, other: Setting) -> bool:
        """Whether this one happens under no condition that `other` does not share."""
        return other.first.context.implies(self.first.context)


_SETTINGS: WeakKeyDictionary[Story, list[Setting]] = WeakKeyDictionary()
_HOLDERS: WeakKeyDictionary[Story, dict[int, list[Instance]]] = WeakKeyDictionary()


def holders(story: Story) -> dict[int, list[Instance]]:
    """The modules that hold each parameter, by its identity, in the order they were made. Found once a story."""
    if story not in _HOLDERS:
        found = _HOLDERS[story] = {}
        for module in story.modules:
            for param in parameters_of(module):
                found.setdefault(id(param), []).append(module)
    return _HOLDERS[story]


def settings(story: Story) -> list[Setting]:
    """Every line that set a flag, in order; a loop over parameters is one. Found once a story."""
    if story not in _SETTINGS:
        _SETTINGS[story] = _settings(story)
    return _SETTINGS[story]


def _settings(story: Story) -> list[Setting]:
    found: list[Setting] = []
    key: object = None
    for event in story.of(GradFlag):
        loops = tuple(loop for loop, _ in event.context.loops[:1])
        new = (event.spot, event.flag, loops, event.context.calls)
        if new != key or (not loops and len(event.params) > 1) or trained_between(story, found[-1].last, event):
            found.append(Setting(event.flag))
        key = new
        found[-1].events.append(event)
        found[-1].params.update({id(param): param for param in event.params})
    return found


def together(story: Story, first: Event, second: Event) -> bool:
    """Whether two events follow each other in a run, not only in the order the methods of a class are read."""
    if story.entry not in story.file.classes:
        return True
    mine, other = first.context.calls[:1], second.context.calls[:1]
    return mine == other or bool(mine and mine[0].name == "__init__")


def between(story: Story, first: Event, second: Event, *kinds: type[Event]) -> Iterator[Event]:
    return (event for event in story.events[first.seq + 1 : second.seq] if isinstance(event, kinds))


def trained_between(story: Story, first: Event, second: Event) -> bool:
    return any(between(story, first, second, Backward, Step))


def used_between(story: Story, first: Event, second: Event) -> bool:
    return any(between(story, first, second, Backward, Step, ModuleCall))


def trains_after(story: Story, event: Event, param: Param) -> bool:
    """Whether the parameter requires grad when training begins after an event."""
    later = [one for one in story.events[event.seq :] if isinstance(one, (Backward, Step, OptimizerBuilt))]
    return bool(later) and story.flag_at(param, later[-1]) is not False and story.flag_at(param) is not False


def given(story: Story, module: Instance, event: Event) -> bool:
    """Whether weights were given to a module before an event: loaded, copied or written by hand."""
    own = {id(param) for param in module.params.values()}
    wrote = (one for one in story.of(Written) if one.seq < event.seq and id(one.param) in own)
    data = (
        one for one in story.of(AttributeSet) if one.seq < event.seq and one.name == "data" and id(one.target) in own
    )
    return module.pretrained or any(one.how in GIVES for one in wrote) or any(data)


def loaded_after(story: Story, module: Instance, event: Event) -> bool:
    """Whether weights are loaded into a module, or something that holds it, after an event."""
    later = (one for one in story.of(Loaded) if one.seq > event.seq)
    return any(
        isinstance(part, Instance) and module in submodules(part) for one in later for part in options(one.target)
    )


def outermost(story: Story, event: Event) -> Event:
    """The `apply(...)` that led to an event, or the event itself."""
    depth = len(event.context.calls)
    before = (one for one in reversed(story.events[: event.seq]) if isinstance(one, Called) and one.name == "apply")
    return next((one for one in before if len(one.context.calls) < depth), event)


def site(event: Event) -> Spot:
    """Where the helper that holds an event was called; the event itself at the top level."""
    return event.context.sites[-1] if event.context.sites else event.spot


_LITERAL = re.compile(r"requires_grad\w*(\s*=\s*False\b|\(\s*(requires_grad\s*=\s*)?False)")


def asked_at(event: Event) -> Spot:
    """Where a flag is asked for: a line that sets what it was given is told at the call of its function."""
    spot = event.spot
    line = python_lines(spot.file.text)[spot.locate().line - 1]
    return site(event) if event.context.sites and not _LITERAL.search(line) else spot


def line_of(event: Event, node: cst.CSTNode) -> int:
    return Spot(event.spot.file, node).locate().line
