"""Questions about what a line was to freeze: what the target may be, who owns the name, what an edit would replace."""

from __future__ import annotations

import re
from functools import lru_cache

import libcst as cst

from freezelint.findings import Location
from freezelint.source.project import ClassInfo
from freezelint.source.story import AttributeSet, Event, Spot, Story
from freezelint.source.values import NONE, Const, Instance, Param, Value, options, parameters_of


def held(value: Value) -> tuple[Value, ...]:
    """What a value may be, None aside."""
    return tuple(option for option in options(value) if option != NONE)


def owns(module: Instance, name: str) -> bool:
    """Whether the class of an object defines or uses the attribute `name` itself."""
    return module.cls is not None and any(_mentions(info, name) for info in module.cls.lineage()[0])


@lru_cache(maxsize=512)
def _mentions(info: ClassInfo, name: str) -> bool:
    if name in info.methods or name in info.assigns:
        return True
    return bool(re.search(rf"\bself\.{name}\b|^\s+{name}\s*:", info.file.code(info.node), re.MULTILINE))


def flag_of(value: Value) -> bool | None:
    """The flag a value stands for, None where it cannot be told."""
    return bool(value.value) if isinstance(value, Const) else None


def own_parameters(value: Value) -> list[Param]:
    """The parameters a flag set on this value was meant for."""
    if isinstance(value, Param):
        return [value]
    return parameters_of(value) if isinstance(value, Instance) else []


def already(story: Story, params: list[Param], flag: bool | None, event: Event) -> bool:
    """Whether all of these parameters surely have this flag anyway, here or when the story ends."""
    if flag is None or not params or any(param.owner and param.owner.escaped for param in params):
        return False
    return all(story.flag_at(p, event) == flag for p in params) or all(story.flag_at(p) == flag for p in params)


def assignment(event: AttributeSet) -> Location | None:
    """The range of `target.name = value` where that is a statement of its own; None for chains and tuples."""
    node, value = event.node, event.value_node
    if value is None or not isinstance(node, cst.Attribute) or node.lpar or getattr(value, "lpar", ()):
        return None
    left, right = event.spot.locate(), Spot(event.spot.file, value).locate()
    lines = event.spot.file.text.splitlines()
    if not left.line == left.end_line == right.line <= right.end_line <= len(lines):
        return None
    before, between = lines[left.line - 1][: left.column], lines[left.line - 1][left.end_column : right.column]
    after = lines[right.end_line - 1][right.end_column :].strip()
    alone = not before.strip() or before.rstrip().endswith((";", ":"))
    if not alone or between.strip() != "=" or (after and after[0] not in "#;"):
        return None
    return Location(left.path, left.line, left.column, right.end_line, right.end_column)


def code(event: Event, node: cst.CSTNode) -> str:
    """The text of a node of the event's file."""
    return event.spot.file.code(node)
