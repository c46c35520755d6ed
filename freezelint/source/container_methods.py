"""The methods of lists, dicts, constants and loaders."""

from __future__ import annotations

from freezelint.source import builtin_calls, cst, elements, stand_ins
from freezelint.source.reader import Reader
from freezelint.source.values import (
    NONE,
    UNKNOWN,
    Const,
    Dict,
    Loader,
    Seq,
    Value,
    tensors_in,
)


def sequence_method(
    reader: Reader, owner: Seq, name: str, args: builtin_calls.Args, kwargs: builtin_calls.Kwargs, node: cst.CSTNode
) -> Value:
    if name in ("append", "add", "appendleft", "insert"):
        owner.items += args[-1:]
        owner.grown = owner.grown or reader.open_loops > owner.depth
    elif name in ("extend", "update"):
        items, exact = elements.iterate(reader, args[0], node) if args else ([], True)
        owner.items += items
        owner.open = owner.open or not exact
        owner.grown = owner.grown or reader.open_loops > owner.depth
    elif name in ("pop", "popleft"):
        return owner.items[-1] if owner.items else UNKNOWN
    elif name == "copy":
        return Seq(list(owner.items), owner.open, owner.kind)
    elif name in ("difference", "difference_update", "intersection", "union") and args:
        other = elements.elements(reader, args[0], node)
        left = combined(owner.items, other, name)
        if name == "difference_update":
            owner.items[:] = left
        return Seq(left, owner.open, owner.kind)
    elif name == "clear":
        owner.items.clear()
    elif held := tensors_in(owner):
        return reader.tensor(name, held, node, sure=False)
    return UNKNOWN


def combined(left: list[Value], right: list[Value], name: str) -> list[Value]:
    """Sets put together: what both, either or only the left one holds."""
    shared = [item for item in left if any(item is other or item == other for other in right)]
    if name == "union":
        return [*left, *(item for item in right if all(item is not other for other in shared))]
    return shared if name == "intersection" else [item for item in left if all(item is not one for one in shared)]


def dict_method(
    reader: Reader, owner: Dict, name: str, args: builtin_calls.Args, kwargs: builtin_calls.Kwargs, node: cst.CSTNode
) -> Value:
    key = args[0] if args else UNKNOWN
    if name in ("get", "pop", "setdefault") and isinstance(key, Const):
        if key.value in owner.items:
            return owner.items[key.value]
        if name == "setdefault" and len(args) > 1:
            owner.items[key.value] = args[1]
        return owner.rest or (args[1] if len(args) > 1 else NONE)
    if name == "setdefault" and len(args) > 1:
        owner.rest = owner.rest or args[1]
        return owner.rest
    inner = [*owner.items.values(), *([owner.rest] if owner.rest is not None else [])]
    if name == "values":
        return Seq(inner, owner.rest is not None)
    if name == "keys":
        return Seq([Const(k) for k in owner.items], owner.rest is not None)
    if name == "items":
        rows: list[Value] = [Seq([Const(k), v], kind="tuple") for k, v in owner.items.items()]
        if owner.rest is not None:
            rows.append(Seq([UNKNOWN, owner.rest], kind="tuple"))
        return Seq(rows, owner.rest is not None)
    if name == "update":
        owner.items.update(kwargs)
        for arg in args:
            if isinstance(arg, Dict):
                owner.items.update(arg.items)
                owner.rest = arg.rest or owner.rest
    if name == "copy":
        return Dict(dict(owner.items), owner.rest)
    if name in ("to", "cuda") or name == "get":
        return owner if name != "get" else (reader.join(inner) if inner and not owner.wide else UNKNOWN)
    return UNKNOWN


def const_method(
    reader: Reader, owner: Const, name: str, args: builtin_calls.Args, kwargs: builtin_calls.Kwargs, node: cst.CSTNode
) -> Value:
    """Methods of strings and numbers with constant arguments: name patterns are decided."""
    given = [arg.value if isinstance(arg, Const) else None for arg in args]
    for i, arg in enumerate(args):
        if isinstance(arg, Seq) and all(isinstance(item, Const) for item in arg.items) and not arg.open:
            given[i] = tuple(item.value for item in arg.items if isinstance(item, Const))
        elif not isinstance(arg, Const):
            return UNKNOWN
    pure = ("startswith", "endswith", "split", "lower", "upper", "strip", "replace", "find", "format", "join", "rsplit",
            "removeprefix", "removesuffix", "partition", "count", "isdigit", "lstrip", "rstrip")  # fmt: skip
    if isinstance(owner.value, str) and name in pure and not kwargs:
        try:
            return stand_ins.decided(lambda text, *rest: getattr(str(text), name)(*rest), owner.value, *given)
        except (TypeError, ValueError, AttributeError, IndexError, KeyError):
            return UNKNOWN
    return UNKNOWN


def loader_method(
    reader: Reader, owner: Loader, name: str, args: builtin_calls.Args, kwargs: builtin_calls.Kwargs, node: cst.CSTNode
) -> Value:
    return reader.data(owner.name or "batch", node) if name in ("next", "__next__", "__getitem__") else owner
