"""Modules and parameters that no loss depends on, and where a reviewer would point at them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from freezelint.gradient_map import Kind
from freezelint.source.project import ClassInfo, ModuleInfo
from freezelint.source.starved import stepped_after
from freezelint.source.story import AttributeSet, Backward, Event, ModuleCall, Spot, Story
from freezelint.source.values import Instance, Param, direct_children, parameters_of, submodules

BY_NAME = re.compile(
    r"\bgetattr\(\s*self\b|\b_modules\b|\.(named_)?children\(\)|\bget_submodule\(|__getattr__|__dict__"
)
_COMMENT = re.compile(r"#[^\n\"']*$", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Unreached:
    """A module (or one parameter) that is trained for nothing. `call`: where its unused result is made."""

    name: str
    place: Spot
    owner: Instance | None
    call: Spot | None = None


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
        return Unreached(name, place, owner) if never_read(owner, name) else None
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


def never_read(owner: Instance, name: str) -> bool:
    """Whether no text of the project that knows the class reads the attribute, by name or by walking over children."""
    if owner.cls is None:
        return False
    texts = owner.cls.lineage()[0]
    if any(BY_NAME.search(_code(info.file.code(info.node))) for info in texts):
        return False
    word = re.compile(
        rf"\b{re.escape(name)}\b(?!\s*(:[^=\n]+)?=[^=])|[\"']{re.escape(name)}[\"']|[\"'][^\"'\n]*\b{re.escape(name)}\."
    )
    return not any(word.search(_code(file.text)) for file in _files(owner.cls))


def _files(info: ClassInfo) -> list[ModuleInfo]:
    known = [one.file for one in info.lineage()[0]]
    known += [file for file in info.file.project._files.values() if file is not None and info.name in file.text]
    return list(dict.fromkeys(known))


def _code(text: str) -> str:
    return _COMMENT.sub("", text)


def last_step(story: Story) -> Event | None:
    backwards = story.of(Backward)
    return backwards[-1] if backwards else None
