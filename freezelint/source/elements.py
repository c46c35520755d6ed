"""Elements: items, iteration, unpacking, and what a module gives when it is walked."""

from __future__ import annotations

from collections.abc import Sequence

from freezelint.source import cst, library, modules, objects, stand_ins, writes
from freezelint.source.project import dotted
from freezelint.source.reader import Reader
from freezelint.source.story import AttributeSet, Called, Consumed, Replaced
from freezelint.source.values import (
    NONE,
    UNKNOWN,
    Cls,
    Const,
    Data,
    Dict,
    External,
    Func,
    Grad,
    Instance,
    Loader,
    Method,
    Param,
    ParamIter,
    Seq,
    Tensor,
    Union,
    Value,
    direct_children,
    options,
    parameters_of,
    submodules,
)


def set_item(reader: Reader, owner: Value, node: cst.Subscript, value: Value) -> None:
    from freezelint.source.expressions import evaluate

    keys = [evaluate(reader, e.slice.value) if isinstance(e.slice, cst.Index) else UNKNOWN for e in node.slice]
    key = keys[0] if len(keys) == 1 else UNKNOWN
    if isinstance(owner, Dict):
        if key == Const("params") and not any(owner is group for group in reader.story.groups):
            reader.story.groups.append(owner)
        if isinstance(key, Const) and isinstance(key.value, (str, int)):
            reader.put(owner.items, key.value, value)
        else:
            owner.rest = value if owner.rest is None else reader.join([owner.rest, value])
    elif isinstance(owner, Seq):
        if isinstance(key, Const) and isinstance(key.value, int) and -len(owner.items) <= key.value < len(owner.items):
            owner.items[key.value] = value
        else:
            owner.items.append(value)
            owner.open = True
    elif isinstance(owner, Tensor):
        writes.note(reader, owner, "item", node)
        updated = reader.tensor("set item", [owner, value], node)
        owner.node = updated.node
    elif isinstance(owner, Grad):
        reader.emit(Called, node, "set item", owner, [value], {}, UNKNOWN)
    elif isinstance(owner, Instance):
        _set_child(reader, owner, key, value, node)
    elif isinstance(owner, Method) and owner.name in ("_modules", "_parameters") and isinstance(owner.owner, Instance):
        name = str(key.value) if isinstance(key, Const) else "*"
        reader.emit(AttributeSet, node, owner.owner, name, value, None, node, None)
        if isinstance(key, Const):
            objects.store(reader, owner.owner, name, value, node)
        else:
            register(reader, owner.owner, value)


def register(reader: Reader, owner: Instance, value: Value) -> None:
    """A module or parameter registered under a name nobody can tell."""
    if isinstance(value, Instance) and value.is_module:
        owner.children = [*(owner.children or []), value]
    elif isinstance(value, Param):
        value.owner = value.owner or owner
        owner.params[f"*{len(owner.params)}"] = value


def holds_parameters(owner: Instance) -> bool:
    return owner.external.split(".")[-1] in library.PARAMETER_CONTAINERS


def _set_child(reader: Reader, owner: Instance, key: Value, value: Value, node: cst.Subscript) -> None:
    if owner.cls is not None and owner.cls.method("__setitem__"):
        objects.call_method(reader, owner, "__setitem__", [key, value], {}, node)
        return
    if isinstance(owner.wraps, Dict):
        set_item(reader, owner.wraps, node, value)
    elif isinstance(key, Const) and isinstance(key.value, str) and owner.is_module:
        objects.store(reader, owner, key.value, value, node)
    elif owner.children is not None:
        if owner.children and isinstance(key, Const) and isinstance(key.value, int) and not stand_ins.uncounted(owner):
            index = key.value if abs(key.value) < len(owner.children) else -1
            reader.emit(Replaced, node, owner, str(index), owner.children[index], value)
            owner.children[index] = value
        else:
            owner.children.append(value)


def _made_for(reader: Reader, owner: Dict, missing: Value, key: Value, node: cst.CSTNode) -> Value:
    """What a defaultdict gives for a key that it does not have: made once, and kept."""
    from freezelint.source import calls

    if owner.rest is None:
        made = calls.call(reader, missing, [], {}, node)
        if isinstance(key, Const):
            reader.put(owner.items, key.value, made)
            return made
        owner.rest = made
    return owner.rest


