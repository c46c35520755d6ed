"""What names of a project stand for, and what writing an attribute does."""

from __future__ import annotations

from typing import Any

from freezelint.source import cst, library, modules, registries
from freezelint.source.project import ClassInfo, FunctionInfo, ModuleInfo, dotted
from freezelint.source.reader import Frame, Reader
from freezelint.source.story import AttributeSet, Replaced, TensorFlag
from freezelint.source.values import (
    UNKNOWN,
    Cls,
    Const,
    Data,
    External,
    Func,
    Instance,
    Loader,
    Object,
    Optimizer,
    Param,
    ParamIter,
    Seq,
    Tensor,
    Union,
    Value,
    options,
)
from freezelint.source.values import Project as ProjectModule

NAMED = (Optimizer, ParamIter)


def from_project(reader: Reader, found: Any, file: ModuleInfo) -> Value:
    """The value of what `ModuleInfo.resolve` found."""
    if isinstance(found, ClassInfo):
        return Cls(found)
    if isinstance(found, FunctionInfo):
        return Func(found)
    if isinstance(found, ModuleInfo):
        return ProjectModule(found)
    if isinstance(found, str):
        return External(found)
    if isinstance(found, cst.BaseExpression):
        return registries.top_level(reader, owner_of(found, file), found, file)
    return UNKNOWN


def owner_of(node: cst.BaseExpression, file: ModuleInfo) -> ModuleInfo:
    """The file whose top level assigns `node`; a name may have been imported from another."""
    return file.project.owner_of(node) or file


def in_module(reader: Reader, file: ModuleInfo, node: cst.BaseExpression) -> Value:
    """Evaluate an expression at the top level of a file."""
    from freezelint.source.expressions import evaluate

    frame = reader.module_frames.setdefault(file.path, Frame(file))
    if len(reader.frames) > 40:
        return UNKNOWN
    reader.frames.append(frame)
    try:
        return evaluate(reader, node)
    finally:
        reader.frames.pop()


def set_attribute(
    reader: Reader,
    owner: Value,
    name: str,
    value: Value,
    node: cst.CSTNode,
    value_node: cst.BaseExpression | None = None,
) -> None:
    old = owner.attrs.get(name, owner.params.get(name)) if isinstance(owner, Instance) else None
    reader.emit(AttributeSet, node, owner, name, value, old, node, value_node)
    if name == "requires_grad":
        set_requires_grad(reader, owner, value, "attribute", node)
    for option in owner.options if isinstance(owner, Union) else (owner,):
        if isinstance(option, Instance):
            setter = option.cls.setter(name) if option.cls is not None else None
            if setter is not None:
                from freezelint.source.calls import call_function

                call_function(reader, Func(setter, option), [value], {}, node)
            else:
                store(reader, option, name, value, node)
        elif isinstance(option, Object):
            reader.put(option.attrs, name, value)


def numbered(owner: Instance, name: str) -> bool:
    """Whether the name is the number of a child of a Sequential or ModuleList."""
    return name.isdigit() and owner.children is not None and int(name) < len(owner.children)


def store(reader: Reader, owner: Instance, name: str, value: Value, node: cst.CSTNode) -> None:
    """`owner.name = value` as nn.Module does it: modules and parameters are registered."""
    if numbered(owner, name):
        children = list(owner.children or ())
        reader.emit(Replaced, node, owner, name, children[int(name)], value)
        owner.children = [*children[: int(name)], value, *children[int(name) + 1 :]]
        return
    old = owner.attrs.get(name, owner.params.get(name))
    if isinstance(value, Instance) and not value.name:
        value.name = name
    if isinstance(value, NAMED) and not value.name:
        value.name = name
    if isinstance(old, (Instance, Param)) and isinstance(value, (Instance, Param, Tensor)) and old is not value:
        reader.emit(Replaced, node, owner, name, old, value)
    params = [option for option in options(value) if isinstance(option, Param)] if owner.is_module else []
    for number, param in enumerate(params):
        if param.owner is None:
            param.owner, param.name = owner, name
        if not param.label or "." not in param.label:
            param.label = f"{owner.name}.{name}" if owner.name else name
        reader.put(owner.params, f"{name}*{reader.fresh()}" if number else name, param)
    if not params and owner.is_module and name in owner.params:
        del owner.params[name]
    reader.put(owner.attrs, name, value)


def set_requires_grad(reader: Reader, target: Value, value: Value, via: str, node: cst.CSTNode) -> None:
    flag = bool(value.value) if isinstance(value, Const) else None
    for option in target.options if isinstance(target, Union) else (target,):
        if isinstance(option, Param):
            modules.set_flag(reader, option, [option], flag, via, node)
        elif isinstance(option, (Tensor, Data)):
            from freezelint.source import tensors

            tensors.flag_tensor(reader, option, flag, via, node)
        elif type(option) is Value:
            reader.emit(TensorFlag, node, option, flag, via, None, option)


def narrow(reader: Reader, test: cst.BaseExpression) -> list[tuple[str, Value]]:
    """What names must hold where `isinstance(name, nn.X)` is true."""
    if not (isinstance(test, cst.Call) and dotted(test.func) == "isinstance" and len(test.args) == 2):
        return []
    from freezelint.source.expressions import evaluate, lookup

    subject, wanted = test.args[0].value, evaluate(reader, test.args[1].value)
    if not isinstance(subject, cst.Name):
        return []
    held = lookup(reader, subject.value)
    first = wanted.items[0] if isinstance(wanted, Seq) and wanted.items else wanted
    if not isinstance(first, External) or not first.name.startswith("torch.nn.") or "Parameter" in first.name:
        return []
    if (isinstance(held, Instance) and held.part_of is not None) or type(held) is Value:
        new = Instance(external=first.name, is_module=True, opaque=True, spot=reader.spot(test))
        short = first.name.split(".")[-1]
        new.norm = "BatchNorm" in short or short in ("_BatchNorm", "_NormBase")
        if isinstance(held, Instance):
            new.part_of, new.params, new.name = held.part_of, held.params, held.name
            new.some, new.escaped = held.some, held.escaped
        return [(subject.value, new)]
    return []


def call_method(
    reader: Reader, owner: Instance, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value | None:
    """Call a method of a project class; None where it has no such method."""
    from freezelint.source.calls import call_function

    method = owner.cls.method(name) if owner.cls else None
    return call_function(reader, Func(method, owner), args, kwargs, node) if method else None


def told(parameter: cst.Param) -> str:
    """What a parameter says of its values: `module` and `parameter` by annotation, `data` by its name, else nothing."""
    annotation = parameter.annotation.annotation if parameter.annotation else None
    name = dotted(annotation) if annotation is not None else ""
    if name in ("nn.Module", "torch.nn.Module", "Module"):
        return "module"
    if name in ("nn.Parameter", "torch.nn.Parameter", "Parameter"):
        return "parameter"
    return "data" if library.DATA_NAMES.search(parameter.name.value) and not annotation else ""


def annotated(reader: Reader, parameter: cst.Param) -> Value:
    """A value for a parameter that nobody has given one: of the kind it tells, otherwise unknown."""
    kind, name = told(parameter), parameter.name.value
    if kind == "module":
        made = Instance(external="torch.nn.Module", is_module=True, opaque=True, norm=None, escaped=True)
        made.name, made.spot = name, reader.spot(parameter)
        made.params["*"] = modules.new_param(reader, "*", made, parameter, many=True)
        return made
    if kind == "parameter":
        return modules.new_param(reader, name, None, parameter)
    return Loader(name) if kind == "data" else UNKNOWN
