"""Decorators and context managers of the project that switch grad mode off."""

from __future__ import annotations

import re

from freezelint.source import cst
from freezelint.source.project import FunctionInfo, dotted
from freezelint.source.story import Mode, Spot
from freezelint.source.tree import holds, walk

OFF = re.compile(r"(^|\.)(no_grad|inference_mode)(\(\))?$|set_grad_enabled\((mode=)?False\)$")


def own_modes(info: FunctionInfo, decorator: cst.Decorator) -> list[Mode]:
    """The mode that a decorator of the project puts round each call of a function."""
    made = info.file.resolve(dotted(decorator.decorator))
    if not isinstance(made, FunctionInfo) or not silences(made):
        return []
    text = f"@{info.file.code(decorator.decorator)}"
    return [Mode(False, "no_grad", Spot(info.file, decorator.decorator), text)]


def seen_from_use(mode: Mode, made: FunctionInfo, use: Spot) -> Mode:
    """The mode a context manager of the project puts in force: one that has other users is told where it is used."""
    if mode.flag is not False or mode.spot is None or not holds(made.node, mode.spot.node):
        return mode
    uses = use.file.text.count(f"{made.name}(") - (use.file is made.file)
    return Mode(mode.flag, mode.kind, use, use.text) if uses > 1 else mode


def silences(made: FunctionInfo) -> bool:
    """Whether a decorator calls what it is given only inside a block, or a wrapper, without grad mode."""
    text = made.file.body_text(made.name)
    params = made.node.params.params
    if not params or isinstance(made.node, cst.Lambda) or not ("_grad" in text or "inference_mode" in text):
        return False
    name = params[0].name.value
    calls = {id(node) for node in walk(made.node) if _calls(node, name)}
    silent: set[int] = set()
    for node in walk(made.node):
        if isinstance(node, cst.With):
            off = any(OFF.search(made.file.code(item.item)) for item in node.items)
        else:
            off = isinstance(node, cst.FunctionDef) and node is not made.node and _decorated(made, node)
        if off:
            silent |= {id(below) for below in walk(node)} & calls
    return bool(calls) and silent == calls


def _calls(node: cst.CSTNode, name: str) -> bool:
    return isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value == name


def _decorated(made: FunctionInfo, node: cst.FunctionDef) -> bool:
    return any(OFF.search(made.file.code(decorator.decorator)) for decorator in node.decorators)
