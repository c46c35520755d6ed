"""Calls: of project functions and classes, of modules, and of what a library offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from freezelint.source import (
    autograd_calls,
    builtin_calls,
    construct,
    container_methods,
    cst,
    decorators,
    elements,
    expressions,
    modules,
    statements,
    tensors,
    torch_calls,
    training,
)
from freezelint.source.project import FunctionInfo, dotted
from freezelint.source.reader import MAX_DEPTH, Frame, Reader
from freezelint.source.recall import again, recalled
from freezelint.source.story import Called, Mode, ModeChange, Spot
from freezelint.source.values import (
    FLAT,
    NONE,
    UNKNOWN,
    Cls,
    Const,
    Data,
    Dict,
    External,
    Func,
    Instance,
    Loader,
    Manager,
    Method,
    Object,
    Optimizer,
    Option,
    Param,
    ParamIter,
    Partial,
    Seq,
    Super,
    Tensor,
    Union,
    Value,
    modules_in,
    parameters_of,
    tensors_in,
)


def call_node(reader: Reader, node: cst.Call) -> Value:
    if type(node.func) is cst.Name and node.func.value == "super":
        return super_value(reader)
    callee = expressions.evaluate(reader, node.func)
    args, kwargs = arguments(reader, node)
    return call(reader, callee, args, kwargs, node)


def super_value(reader: Reader) -> Value:
    frame: Frame | None = reader.frame
    while frame is not None:
        if frame.info is not None and frame.info.owner is not None and isinstance(frame.self_value, Instance):
            return Super(frame.self_value, frame.info.owner)
        frame = frame.parent
    return UNKNOWN


def arguments(reader: Reader, node: cst.Call) -> tuple[list[Value], dict[str, Value]]:
    args: list[Value] = []
    kwargs: dict[str, Value] = {}
    for arg in node.args:
        value = expressions.evaluate(reader, arg.value)
        if not arg.star:
            if arg.keyword is None:
                args.append(value)
            else:
                kwargs[arg.keyword.value] = value
            continue
        loose = isinstance(value, Seq) and (value.open or value.grown)
        if arg.star == "*" and loose and dotted(node.func).endswith("Sequential"):
            args.append(value)  # how many there are is not known
        elif arg.star == "*":
            args += elements.elements(reader, value, arg.value)
        else:
            if isinstance(value, Dict):
                kwargs.update({str(key): item for key, item in value.items.items()})
            rest = value.rest if isinstance(value, Dict) else value
            if rest is not None:
                kwargs["**"] = rest if isinstance(rest, Data) else Option()
    return args, kwargs


def call(reader: Reader, callee: Value, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    handler = CALLS.get(type(callee))
    if handler is not None:
        value: Value = handler(reader, callee, args, kwargs, node)
        return value
    result = unknown_call(reader, args, kwargs, node)
    reader.emit(Called, node, "", callee, args, kwargs, result)
    return result


def unknown_call(
    reader: Reader, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode, *, unread: bool | None = None
) -> Value:
    """A call nobody can look into: it may keep the gradient of its arguments or not, and do anything to modules.

    `unread`: of a function of the project whose body is not followed again, whether that switches anything.
    """
    for module in (m for value in args for m in modules.switched_by(value)):
        modules.set_flag(reader, module, parameters_of(module), None, "handed", node)
    values = [value for value in (*args, *kwargs.values()) if type(value) not in FLAT]
    if not values:
        return UNKNOWN
    given = [m for value in values for m in modules_in(value)]
    reader.escape(given)
    if unread is not False:
        modules.handed(reader, given, node, unread=unread is True)
    for value in values:
        if isinstance(value, ParamIter):
            elements.consume(reader, value, node, "call")
    held = [t for value in values for t in tensors_in(value)]
    if held and all(isinstance(t, Data) for t in held):
        made = reader.data("data", node)
        reader.map.edge(reader.unknown_source(), made.node, sure=False)
        return made
    if held:
        return reader.tensor("unknown call", held, node, sure=False, unknown=True)
    return UNKNOWN


def call_union(reader: Reader, callee: Union, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    results: list[Value] = []

    def arm(option: Value) -> Callable[[], None]:
        return lambda: results.append(call(reader, option, args, kwargs, node))

    choices = [option for option in callee.options if option != NONE]
    kinds = {option.info for option in choices if isinstance(option, Cls)}
    if len(kinds) > 1:  # a class stands for its subclasses in a table of models
        choices = [o for o in choices if not isinstance(o, Cls) or not kinds.intersection(o.info.lineage()[0][1:])]
    if len(choices) == 1:
        return call(reader, choices[0], args, kwargs, node)
    reader.fork(reader.fresh(), [(i, arm(option)) for i, option in enumerate(choices)])
    joined: Value = reader.join(results or [UNKNOWN])
    return joined


def call_partial(
    reader: Reader, callee: Partial, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    return call(reader, callee.function, [*callee.args, *args], {**callee.kwargs, **kwargs}, node)


def call_func(reader: Reader, callee: Func, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    if callee.info.decorated("contextmanager"):
        return Partial(callee, args, kwargs)
    return call_function(reader, callee, args, kwargs, node)


def local_function(reader: Reader, node: cst.FunctionDef) -> FunctionInfo:
    file = reader.frame.file
    known = file.functions.get(node.name.value)
    if known is not None and known.node is node:
        return known
    cache = reader.story.__dict__.setdefault("local_functions", {})
    if id(node) not in cache:
        cache[id(node)] = FunctionInfo(node.name.value, node, file)
    return cache[id(node)]  # type: ignore[no-any-return]


def call_function(reader: Reader, func: Func, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    """Read the body of a project function with these arguments."""
    info = func.info
    if len(reader.calls) >= MAX_DEPTH or reader.calls.count(info) > 1:
        return unknown_call(reader, args, kwargs, node, unread=modules.switches(info.file.code(info.node)))
    owner = func.owner
    frame = Frame(info.file, info=info, parent=func.env, self_value=owner)
    bind_parameters(reader, frame, func, [owner, *args] if owner is not None else list(args), kwargs)
    if again(reader, func, frame.env):
        return unknown_call(reader, args, kwargs, node, unread=modules.switches(info.file.code(info.node)))
    frame.given = dict(frame.env)
    modes = decorators.modes(reader, func)
    reader.seen.add(info)
    site = reader.spot(node)
    if info.name == "__init__" and reader.calls and reader.frame.self_value is owner and info.file is not site.file:
        made: list[Value] = []  # the constructor of a base in another file: it may not cost the story
        reader.lasting += 1
        reader.within_budget(reader.budget // 3, lambda: made.append(_run(reader, frame, modes, site)))
        return made[0] if made else UNKNOWN
    return recalled(reader, frame, lambda: _run(reader, frame, modes, site))


def _run(reader: Reader, frame: Frame, modes: list[Mode], site: Spot) -> Value:
    info = frame.info
    assert info is not None
    reader.calls.append(info)
    reader.sites.append(site)
    reader.frames.append(frame)
    before = reader.state["mode"]
    try:
        for mode in modes:
            reader.set_mode(mode)
            if mode.spot:
                reader.emit(ModeChange, mode.spot, mode, "decorator")
        if isinstance(info.node, cst.Lambda):
            frame.returns.append(expressions.evaluate(reader, info.node.body))
        else:
            with reader.scope():
                status = statements.block(reader, info.node.body)
            if status is None:
                frame.returns.append(NONE)
    finally:
        reader.frames.pop()
        reader.calls.pop()
        reader.sites.pop()
        if modes:
            reader.set_mode(before)
    if frame.yields:
        params = elements.params_in(frame.yields)
        if params:
            return ParamIter(list(dict.fromkeys(frame.yields)), spot=reader.spot(info.node))
        return Seq(list(frame.yields), open=True, kind="generator")
    returns = [value for value in frame.returns if value != NONE] if len(frame.returns) > 1 else frame.returns
    if len(returns) < len(frame.returns) and not any(isinstance(v, (Tensor, Data)) for v in returns):
        returns = frame.returns
    joined: Value = reader.join(merge_sequences(reader, returns) or [NONE])
    return joined


def merge_sequences(reader: Reader, values: list[Value]) -> list[Value]:
    """Tuples of one length returned on several paths become one tuple of joined elements."""
    if len(values) < 2 or not all(isinstance(v, Seq) and v.kind == "tuple" and not v.open for v in values):
        return values
    rows = [v.items for v in values if isinstance(v, Seq)]
    if len({len(row) for row in rows}) != 1:
        return values
    return [Seq([reader.join([row[i] for row in rows]) for i in range(len(rows[0]))], kind="tuple")]


def bind_parameters(reader: Reader, frame: Frame, func: Func, args: list[Value], kwargs: dict[str, Value]) -> None:
    node = func.info.node
    left = dict(kwargs)
    more = left.pop("**", None)
    names = [*node.params.posonly_params, *node.params.params]
    for parameter in names:
        name = parameter.name.value
        if args:
            frame.env[name] = args.pop(0)
            left.pop(name, None)
        else:
            frame.env[name] = left.pop(name) if name in left else default(reader, func, parameter, more)
    if isinstance(node.params.star_arg, cst.Param):
        frame.env[node.params.star_arg.name.value] = Seq(args, kind="tuple")
    for parameter in node.params.kwonly_params:
        name = parameter.name.value
        frame.env[name] = left.pop(name) if name in left else default(reader, func, parameter, more)
    if node.params.star_kwarg is not None:
        frame.env[node.params.star_kwarg.name.value] = Dict(dict(left), more)


def default(reader: Reader, func: Func, parameter: cst.Param, more: Value | None) -> Value:
    """What a parameter nobody gave holds; `more`: a batch or settings of unknown keys that may give it (`**batch`)."""
    if parameter.name.value in func.defaults:
        return func.defaults[parameter.name.value]
    if parameter.default is None:
        return more if isinstance(more, Data) else UNKNOWN
    reader.frames.append(Frame(func.info.file))
    try:
        found = expressions.evaluate(reader, parameter.default)
    finally:
        reader.frames.pop()
    if more is not None and found == NONE:
        return more if isinstance(more, Data) else UNKNOWN
    return found


def with_generator(
    reader: Reader,
    func: Func,
    args: list[Value],
    kwargs: dict[str, Value],
    node: cst.CSTNode,
    target: cst.CSTNode | None,
    rest: Callable[[], str | None],
) -> str | None:
    """`with project_context_manager(...)`: its body, with the block read where it yields."""
    if len(reader.calls) >= MAX_DEPTH or reader.calls.count(func.info) > 1:
        return rest()
    outer_frames = len(reader.frames)
    status: list[str | None] = [None]

    def body() -> None:
        inner = reader.frames[outer_frames:]
        del reader.frames[outer_frames:]
        mine, site = reader.calls.pop(), reader.sites.pop()
        try:
            if target is not None:
                statements.bind(reader, target, inner[-1].yields[-1] if inner[-1].yields else UNKNOWN)
            mode = reader.mode
            reader.set_mode(decorators.seen_from_use(mode, func.info, reader.spot(node)))
            status[0] = rest()
            reader.set_mode(mode)
        finally:
            reader.calls.append(mine)
            reader.sites.append(site)
            reader.frames += inner

    frame = Frame(func.info.file, info=func.info, parent=func.env, self_value=func.owner, on_yield=body)
    bind_parameters(reader, frame, func, [func.owner, *args] if func.owner is not None else list(args), kwargs)
    reader.seen.add(func.info)
    reader.lasting += 1
    _run(reader, frame, decorators.modes(reader, func), reader.spot(node))
    return status[0]


# -- making and calling objects --------------------------------------------------------------------------------------


def call_method_value(
    reader: Reader, callee: Method, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    """`owner.name(...)` where the project does not define `name`."""
    owner, name = callee.owner, callee.name
    handler = METHODS.get(type(owner))
    if handler is not None:
        value: Value = handler(reader, owner, name, args, kwargs, node)
        return value
    return unknown_method(reader, owner, name, args, kwargs, node)


def unknown_method(
    reader: Reader, owner: Value, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    result = torch_calls.on_unknown(reader, owner, name, args, kwargs, node)
    if result is not None:
        return result
    registered = isinstance(owner, Method) and owner.name == "_modules" and name in ("items", "values")
    if registered and isinstance(owner, Method) and isinstance(owner.owner, Instance):
        return elements.module_parts(reader, owner.owner, named=name == "items", children=True)
    made = unknown_call(reader, args, kwargs, node)
    reader.emit(Called, node, name, owner, args, kwargs, made)
    return made


def external_call(
    reader: Reader, callee: External, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    if callee.name.startswith("builtins."):
        return builtin_calls.call(reader, callee.name[9:], args, kwargs, node)
    return torch_calls.call(reader, callee.name, args, kwargs, node)


def super_call(reader: Reader, callee: Super, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    return UNKNOWN


CALLS: dict[type, Any] = {
    Tensor: tensors.called,
    Union: call_union,
    Func: call_func,
    Partial: call_partial,
    Cls: construct.construct,
    External: external_call,
    Method: call_method_value,
    Instance: construct.call_instance,
    Super: super_call,
}

METHODS: dict[type, Any] = {
    Tensor: tensors.method,
    Param: tensors.method,
    Data: tensors.data_method,
    Instance: torch_calls.module_method,
    Optimizer: training.optimizer_method,
    Object: training.object_method,
    Seq: container_methods.sequence_method,
    Dict: container_methods.dict_method,
    Const: container_methods.const_method,
    Loader: container_methods.loader_method,
    Manager: autograd_calls.context_method,
}
