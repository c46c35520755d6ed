"""Helpers that have nothing to do with tensors, read once per project: which version is installed, what a setting says.

Such a call is given plain values, gives one back, and leaves nothing behind. Its steps are counted each time, so that a
story reads as far as it would without. And calls of a function by itself that would be read as the one around them was.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from freezelint.source.project import dotted
from freezelint.source.story import Called, Statement, Story
from freezelint.source.values import UNKNOWN, Cls, Const, Data, External, Func, Option, Seq, Tensor, Union, Value

if TYPE_CHECKING:
    from freezelint.source.project import FunctionInfo
    from freezelint.source.reader import Frame, Reader

# What a body may not hold: anything a rule asks about, and anything that outlives the call.
_LASTS = re.compile(
    r"requires|grad|inference_mode|detach|backward|optim|checkpoint|Parameter|parameters\(|Variable|[Ff]reez|frozen|autocast|"
    r"\.data\b|\.item\(|\.numpy\(|\.(?:train|eval)\(|\b(?:global|nonlocal|yield|await|class|del|setattr|super)\b|"
    r"\.(?:append|extend|insert|add|update|setdefault|pop|sort|reverse|clear|remove|register\w*)\(|"
    r"^\s*[\w.]+(?:\.\w+|\[[^\]]*\])\s*[-+*|&]?=(?!=)",
    re.MULTILINE,
)
_TOLD = re.compile(r"init|load|copy|toggle|schedul|requir", re.IGNORECASE)  # calls that a rule looks for
_WORDS_ALONE = re.compile(r"\"\"\".*?\"\"\"|#[^\n]*", re.DOTALL)
_HARMLESS = ("lru_cache", "cache", "staticmethod")
DEEP = 9  # from here on a call of a call may no longer be followed
Row = tuple[Value, int, frozenset["FunctionInfo"]]


def recalled(reader: Reader, frame: Frame, read: Callable[[], Value]) -> Value:
    """What reading the body of a call gives, from an earlier reading where that is the same."""
    info = frame.info
    assert info is not None
    if frame.parent is not None or frame.self_value is not None or not inert(info) or info.file is reader.story.file:
        reader.lasting += 1
        return read()
    keys = [_key(value, lists=True) for value in frame.env.values()]
    if None in keys:
        reader.lasting += 1
        return read()
    key = (info, max(len(reader.calls), DEEP), reader.calls.count(info), *keys)
    known: Row | None = reader.project.recalled.get(key)
    if known is None:
        return _first(reader, key, read)
    value, steps, seen = known
    reader.budget -= steps
    if reader.budget < 0:
        reader.spent()
    reader.seen |= seen
    return value


def _first(reader: Reader, key: tuple[Any, ...], read: Callable[[], Value]) -> Value:
    """Read a body, and keep what it gives if that is all it does."""
    lasting, events, nodes = reader.lasting, len(reader.story.events), len(reader.map.nodes)
    budget, seen, mode = reader.budget, reader.seen, reader.state["mode"]
    reader.seen = set()
    try:
        value = read()
        mine = frozenset(reader.seen)
    finally:
        reader.seen = seen | reader.seen
    alone = lasting == reader.lasting and nodes == len(reader.map.nodes) and mode is reader.state["mode"]
    if alone and _key(value) is not None and not _tells(reader.story, events):
        reader.project.recalled[key] = (value, budget - reader.budget, mine)
    return value


def again(reader: Reader, func: Func, given: dict[str, Value]) -> bool:
    """Whether a call of itself has nothing new to show: it is given tensors where it was given such."""
    if func.owner is not None or func.env is not None or not reader.calls.count(func.info):
        return False
    outer = next(frame for frame in reversed(reader.frames) if frame.info is func.info)
    return all(_like(value, outer.given.get(name)) for name, value in given.items())


def _like(value: Value, earlier: Value | None) -> bool:
    """Whether a value is unknown, or what the earlier one may have been: the same, or a tensor too."""
    if value == UNKNOWN:
        return True
    options = earlier.options if isinstance(earlier, Union) else (earlier,)
    return any(value == o or (type(value) is type(o) and isinstance(value, (Tensor, Data))) for o in options)


def inert(info: FunctionInfo) -> bool:
    """Whether nothing in the body of a function lasts longer than its call."""
    if info.inert is None:
        text = _WORDS_ALONE.sub("", info.file.code(info.node))
        plain = all(dotted(one.decorator).split(".")[-1] in _HARMLESS for one in info.decorators)
        info.inert = plain and text.count("def ") == 1 and _LASTS.search(text) is None
    return info.inert


def _tells(story: Story, start: int) -> bool:
    """Whether a rule could ask about anything that happened."""
    for event in story.events[start:]:
        if type(event) is Called and not _TOLD.search(event.name):
            continue
        if type(event) is not Statement:
            return True
    return False


def _key(value: Value | None, *, lists: bool = False) -> Any:
    """A hashable name of a plain value; None for what could hold or change anything. `lists`: of one only looked at."""
    kind = type(value)
    if kind is Value:
        return "?"
    if isinstance(value, (Const, Option)):
        held = value.value if isinstance(value, Const) else value.default
        return (kind, type(held), held) if isinstance(held, (str, int, float, bool, bytes, type(None))) else None
    if isinstance(value, External):
        return value
    if isinstance(value, Cls):
        return value.info
    if isinstance(value, Func) and value.env is None and value.owner is None and not value.defaults:
        return value.info
    if isinstance(value, Seq):
        known = not value.grown and (value.kind == "tuple" or (lists and value.numbers is None))
        parts: Any = value.items if known else None
    else:
        parts = value.options if isinstance(value, Union) else None
    keys = [None] if parts is None else [_key(part, lists=lists) for part in parts]
    return None if None in keys else (kind, getattr(value, "kind", ""), getattr(value, "open", False), *keys)
