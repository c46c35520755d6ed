"""Python's own functions, and the methods of lists, dicts and constants."""

from __future__ import annotations

from typing import Any

from freezelint.gradient_map import Cause, Cut
from freezelint.source import attributes, cst, elements, modules, objects, ranges, stand_ins
from freezelint.source.reader import Reader
from freezelint.source.values import (
    FALSE,
    NONE,
    TRUE,
    UNKNOWN,
    Cls,
    Const,
    Data,
    Dict,
    External,
    Func,
    Instance,
    Method,
    Option,
    Param,
    ParamIter,
    Seq,
    Tensor,
    Union,
    Value,
    tensors_in,
)

Args = list[Value]
Kwargs = dict[str, Value]


def call(reader: Reader, name: str, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    handler = BUILTINS.get(name)
    if handler is not None:
        return handler(reader, args, kwargs, node)  # type: ignore[no-any-return]
    if name in ("any", "all") and args and isinstance(args[0], Seq) and not args[0].open:
        known = [item.value if isinstance(item, Const) else None for item in args[0].items]
        if None not in known:
            return TRUE if (any(known) if name == "any" else all(known)) else FALSE
    for value in args:
        if isinstance(value, ParamIter) and name in ("any", "all", "max", "min", "len", "next"):
            elements.consume(reader, value, node, name)
    return UNKNOWN


def make_list(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    if not args:
        return Seq([], spot=reader.spot(node), depth=reader.open_loops)
    items, exact = elements.iterate(reader, args[0], node)
    return Seq(items, open=not exact and not isinstance(args[0], ParamIter), spot=reader.spot(node))


def make_dict(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    new = Dict(dict(kwargs), spot=reader.spot(node))
    new.rest = new.items.pop("**", None)
    if args and isinstance(args[0], Dict):
        new.items.update(args[0].items)
        new.rest = args[0].rest
    elif args:
        for item in elements.elements(reader, args[0], node):
            if isinstance(item, Seq) and len(item.items) == 2 and isinstance(item.items[0], Const):
                new.items[item.items[0].value] = item.items[1]
            elif isinstance(item, Seq) and len(item.items) == 2:
                new.rest = item.items[1] if new.rest is None else reader.join([new.rest, item.items[1]])
            else:
                new.rest = UNKNOWN
    return new


def make_iter(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    value = args[0] if args else UNKNOWN
    if isinstance(value, Seq) and (params := elements.params_in(value.items)):
        return ParamIter(list(params), spot=reader.spot(node))
    return value


def make_range(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    if len(args) == 1 and isinstance(args[0], Const) and args[0].value in (0, 1):
        return Seq([Const(0)] * args[0].value)
    return Seq([UNKNOWN], open=True, numbers=ranges.known(args))


def enumerate_(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    items, exact = elements.iterate(reader, args[0], first_argument(node)) if args else ([UNKNOWN], False)
    counted = exact and not any(map(stand_ins.uncounted, args[:1]))
    rows: list[Value] = [Seq([Const(i) if counted else UNKNOWN, item], kind="tuple") for i, item in enumerate(items)]
    return Seq(rows, open=not exact, kind="generator")


def first_argument(node: cst.CSTNode) -> cst.CSTNode:
    return node.args[0].value if isinstance(node, cst.Call) and node.args else node


def zip_(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """zip, keeping what it pairs (a check asks whether the pairs line up)."""
    from freezelint.source.story import Called

    columns = []
    for i, value in enumerate(args):
        place = node.args[i].value if isinstance(node, cst.Call) and i < len(node.args) else node
        columns.append((value.items, True) if isinstance(value, ParamIter) else elements.iterate(reader, value, place))
    most = max((len(items) for items, exact in columns if exact), default=1)
    columns = [(items * most if not exact and _alike(items) else items, exact) for items, exact in columns]
    count = min((len(items) for items, _ in columns), default=0)
    rows: list[Value] = [Seq([items[i] for items, _ in columns], kind="tuple") for i in range(count)]
    sources = [value for value in args if isinstance(value, ParamIter)]
    made: Value = Seq(rows, open=not all(exact for _, exact in columns), kind="generator")
    if sources and elements.params_in(rows):
        made = ParamIter(rows, spot=reader.spot(node), sources=sources)
    else:
        for source in sources:
            elements.consume(reader, source, node, "loop")
    reader.emit(Called, node, "zip", None, args, kwargs, made)
    return made


def _alike(items: list[Value]) -> bool:
    """Whether one plain value stands for a list of any length: as far as another list goes, so does this."""
    return len(items) == 1 and (items[0] is UNKNOWN or isinstance(items[0], (Const, Option, Data, Tensor)))


def map_(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    from freezelint.source.calls import call as call_value

    if len(args) < 2:
        return UNKNOWN
    source = args[1]
    items = source.items if isinstance(source, ParamIter) else elements.elements(reader, source, first_argument(node))
    made = [call_value(reader, args[0], [item], {}, node) for item in items[:24]]
    if made and len(items) <= 24 and all(isinstance(item, Const) for item in made):
        if isinstance(source, ParamIter):
            elements.consume(reader, source, node, "loop")
        return Seq(list(made), kind="generator")
    if isinstance(source, ParamIter) or elements.params_in(made):
        kept = made if elements.params_in(made) else list(items)
        sources = [source] if isinstance(source, ParamIter) else []
        return ParamIter(kept, spot=reader.spot(node), sources=sources)
    return Seq(made, open=True, kind="generator")


def identity(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """`id(parameter)`: the same number for the same parameter."""
    value = args[0] if args else UNKNOWN
    known = isinstance(value, Instance) or (isinstance(value, Param) and not value.many)
    return Const(id(value)) if known else UNKNOWN


def filter_(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    from freezelint.source.calls import call as call_value
    from freezelint.source.conditions import tested, truth_of

    if len(args) < 2:
        return UNKNOWN
    source = args[1]
    items = source.items if isinstance(source, ParamIter) else elements.elements(reader, source, first_argument(node))
    kept = []
    for item in items:
        answer = call_value(reader, args[0], [item], {}, node)
        if isinstance(args[0], Func) and isinstance(args[0].info.node, cst.Lambda):
            tested(reader, args[0].info.node.body, answer)
        if truth_of(reader, answer) is not False:
            kept.append(item)
    if isinstance(source, ParamIter) or elements.params_in(kept):
        sources = [source] if isinstance(source, ParamIter) else []
        return ParamIter(kept, spot=reader.spot(node), filtered=True, sources=sources)
    return Seq(kept, open=True, kind="generator")


def sum_(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    items = elements.elements(reader, args[0], node) if args else []
    held = [t for item in [*items, *args[1:]] for t in tensors_in(item)]
    return reader.tensor("sum", held, node) if held and not all(isinstance(t, Param) for t in held) else UNKNOWN


def max_(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    held = [t for arg in args for t in tensors_in(arg)]
    return reader.tensor("max", held, node) if held else UNKNOWN


def next_(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    value = args[0] if args else UNKNOWN
    if isinstance(value, ParamIter):
        return value.items[0] if value.items else UNKNOWN
    items = elements.elements(reader, value, first_argument(node))
    return items[0] if items else UNKNOWN


def number(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """float(t), int(t), bool(t): a Python number, the gradient stays behind."""
    held = [t for arg in args for t in tensors_in(arg)]
    if not held:
        return args[0] if args and isinstance(args[0], Const) else UNKNOWN
    text = reader.frame.file.code(node)
    return reader.tensor("number", held, node, Cut(Cause.ITEM, reader.spot(node), f"`{text}`"))


def isinstance_(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    if len(args) != 2:
        return UNKNOWN
    wanted = args[1].items if isinstance(args[1], Seq) else [args[1]]
    answers = {is_a(args[0], kind) for kind in wanted}
    if True in answers:
        return TRUE
    return FALSE if answers == {False} else UNKNOWN


def is_a(value: Value, kind: Value) -> bool | None:
    if isinstance(value, Union):
        answers = {is_a(option, kind) for option in value.options}
        return answers.pop() if len(answers) == 1 else None
    if isinstance(kind, Cls):
        if isinstance(value, Instance):
            if value.cls is not None:
                return kind.info in value.cls.lineage()[0]
            return None if value.opaque else False
        return False if isinstance(value, (Tensor, Param, Const, Seq, Dict)) else None
    if not isinstance(kind, External):
        return None
    name = kind.name.split(".")[-1]
    if isinstance(value, Instance):
        return _instance_is(value, kind.name, name)
    if isinstance(value, Param):
        return name in ("Parameter", "Tensor")
    if isinstance(value, Tensor):
        return name == "Tensor" if name in ("Tensor", "Parameter", "list", "tuple", "dict", "Module", "str") else None
    if isinstance(value, Seq):
        return value.kind == name if name in ("list", "tuple", "set", "dict", "str", "Tensor", "Module") else None
    if isinstance(value, Dict):
        return name == "dict" if name in ("dict", "list", "tuple", "Tensor", "str", "Module") else None
    if isinstance(value, Const):
        return type(value.value).__name__ == name if kind.name.startswith("builtins.") else False
    return None


def _instance_is(value: Instance, full: str, name: str) -> bool | None:
    if name == "Module" and value.is_module:
        return True
    if value.is_module and name in ("Parameter", "Tensor", "Buffer", "str", "int", "float", "Number"):
        return False
    outside = value.cls.lineage()[1] if value.cls else [value.external]
    if any(base.split(".")[-1] == name for base in outside):
        return True
    if name in ("_BatchNorm", "_NormBase") and any("BatchNorm" in base for base in outside):
        return True
    if value.part_of is not None or (value.opaque and not value.external.startswith("torch.nn.")):
        return None
    if name == "_ConvNd":
        return any(base.split(".")[-1].startswith("Conv") for base in outside)
    return False if full.startswith(("torch.nn.", "builtins.", "torch.")) or value.external else None


def hasattr_(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    if len(args) != 2 or not isinstance(args[1], Const):
        return UNKNOWN
    owner, name = args[0], str(args[1].value)
    if isinstance(owner, Instance) and owner.is_module and owner.cls is None and name == "requires_grad":
        return FALSE
    if isinstance(owner, Instance) and owner.cls is not None:
        known = name in owner.attrs or name in owner.params or owner.cls.method(name) or owner.cls.assigned(name)
        if known:
            return TRUE
        outside = [base for base in owner.cls.lineage()[1] if not base.endswith("nn.Module")]
        return UNKNOWN if outside or name in attributes.MODULE_METHODS else FALSE
    if isinstance(owner, Instance) and owner.external.startswith("torch.nn.") and not owner.opaque:
        return TRUE if name in owner.params or name in owner.attrs or name in attributes.MODULE_METHODS else UNKNOWN
    return UNKNOWN


def getattr_(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    if len(args) >= 2 and isinstance(args[1], Const):
        found = attributes.get_attribute(reader, args[0], str(args[1].value), node)
        if len(args) == 3 and isinstance(found, Method):
            joined: Value = reader.join([found, args[2]]) if args[2] != NONE else found
            return joined
        return found
    if args and isinstance(args[0], External):
        return External(f"{args[0].name}.*")
    if args and isinstance(args[0], Instance) and args[0].is_module:
        return modules.some_part(args[0], reader.spot(node))
    return UNKNOWN


def setattr_(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    if len(args) == 3 and isinstance(args[1], Const) and isinstance(args[1].value, str):
        value_node = node.args[2].value if isinstance(node, cst.Call) and len(node.args) == 3 else None
        objects.set_attribute(reader, args[0], args[1].value, args[2], node, value_node)
        return UNKNOWN
    if len(args) != 3 or not isinstance(args[0], Instance):
        return UNKNOWN
    if not isinstance(args[1], Const):
        owner = args[0]
        elements.register(reader, owner, args[2])
        if isinstance(args[2], Instance) and args[2].is_module:
            from freezelint.source.story import Replaced

            reader.emit(Replaced, node, owner, "*", UNKNOWN, args[2])
    return UNKNOWN


def type_(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    value = args[0] if args else UNKNOWN
    if isinstance(value, Instance):
        return Cls(value.cls) if value.cls else External(value.external)
    return UNKNOWN


def same_items(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    value = args[0] if args else UNKNOWN
    if isinstance(value, (Seq, ParamIter)):
        items = elements.elements(reader, value, node)
        return Seq(items, open=isinstance(value, Seq) and value.open)
    return value


def length(reader: Reader, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    value = args[0] if args else UNKNOWN
    if isinstance(value, Seq) and not value.open and not reader.arms and value.kind != "generator":
        return UNKNOWN if reader.loops else Const(len(value.items))
    return UNKNOWN


BUILTINS: dict[str, Any] = {
    "list": make_list,
    "tuple": make_list,
    "set": make_list,
    "sorted": same_items,
    "reversed": same_items,
    "dict": make_dict,
    "iter": make_iter,
    "range": make_range,
    "enumerate": enumerate_,
    "zip": zip_,
    "map": map_,
    "filter": filter_,
    "id": identity,
    "sum": sum_,
    "max": max_,
    "min": max_,
    "abs": max_,
    "pow": max_,
    "next": next_,
    "float": number,
    "int": number,
    "bool": number,
    "isinstance": isinstance_,
    "hasattr": hasattr_,
    "getattr": getattr_,
    "setattr": setattr_,
    "type": type_,
    "len": length,
}