def get_item(reader: Reader, owner: Value, index: list[Value], node: cst.CSTNode, *, sliced: bool | slice) -> Value:
    if isinstance(owner, Union):
        joined: Value = reader.join(
            [get_item(reader, option, index, node, sliced=sliced) for option in owner.options if option != NONE]
            or [UNKNOWN]
        )
        return joined
    key = index[0] if len(index) == 1 else UNKNOWN
    if isinstance(owner, (Tensor, Param)):
        part = reader.tensor("item", [owner, *index], node)
        part.inference = owner.inference if isinstance(owner, Tensor) else None
        return part
    if isinstance(owner, Data):
        return Data(owner.node, owner.spot, owner.name)
    if isinstance(owner, Grad):
        return Grad(owner.param, True)
    if isinstance(owner, Seq):
        if sliced:
            return slice_of(owner, sliced)
        return _element(reader, owner.items, key, stand_ins.uncounted(owner))
    if isinstance(owner, External) and owner.name.endswith(".__dict__"):
        known = key.value if isinstance(key, Const) and isinstance(key.value, str) else "*"
        return External(f"{owner.name[: -len('.__dict__')]}.{known}")
    if isinstance(owner, Dict):
        if isinstance(key, Const) and key.value in owner.items:
            return owner.items[key.value]
        if owner.missing is not None:
            return _made_for(reader, owner, owner.missing, key, node)
        rest = [owner.rest] if owner.rest is not None else []
        if isinstance(key, Const) or owner.wide:
            return owner.rest or UNKNOWN
        found: Value = reader.join([*owner.items.values(), *rest] or [UNKNOWN])
        return found
    if isinstance(owner, Instance):
        return _child(reader, owner, key, node, sliced=sliced)
    if isinstance(owner, Loader):
        return reader.data(owner.name or "batch", node)
    if isinstance(owner, Method) and owner.name == "_modules" and isinstance(owner.owner, Instance):
        inside = direct_children(owner.owner)
        named = [owner.owner.attrs.get(key.value)] if isinstance(key, Const) and isinstance(key.value, str) else inside
        return reader.join([value for value in named if value is not None] or [UNKNOWN])  # type: ignore[no-any-return]
    return UNKNOWN


def slice_of(owner: Seq, bounds: bool | slice) -> Seq:
    """`items[a:b]`: exact where the bounds and every item are known."""
    whole = any(param.many for param in params_in(owner.items) or ())
    if isinstance(bounds, slice) and not stand_ins.uncounted(owner) and not owner.some and not whole:
        return Seq(owner.items[bounds], False, owner.kind, owner.spot)
    return Seq(list(owner.items), True, owner.kind, owner.spot, some=True, filled=stand_ins.surely(bounds))


def _element(reader: Reader, items: Sequence[Value], key: Value, open_: bool) -> Value:
    number = key.value if isinstance(key, Const) and type(key.value) is int else None
    if number is not None and -len(items) <= number < len(items):
        return stand_ins.one_of(items[number]) if open_ else items[number]
    if not items:
        return UNKNOWN
    joined: Value = reader.join([stand_ins.one_of(item) for item in items] if open_ or len(items) > 1 else list(items))
    return joined


def _child(reader: Reader, owner: Instance, key: Value, node: cst.CSTNode, *, sliced: bool | slice) -> Value:
    if owner.cls is not None:
        if owner.cls.method("__getitem__"):
            found = objects.call_method(reader, owner, "__getitem__", [key], {}, node) or UNKNOWN
            kept = (Tensor, Param, Instance, Cls, Func)
            known = owner.is_module or any(isinstance(one, kept) for one in options(found))
            return found if known else reader.data("item", node)
        if isinstance(owner.wraps, Dict):
            return get_item(reader, owner.wraps, [key], node, sliced=False)
        return UNKNOWN if owner.children is None else _element(reader, owner.children, key, stand_ins.uncounted(owner))
    if holds_parameters(owner):
        if isinstance(key, Const) and str(key.value) in owner.params:
            return owner.params[str(key.value)]
        return _element(reader, list(owner.params.values()), key, False)
    if isinstance(key, Const) and isinstance(key.value, str) and key.value in owner.attrs:
        return owner.attrs[key.value]
    if owner.children is not None and not sliced:
        return _element(reader, owner.children or list(owner.attrs.values()), key, stand_ins.uncounted(owner))
    if owner.is_module and (owner.children is not None or owner.opaque):
        part = Instance(external="torch.nn.Sequential", is_module=True, spot=owner.spot, opaque=owner.opaque)
        part.children, part.norm, part.params = owner.children, owner.norm, owner.params
        part.part_of = owner if owner.opaque else None
        part.pretrained = owner.pretrained
        if isinstance(sliced, slice) and owner.children and not stand_ins.uncounted(owner):
            part.children = owner.children[sliced]
        else:
            part.some, part.filled = True, stand_ins.surely(sliced)
        return part
    return UNKNOWN


