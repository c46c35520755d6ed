"""Decorators and context managers of the project that switch grad mode off."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.source import cst, library
from freezelint.source.project import ClassInfo, FunctionInfo, dotted
from freezelint.source.reader import Frame, Reader
from freezelint.source.story import Mode, Spot
from freezelint.source.tree import holds, walk
from freezelint.source.values import External, Func, Manager

OFF = re.compile(r"^(\w+\.)*((no_grad|inference_mode)(\(\))?|set_grad_enabled\((mode=)?False\))$")
ON = re.compile(r"^(\w+\.)*(enable_grad(\(\))?|set_grad_enabled\((mode=)?True\))$")
MODES = ("no_grad", "inference_mode", "enable_grad", "set_grad_enabled", "_no_grad")
LOOKS = ("wraps", "update_wrapper", "signature", "iscoroutinefunction", "isgeneratorfunction", "callable", "isinstance",
         "getattr", "hasattr", "print", "str", "repr", "id")  # fmt: skip


def modes(reader: Reader, func: Func) -> list[Mode]:
    """The grad modes that decorators put round a call."""
    found: list[Mode] = []
    for decorator in func.info.decorators:
        if dotted(decorator.decorator).split(".")[-1] in MODES or _alias(func.info, decorator):
            found += _of_torch(reader, func.info, decorator)
        else:
            found += own_modes(func.info, decorator)
    return found


def _of_torch(reader: Reader, info: FunctionInfo, decorator: cst.Decorator) -> list[Mode]:
    from freezelint.source.expressions import evaluate

    reader.frames.append(Frame(info.file))
    try:
        value = evaluate(reader, decorator.decorator)
        spot = reader.spot(decorator.decorator)
    finally:
        reader.frames.pop()
    text = f"@{info.file.code(decorator.decorator)}"
    if isinstance(value, Manager) and value.kind != "autocast":
        return [Mode(value.flag, value.kind, spot, text)]
    if isinstance(value, External) and value.name in library.GRAD_CONTEXTS:
        kind, flag = library.GRAD_CONTEXTS[value.name]
        return [Mode(flag, kind, spot, text)]
    return []


def _alias(info: FunctionInfo, decorator: cst.Decorator) -> bool:
    """Whether a decorator is another name of one of torch's: `quiet = torch.no_grad()`."""
    made = info.file.resolve(dotted(decorator.decorator))
    if isinstance(made, str):
        return made in library.GRAD_CONTEXTS
    return isinstance(made, cst.Call) and dotted(made.func).split(".")[-1] in MODES


def own_modes(info: FunctionInfo, decorator: cst.Decorator) -> list[Mode]:
    """The mode that a decorator of the project puts round each call of a function."""
    made = info.file.resolve(dotted(decorator.decorator))
    called = isinstance(decorator.decorator, cst.Call)
    if isinstance(made, FunctionInfo):
        silent = silences(made, called=called)
    else:
        silent = isinstance(made, ClassInfo) and _objects_silence(made, called=called)
    if not silent:
        return []
    text = f"@{info.file.code(decorator.decorator)}"
    return [Mode(False, "no_grad", Spot(info.file, decorator.decorator), text)]


def seen_from_use(mode: Mode, made: FunctionInfo, use: Spot) -> Mode:
    """The mode a context manager of the project puts in force: one that has other users is told where it is used."""
    if mode.flag is not False or mode.spot is None or not holds(made.node, mode.spot.node):
        return mode
    uses = use.file.text.count(f"{made.name}(") - (use.file is made.file)
    return Mode(mode.flag, mode.kind, use, use.text) if uses > 1 else mode


def silences(made: FunctionInfo, *, called: bool) -> bool:
    """Whether a decorator calls what it is given only inside a block, or a wrapper, without grad mode.

    `called`: it is written with arguments, and gives the function that takes what it decorates.
    """
    if isinstance(made.node, cst.Lambda) or not _speaks(made):
        return False
    params = made.node.params.params
    if params and not called and _only_silent(made, made.node, params[0].name.value):
        return True
    inner = _given_back(made.node, cst.Name if called else cst.Call)
    return (
        inner is not None and bool(inner.params.params) and _only_silent(made, inner, inner.params.params[0].name.value)
    )


