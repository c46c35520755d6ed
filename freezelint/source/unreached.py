"""Modules and parameters that no loss depends on, and where a reviewer would point at them."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.gradient_map import Cause, Cut, Edge, Kind
from freezelint.records import record
from freezelint.source.never_read import assigned, known_unused, never_read, reads, trained_elsewhere
from freezelint.source.never_taken import never_taken
from freezelint.source.project import ClassInfo
from freezelint.source.starved import enclosing_with, stepped_after
from freezelint.source.story import AttributeSet, Backward, ModeChange, ModuleCall, Spot, Story
from freezelint.source.values import (
    NONE,
    Instance,
    Param,
    Value,
    direct_children,
    options,
    parameters_of,
    submodules,
)


@record(frozen=True, eq=False)
class Unreached:
    """A module (or one parameter) that is trained for nothing.

    `call`: where its unused result is made; `test`: what keeps the program from using it.
    """

    name: str
    place: Spot
    owner: Instance | None
    call: Spot | None = None
    test: Spot | None = None


def unreached(story: Story) -> Iterator[Unreached]:
    """What the optimizer of a story steps although no loss of the story depends on it."""
    backwards = story.of(Backward)
    if not backwards or story.incomplete or any(event.node is None for event in backwards):
        return
    behind = story.map.behind([event.node for event in backwards if event.node is not None])
    dead = {
        id(param): param
        for param in story.parameters
        if story.optimised(param) and story.flag_at(param, backwards[-1]) and param.node not in behind
    }
    stepped = {key for event in backwards for key in stepped_after(story, event)}
    for module in maximal(story, {key for key in dead if key in stepped}):
        row = _judged(story, module, backwards)
        if row is not None:
            yield row
    for module in story.modules:
        if not _all_in(module, set(dead)) and not module.escaped:
            yield from _forgotten(story, module, set(dead) & stepped)


def _forgotten(story: Story, module: Instance, dead: set[int]) -> Iterator[Unreached]:
    """A parameter of a module's own that nothing reads."""
    for name, param in module.params.items():
        if module.cls is None or not isinstance(param, Param) or id(param) not in dead or param.node is not None:
            continue
        row = registration(story, param)
        if row is not None and row[0] is module and never_read(module.cls, name):
            yield Unreached(name, row[2], module)


def maximal(story: Story, dead: set[int]) -> list[Instance]:
    """The largest modules whose parameters are all in `dead`, below one that has others too."""
    found: list[Instance] = []
    for module in story.modules:
        if _all_in(module, dead):
            continue
        for child in direct_children(module):
            if _all_in(child, dead) and not child.escaped and not any(child is known for known in found):
                found.append(child)
    return found


def _all_in(module: Instance, dead: set[int]) -> bool:
    params = parameters_of(module)
    return bool(params) and all(id(param) in dead for param in params)


def _judged(story: Story, module: Instance, backwards: list[Backward]) -> Unreached | None:
    row = registration(story, module)
    if row is None or any(part.hooks or part.escaped for part in submodules(module)):
        return None
    owner, name, place = row
    params = parameters_of(module)
    if all(param.node is None for param in params):
        if owner.cls and never_read(owner.cls, name):
            return Unreached(name, place, owner)
        test = never_taken(owner, name)
        return Unreached(name, place, owner, test=test) if test else None
    return _discarded(story, module, name, place, owner, backwards)


def _discarded(
    story: Story, module: Instance, name: str, place: Spot, owner: Instance, backwards: list[Backward]
) -> Unreached | None:
    """The module is called, and what comes out of it leads nowhere."""
    calls = [event for event in story.of(ModuleCall) if event.module is module and event.context.mode.flag is True]
    starts = {param.node for param in parameters_of(module) if param.node is not None}
    if not calls or not _followed(story, backwards) or _may_lead_on(story, starts):
        return None
    return Unreached(name, place, owner, calls[-1].spot)


def _followed(story: Story, backwards: list[Backward]) -> bool:
    """Whether everything the losses are made of is known."""
    behind = story.map.behind([event.node for event in backwards if event.node is not None])
    if any(story.map.nodes[i].kind is Kind.UNKNOWN for i in behind):
        return False
    return all(edge.sure for i in behind for edge in story.map.into(i))


def _may_lead_on(story: Story, starts: set[int]) -> bool:
    """Whether a value made of these parameters goes into code nobody can look into."""
    after: dict[int, list[tuple[int, bool]]] = {}
    for edge in story.map.edges:
        after.setdefault(edge.source, []).append((edge.target, edge.sure))
    seen, todo = set(starts), list(starts)
    while todo:
        for target, sure in after.get(todo.pop(), ()):
            if not sure:
                return True
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return False


def registration(story: Story, part: Instance | Param) -> tuple[Instance, str, Spot] | None:
    """The owner, the name and the assignment that registered a module or parameter."""
    found: AttributeSet | None = None
    for event in story.of(AttributeSet):
        if event.value is part and isinstance(event.target, Instance) and event.target.is_module:
            found = event
    if found is None or not isinstance(found.target, Instance):
        return None
    return found.target, found.name, found.spot