def consume(reader: Reader, iterator: ParamIter, node: cst.CSTNode, purpose: str) -> list[Value]:
    """Use an iterator up; a second use of a one-shot iterator gives nothing."""
    before, empty = None, False
    if iterator.one_shot:
        context = reader.context()
        earlier = [e for e in iterator.used if not context.excludes(e.context)]
        sure = [e for e in earlier if context.implies(e.context)]
        read = [e for e in sure if e.purpose != "call"]
        before, empty = next(iter([*read, *sure, *earlier]), None), bool(read)
    event = reader.emit(Consumed, node, iterator, before, purpose, empty, _given(reader, iterator))
    iterator.used.append(event)
    for source in () if empty else iterator.sources:
        if source.one_shot:
            consume(reader, source, node, purpose)
    return [] if empty else list(iterator.items)


def _given(reader: Reader, wanted: ParamIter) -> bool:
    """Whether the function being read was handed an iterator, as it is or in a list or dict."""
    info = reader.frame.info
    if info is None or not isinstance(info.node, cst.FunctionDef):
        return False
    params = info.node.params
    names = [param.name.value for param in (*params.posonly_params, *params.params, *params.kwonly_params)]
    held = [reader.frame.env.get(name, UNKNOWN) for name in names]
    inner = [value.items if isinstance(value, Seq) else options(value) for value in held]
    inner += [tuple(value.items.values()) for value in held if isinstance(value, Dict)]
    return any(value is wanted for values in inner for value in values)


def iterate(reader: Reader, value: Value, node: cst.CSTNode) -> tuple[list[Value], bool]:
    """(the elements a loop gives, whether these are all)."""
    if isinstance(value, Seq):
        items = [stand_ins.one_of(item, filled=value.filled) for item in value.items] if value.some else value.items
        return list(items) or ([UNKNOWN] if value.open else []), not value.open
    if isinstance(value, ParamIter):
        items = consume(reader, value, node, "loop")
        return items, not any(param.many for param in params_in(items) or ())
    if isinstance(value, Dict):
        keys: list[Value] = [Const(key) for key in value.items]
        return [*keys, *([UNKNOWN] if value.rest is not None else [])], value.rest is None
    if isinstance(value, Instance):
        return _iterate_instance(reader, value, node)
    if isinstance(value, Loader):
        return [reader.data(value.name or "batch", node)], False
    if isinstance(value, Tensor):
        return [reader.tensor("element", [value], node)], False
    if isinstance(value, Data):
        return [Data(value.node, value.spot, value.name)], False
    if isinstance(value, Const) and isinstance(value.value, (str, list, tuple, dict, range)):
        constants: list[Value] = [Const(item) for item in value.value]
        return constants[:32], len(constants) <= 32
    if isinstance(value, Union):
        branch, found = reader.fresh(), []
        for number, option in enumerate(option for option in value.options if option != NONE):
            reader.arms.append((branch, number))  # one of them is used up, not all
            found.append(iterate(reader, option, node))
            reader.arms.pop()
        if found and all(isinstance(option, ParamIter) for option in value.options if option != NONE):
            return [item for items, _ in found for item in items], False  # whichever model it is, they are its own
        longest = max(found, key=lambda pair: len(pair[0]), default=([UNKNOWN], False))
        return longest[0], False
    name = dotted(node).split(".")[-1]
    if library.DATA_NAMES.search(name):
        return [reader.data(name, node)], False
    return [UNKNOWN], False


def _iterate_instance(reader: Reader, value: Instance, node: cst.CSTNode) -> tuple[list[Value], bool]:
    if value.cls is not None and (method := value.cls.method("__iter__")):
        from freezelint.source.calls import call_function

        made = call_function(reader, Func(method, value), [], {}, node)
        return iterate(reader, made, node) if not isinstance(made, Instance) else ([reader.data("batch", node)], False)
    if isinstance(value.wraps, Dict):
        return iterate(reader, value.wraps, node)
    if not value.is_module:
        return [reader.data(value.name or "batch", node)], False
    if holds_parameters(value):
        named = value.external.endswith("Dict")
        return [Const(key) if named else param for key, param in value.params.items()] or [UNKNOWN], bool(value.params)
    if value.children is not None:
        items = list(value.children) or [Const(name) for name in value.attrs]
        items = [stand_ins.one_of(item, filled=value.filled) for item in items] if value.some else items
        return items or [UNKNOWN], not value.opaque
    if value.opaque and value.cls is None and not value.external.endswith(("Dict", "ParameterList")):
        return [_some_part(value)], False
    return [UNKNOWN], False