def _speaks(made: FunctionInfo) -> bool:
    text = made.file.body_text(made.name)
    return "_grad" in text or "inference_mode" in text


def _objects_silence(made: ClassInfo, *, called: bool) -> bool:
    """The same of a class: `@Quiet("encode")` hands a function to `__call__`, `@Quiet` to the constructor."""
    taken = made.method("__call__" if called else "__init__")
    runs = made.method("__call__")
    if taken is None or runs is None or not _speaks(runs) or len(taken.node.params.params) < 2:
        return False
    assert isinstance(runs.node, cst.FunctionDef)
    name = taken.node.params.params[1].name.value
    if called:
        return _only_silent(runs, runs.node, name)
    kept = [
        dotted(target.target)
        for node in walk(taken.node)
        if isinstance(node, cst.Assign) and _refers(node.value, name)
        for target in node.targets
    ]
    return len(kept) == 1 and kept[0].startswith("self.") and _only_silent(runs, runs.node, kept[0])


def _given_back(node: cst.FunctionDef, how: type[cst.CSTNode]) -> cst.FunctionDef | None:
    """The function inside this one that every `return` gives, as it is or called; at least one in the form `how`."""
    inside = {one.name.value: one for one in walk(node.body, cst.FunctionDef) if isinstance(one, cst.FunctionDef)}
    given = [part for one in walk(node.body, cst.FunctionDef, cst.Lambda) for part in _returned(one)]
    names = {dotted(part) for part in given}
    return inside.get(names.pop()) if len(names) == 1 and any(isinstance(part, how) for part in given) else None


def _returned(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    if isinstance(node, cst.Return) and node.value is not None:
        both = isinstance(node.value, cst.IfExp)
        yield from (node.value.body, node.value.orelse) if both else (node.value,)  # type: ignore[attr-defined]


def _only_silent(made: FunctionInfo, node: cst.FunctionDef, name: str) -> bool:
    """Whether all that is done with what `name` stands for is to call it without grad mode, or to look at it."""
    uses: set[int] = set()
    calls: set[int] = set()
    looks: set[int] = set()
    silent: set[int] = set()
    for one in walk(node):
        if _refers(one, name):
            uses.add(id(one))
        if isinstance(one, cst.Call):
            if _refers(one.func, name):
                calls.add(id(one.func))
            elif _off(made, one.func):  # `torch.no_grad()(fn)`
                calls |= {id(arg.value) for arg in one.args}
                silent |= {id(arg.value) for arg in one.args}
            elif dotted(one.func).split(".")[-1] in LOOKS:
                looks |= {id(arg.value) for arg in one.args}
        elif isinstance(one, cst.With):
            below = (
                {id(inner) for inner in walk(one.body)} if any(_told(made, item.item) for item in one.items) else set()
            )
            silent = silent | below if any(_off(made, item.item) for item in one.items) else silent - below
        elif isinstance(one, cst.FunctionDef) and one is not node:
            if any(_off(made, decorator.decorator) for decorator in one.decorators):
                silent |= {id(inner) for inner in walk(one.body)}
        else:
            looks |= _names_only(one)
    return bool(uses & calls) and uses & calls <= silent and uses <= calls | looks


def _names_only(node: cst.CSTNode) -> set[int]:
    """What a node holds that is only looked at: `fn.__name__`, `fn is None`, the name of a parameter."""
    if isinstance(node, cst.Attribute):
        return {id(node.value), id(node.attr)}
    if isinstance(node, cst.Param):
        return {id(node.name)}
    return {id(node.left)} if isinstance(node, cst.Comparison) else set()


def _refers(node: cst.CSTNode, name: str) -> bool:
    return isinstance(node, (cst.Name, cst.Attribute)) and dotted(node) == name


def _off(made: FunctionInfo, node: cst.CSTNode) -> bool:
    return OFF.search(made.file.code(node)) is not None


def _told(made: FunctionInfo, node: cst.CSTNode) -> bool:
    return _off(made, node) or ON.search(made.file.code(node)) is not None
