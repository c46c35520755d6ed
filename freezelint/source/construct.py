"""Objects made and modules called: `Class(...)`, `module(x)`."""

from __future__ import annotations

from freezelint.source import calls, cst, hf_trainer, library, modules, objects, registries, training
from freezelint.source.reader import MAX_DEPTH, Reader
from freezelint.source.story import ModuleCall
from freezelint.source.values import (
    UNKNOWN,
    Cls,
    Dict,
    Func,
    Instance,
    Partial,
    Seq,
    Tensor,
    Value,
    hides,
    parameters_of,
    tensors_in,
)


def construct(reader: Reader, callee: Cls, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    info = callee.info
    _, outside = info.lineage()
    new = Instance(info, is_module=info.is_module, spot=reader.spot(node), args=args, kwargs=kwargs)
    reader.subject = reader.subject or new
    new.depth = reader.open_loops
    if any(base.split(".")[-1] == "Function" and "autograd" in base for base in outside):
        return UNKNOWN
    if any(library.OPTIMIZER.match(base) for base in outside):
        return training.optimizer(reader, f"{info.name}", args, kwargs, node)
    inner = next((base for base in outside if base.split(".")[-1] in library.CONTAINERS), None)
    if inner and not info.method("__init__"):
        modules.fill_container(new, inner.split(".")[-1], args)
    elif inner:
        new.children = []
    if not new.is_module and registries.is_dict(info):
        new.wraps = Dict({}, UNKNOWN if args or kwargs or info.method("__init__") else None)
    new.external = outside[0] if outside else ""
    if new.is_module:
        base = outside[0].split(".")[-1] if outside else ""
        if base.startswith(library.NORMS_WITH_STATISTICS):
            new.norm = True
        if base != "Module" and not info.method("__init__"):
            library_base(reader, new, outside[0] if outside else "", kwargs, node)
    init = info.method("__init__")
    if init is not None:
        own = not reader.calls and init.file is info.file  # else it may not cost the story
        share = reader.budget if own else reader.budget // 3
        if not reader.within_budget(
            share, lambda: calls.call_function(reader, Func(init, new, info.outer), args, kwargs, node)
        ):
            new.opaque, new.norm = True, None
            new.params["*"] = modules.new_param(reader, "*", new, node, many=True)
    elif hf_trainer.is_trainer(new):
        hf_trainer.initialise(reader, new, args, kwargs, node)
    else:
        _dataclass(reader, new, args, kwargs)
    if new.is_module:
        modules.built(reader, new, node)
    return new


def library_base(reader: Reader, new: Instance, base: str, kwargs: dict[str, Value], node: cst.CSTNode) -> None:
    """The parameters a subclass gets from its base in torch.nn, or unknown ones from elsewhere."""
    if base.startswith("torch.nn."):
        made = modules.torch_module(reader, base, [], kwargs, node)
        new.params.update(made.params)
        reader.story.modules.remove(made)
    elif not base.endswith(("Module", "LightningModule")):
        new.params["*"] = modules.new_param(reader, "*", new, node, many=True)
        new.opaque = True


def _dataclass(reader: Reader, new: Instance, args: list[Value], kwargs: dict[str, Value]) -> None:
    if new.cls is None or new.is_module:
        return
    fields: list[str] = []
    for statement in new.cls.node.body.body:
        if isinstance(statement, cst.SimpleStatementLine):
            fields += [
                small.target.value
                for small in statement.body
                if isinstance(small, cst.AnnAssign) and isinstance(small.target, cst.Name)
            ]
    new.attrs.update(dict(zip(fields, args, strict=False)))
    new.attrs.update({key: value for key, value in kwargs.items() if key in fields})


def call_instance(
    reader: Reader, module: Instance, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    if not module.is_module:
        result = objects.call_method(reader, module, "__call__", args, kwargs, node)
        return result if result is not None else calls.unknown_call(reader, args, kwargs, node)
    if module.some and module.stands_in is None:
        return calls.unknown_call(reader, args, kwargs, node)
    module = module.stands_in or module
    values = [*args, *kwargs.values()]
    seq = reader.emit(ModuleCall, node, module, values, UNKNOWN)
    result = forward(reader, module, args, kwargs, node)
    for hook in module.hooks:
        changed = calls.call(reader, hook, [module, Seq(list(args), kind="tuple"), result], {}, node)
        result = changed if isinstance(changed, Tensor) else result
    seq.result = result
    return result


def forward(reader: Reader, module: Instance, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    values = [*args, *kwargs.values()]
    if module.wraps is not None:
        return calls.call(reader, module.wraps, args, kwargs, node)
    replaced = module.attrs.get("forward")
    if isinstance(replaced, (Func, Partial)) and len(reader.calls) < MAX_DEPTH:
        return calls.call(reader, replaced, args, kwargs, node)
    method = (module.cls.method("__call__") or module.cls.method("forward")) if module.cls else None
    if method is not None and method.name == "__call__" and reader.calls.count(method):
        method = module.cls.method("forward") if module.cls else None  # `super().__call__(x)`
    if method is not None and len(reader.calls) < MAX_DEPTH and reader.calls.count(method) < 2:
        return calls.call_function(
            reader, Func(method, module, module.cls.outer if module.cls else None), args, kwargs, node
        )
    of_some_length = module.external == "torch.nn.Sequential"  # opaque where its list is: one child stands for more
    if module.children and (not module.opaque or of_some_length) and method is None:
        result: Value = args[0] if args else UNKNOWN
        for child in module.children:
            result = calls.call(reader, child, [result, *args[1:]] if result is args[0] else [result], {}, node)
        return result
    if module.external.endswith("nn.Identity") and args:
        return args[0]
    short = module.external.split(".")[-1]
    known = module.external.startswith("torch.nn.") and not module.cls
    params = parameters_of(module) if module.is_module else []
    label = module.name or short
    name = f"{label}({', '.join('…' for _ in args)})" if not known else label
    held = [*params, *(t for value in values for t in tensors_in(value))]
    unseen = any(hides(value) for value in args)
    if held or params or known:
        out = reader.tensor(name, held, node, sure=True, unknown=unseen)
        if short in library.RECURRENT and known:
            return Seq([out, out], kind="tuple")
        return out
    return reader.tensor(name, held, node, unknown=unseen)