def _some_part(module: Instance) -> Instance:
    """Some module inside one nobody can look into."""
    inner = Instance(external="torch.nn.Module", is_module=True, opaque=True, spot=module.spot, part_of=module)
    inner.params, inner.norm, inner.pretrained = module.params, None, module.pretrained
    inner.escaped = module.escaped
    return inner


def elements(reader: Reader, value: Value, node: cst.CSTNode) -> list[Value]:
    return iterate(reader, value, node)[0]


def parts(reader: Reader, value: Value, count: int, node: cst.CSTNode, starred: int | None = None) -> list[Value]:
    """What each of `count` targets gets when `value` is unpacked."""
    if isinstance(value, Seq) and value.items and starred is None and (len(value.items) == count):
        return list(value.items)
    if isinstance(value, Seq) and starred is not None and len(value.items) >= count - 1 and not value.open:
        after = count - 1 - starred
        middle = value.items[starred : len(value.items) - after]
        return [*value.items[:starred], Seq(middle), *value.items[len(value.items) - after :]]
    if isinstance(value, Tensor):
        return [reader.tensor("part", [value], node) for _ in range(count)]
    if isinstance(value, Data):
        return [reader.data(value.name, node) for _ in range(count)]
    if isinstance(value, Union):
        columns = [parts(reader, option, count, node, starred) for option in value.options if option != NONE]
        return [reader.join([column[i] for column in columns]) for i in range(count)] if columns else [UNKNOWN] * count
    if isinstance(value, (ParamIter, Instance)):
        items = elements(reader, value, node)
        return items if len(items) == count else [UNKNOWN] * count
    if isinstance(value, Seq) and value.open and value.items:
        held: Value = reader.join(value.items)
        if isinstance(held, Instance) and held.is_module:  # each is one of its own
            return [held, *(modules.clone(reader, held, node) for _ in range(count - 1))]
        return [held] * count
    if isinstance(value, Const) and isinstance(value.value, (tuple, list)) and len(value.value) == count:
        return [Const(item) for item in value.value]
    return [UNKNOWN] * count


def params_in(values: Sequence[Value]) -> list[Param] | None:
    """The parameters among some values; None when something else is among them."""
    found: list[Param] = []
    for value in values:
        if isinstance(value, Param):
            found.append(value)
        elif isinstance(value, Seq) and value.kind == "tuple":
            inner = params_in(value.items[-1:])
            if inner is None:
                return None
            found += inner
        else:
            return None
    return found


def module_parts(reader: Reader, module: Instance, *, named: bool, children: bool) -> Seq:
    """`modules()`, `children()` and their named forms."""
    found = direct_children(module) if children else submodules(module)
    inexact = any(part.opaque for part in ([module] if children else found))
    if inexact:
        stand_in = next(part for part in ([module] if children else found) if part.opaque)
        inner = Instance(external="torch.nn.Module", is_module=True, opaque=True, spot=stand_in.spot, part_of=stand_in)
        inner.params, inner.norm, inner.name = stand_in.params, None, ""
        inner.pretrained = stand_in.pretrained
        found = [*found, inner]
    items: list[Value] = list(found)
    if named:
        names = stand_ins.dotted_templates(module)
        items = [Seq([stand_ins.named(names.get(id(m))) if not m.part_of else UNKNOWN, m], kind="tuple") for m in found]
    return Seq(items, open=inexact, kind="generator")


def dotted_names(module: Instance, prefix: str = "", seen: set[int] | None = None) -> list[tuple[str, Instance]]:
    from freezelint.source.values import named_children

    seen = set() if seen is None else seen
    if id(module) in seen:
        return []
    seen.add(id(module))
    rows = [(prefix.rstrip("."), module)]
    for name, child in named_children(module):
        rows += dotted_names(child, f"{prefix}{name}.", seen)
    return rows


def parameter_iterator(
    reader: Reader, module: Instance, node: cst.CSTNode, *, named: bool, own: bool = False
) -> ParamIter:
    """`parameters()` and `named_parameters()` of a module; `own`: without those of its submodules."""
    items: list[Value] = list(parameters_of(module))
    if own and not module.opaque:
        mine = {id(param) for value in module.params.values() for param in options(value)}
        items = [param for param in items if id(param) in mine]
    if named:
        names = stand_ins.dotted_templates(module)
        items = [
            Seq([UNKNOWN if p.many else stand_ins.named(names.get(id(p), p.name)), p], kind="tuple")
            for p in items
            if isinstance(p, Param)
        ]
    return ParamIter(items, named=named, spot=reader.spot(node), owner=module, some=module.some, filled=module.filled)