def unused(story: Story) -> Iterator[Unreached]:
    """Of a class read on its own: modules and parameters it builds in `__init__` and nothing in its package reads."""
    info = story.file.classes.get(story.entry)
    if info is None or info.method("forward") is None or not info.is_module:
        return
    own = [event for event in story.of(AttributeSet) if _own(event, info)]
    for event in _kept(own):
        params = _trainable(story, event.value)
        names = dict.fromkeys(one.name for one in own if one.value is event.value)  # `self.a = self.b = layer`
        unread = params and all(param.node is None for param in params) and all(never_read(info, n) for n in names)
        seen = [one.name for one in own].count(event.name)
        if unread and not known_unused(info) and not (story.incomplete and assigned(info, event.name) > seen):
            yield Unreached(event.name, event.spot, event.target if isinstance(event.target, Instance) else None)


def _kept(events: list[AttributeSet]) -> list[AttributeSet]:
    """The assignments that last: nothing is assigned to the same name after them but in another branch."""
    later: dict[str, list[AttributeSet]] = {}
    kept: list[AttributeSet] = []
    for event in reversed(events):
        others = later.setdefault(event.name, [])
        if all(event.context.excludes(other.context) for other in others):
            kept.append(event)
        others.append(event)
    return kept[::-1]


def _own(event: AttributeSet, info: ClassInfo) -> bool:
    """Whether the class itself sets this attribute of itself, in its own constructor."""
    if not isinstance(event.target, Instance) or event.target.cls is not info or not event.context.calls:
        return False
    function = event.context.calls[-1]
    return function.name == "__init__" and function.owner is info


def _trainable(story: Story, value: Value) -> list[Param]:
    """The parameters of what an attribute may be, where each of them trains."""
    params = [value] if isinstance(value, Param) else []
    held = [option for option in options(value) if option != NONE]
    made = [option for option in held if isinstance(option, Instance) and not (option.escaped or _too_long(option))]
    if held and len(made) == len(held):
        params = [param for one in made if one.is_module for param in parameters_of(one)]
    return params if all(story.flag_at(param) for param in params) else []


def _too_long(module: Instance) -> bool:
    """Whether the constructor of a class was given up: that it has parameters at all is a guess."""
    return module.opaque and module.cls is not None and module.cls.method("__init__") is not None


def only_without_grad(story: Story) -> Iterator[tuple[Unreached, Cut]]:
    """Of a class read on its own: trainable layers of its own that it only reads inside a `with torch.no_grad()` block,
    in a class whose other layers are read with grad mode on."""
    info = story.file.classes.get(story.entry)
    if info is None or not info.is_module:
        return
    uses: dict[int, list[Edge]] = {}
    for edge in story.map.edges:
        uses.setdefault(edge.source, []).append(edge)
    own = {event.name: event for event in story.of(AttributeSet) if _own(event, info)}
    layers = {name: _layer(story, event.value) for name, event in own.items()}
    owners = [event.target for event in own.values() if isinstance(event.target, Instance)][:1]
    others = [
        event.value for event in own.values() if isinstance(event.value, Instance) and event.value.children is not None
    ]
    unseen = any(not parameters_of(other) for other in others)
    if not unseen and not any(_live(uses, param) for owner in owners for param in parameters_of(owner)):
        return
    for name, event in own.items():
        edges = [edge for param in layers[name] if param.node is not None for edge in uses.get(param.node, ())]
        cut = edges[0].cut if edges else None
        blocks = [edge.cut for edge in edges if edge.cut and edge.cut.cause in (Cause.NO_GRAD, Cause.INFERENCE_MODE)]
        if cut is None or len(blocks) < len(edges) or not isinstance(cut.place, Spot) or cut.text.startswith("@"):
            continue
        block = enclosing_with(cut.place)
        if block is None or not _in_forward(story, cut.place) or not _returned(story, edges):
            continue
        places = {edge.cut.place for edge in edges if edge.cut}
        alone = len(places) == 1 and reads(info, name) == reads(info, name, cut.place.file.code(block))
        if alone and not trained_elsewhere(info):
            yield Unreached(name, event.spot, None), cut


def _in_forward(story: Story, block: Spot) -> bool:
    """Whether the forward pass itself goes through the block, not an evaluation beside it."""
    return any(
        event.mode.spot == block and any(call.name == "forward" for call in event.context.calls)
        for event in story.of(ModeChange)
    )


def _layer(story: Story, value: Value) -> list[Param]:
    """The parameters of one layer of torch, or a single parameter, if nothing ever freezes them."""
    leaf = isinstance(value, Instance) and value.cls is None and value.external.startswith("torch.nn.")
    params = _trainable(story, value) if leaf or isinstance(value, Param) else []
    return params if not any(param.flags or param.many for param in params) else []


def _live(uses: dict[int, list[Edge]], param: Param) -> bool:
    return any(edge.cut is None for edge in uses.get(-1 if param.node is None else param.node, ()))


def _returned(story: Story, edges: list[Edge]) -> bool:
    """Whether what is made in the block goes on into a value made outside of it."""
    inside = {edge.target for edge in edges}
    while True:
        after = [edge for edge in story.map.edges if edge.source in inside and edge.target not in inside]
        if not after:
            return False
        if any(edge.cut is None for edge in after):
            return True
        inside |= {edge.target for edge in after}
