"""Attributes, elements and iteration of abstract values."""

from __future__ import annotations

from typing import Any

from freezelint.gradient_map import Cause, Cut, Kind
from freezelint.source import cst, library, modules, registries, stand_ins
from freezelint.source.project import ClassInfo, FunctionInfo, ModuleInfo, dotted
from freezelint.source.reader import Frame, Reader
from freezelint.source.story import AttributeSet, GradRead, Replaced, TensorFlag
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
    Grad,
    Instance,
    Loader,
    Method,
    Object,
    Optimizer,
    Param,
    ParamIter,
    Seq,
    Super,
    Tensor,
    Union,
    Value,
    options,
)
from freezelint.source.values import Project as ProjectModule

NAMED = (Optimizer, ParamIter)
FLOWING = frozenset(
    "T mT H real imag values indices grad_fn logits last_hidden_state hidden_states pooler_output image_embeds "
    "text_embeds sample prediction_logits seq_relationship_logits start_logits end_logits loss".split()
)
MODULE_METHODS = frozenset(
    "parameters named_parameters buffers modules named_modules children named_children train eval requires_grad_ "
    "zero_grad to cuda cpu float half double bfloat16 apply state_dict load_state_dict register_buffer "
    "register_parameter add_module register_module register_forward_hook register_forward_pre_hook append extend "
    "insert get_submodule get_parameter items keys values update backward step share_memory type forward".split()
)


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


def get_attribute(reader: Reader, owner: Value, name: str, node: cst.CSTNode) -> Value:
    if type(owner) is Value:
        if name == "grad":
            reader.emit(GradRead, node, owner, None)
        return Method(owner, name)
    if type(owner) is Instance:
        return instance_attribute(reader, owner, name, node)
    if isinstance(owner, Union):
        found = [get_attribute(reader, option, name, node) for option in owner.options if option != NONE]
        real = [value for value in found if type(value) is not Value and not _absent(value, name)]
        joined: Value = reader.join(
            real or [value for value in found if type(value) is not Value] or found[:1] or [UNKNOWN]
        )
        return joined
    if isinstance(owner, (Tensor, Data, Param)):
        return tensor_attribute(reader, owner, name, node)
    if isinstance(owner, External):
        return External(f"{owner.name}.{name}")
    if isinstance(owner, ProjectModule):
        found_ = owner.info.resolve(name)
        return from_project(reader, found_, owner.info) if found_ is not None else UNKNOWN
    if name == "__name__" and isinstance(owner, (Cls, Func)):
        return Const(owner.info.name)
    if isinstance(owner, Cls):
        return class_attribute(reader, owner.info, name, owner)
    if isinstance(owner, Super):
        lineage = owner.owner.cls.lineage()[0] if owner.owner.cls else []
        rest = lineage[lineage.index(owner.after) + 1 :] if owner.after in lineage else []
        info = next((c.methods[name] for c in rest if name in c.methods), None)
        return Func(info, owner.owner) if info else Method(owner.owner, name)
    if isinstance(owner, Object) and name in owner.attrs:
        return owner.attrs[name]
    if isinstance(owner, Grad) and name == "data":
        return owner
    if isinstance(owner, Object) and owner.external == "namespace":
        return UNKNOWN
    if isinstance(owner, Seq) and name in ("values", "indices") and len(owner.items) == 2:  # of max, topk, sort
        return owner.items[name == "indices"]
    if isinstance(owner, Optimizer) and name == "param_groups":
        return Seq([Dict({"params": Seq(list(owner.params))}, UNKNOWN)], open=True)
    if isinstance(owner, Dict) and name in owner.items:
        return owner.items[name]
    return Method(owner, name)


def _absent(value: Value, name: str) -> bool:
    """Whether this stands for an attribute that a module of the project does not have: reading it would raise."""
    owner = value.owner if isinstance(value, Method) else None
    if not isinstance(owner, Instance) or not owner.is_module or owner.opaque or owner.cls is None:
        return False
    plain = all(base.endswith("nn.Module") for base in owner.cls.lineage()[1])
    return plain and not name.startswith("_") and name not in MODULE_METHODS and not owner.cls.method("__getattr__")


def instance_attribute(reader: Reader, owner: Instance, name: str, node: cst.CSTNode) -> Value:
    if name in owner.attrs:
        return owner.attrs[name]
    if name in owner.params:
        return owner.params[name]
    if numbered(owner, name):
        element = (owner.children or [UNKNOWN])[int(name)]
        return stand_ins.one_of(element) if stand_ins.uncounted(owner) else element
    if name == "training" and owner.is_module:
        return training_now(reader, owner)
    if owner.cls is not None:
        found = class_attribute(reader, owner.cls, name, owner)
        if type(found) is not Value:
            return found
        if name == "__class__":
            return Cls(owner.cls)
    if isinstance(owner.wraps, Dict):
        return Method(owner.wraps, name)
    if owner.wraps is not None and name == "module":
        return owner.wraps
    if name in MODULE_METHODS and owner.is_module:
        return Method(owner, name)
    if owner.is_module and (owner.opaque or modules.whole(owner, name)) and not owner.cls:
        child = modules.opaque_child(reader, owner, name, node)
        if child is not None:
            return child
    if owner.wraps is not None and isinstance(owner.wraps, Instance):
        return get_attribute(reader, owner.wraps, name, node)
    return Method(owner, name)


def training_now(reader: Reader, owner: Instance) -> Value:
    """`self.training` of a module the program made; of one that is looked at on its own nobody can tell."""
    if reader.story.entry in reader.story.file.classes:
        return UNKNOWN
    context = reader.context()
    state: bool | None = True
    for _, flag, made_in, _ in owner.modes:
        if context.excludes(made_in):
            continue
        if context.implies(made_in):
            state = flag
        elif flag != state:
            state = None
    return UNKNOWN if state is None else (TRUE if state else FALSE)


def class_attribute(reader: Reader, info: ClassInfo, name: str, owner: Value) -> Value:
    method = info.method(name)
    if method is not None:
        from freezelint.source.calls import call_function

        if method.decorated("property", "cached_property") and isinstance(owner, Instance):
            return call_function(reader, Func(method, owner), [], {}, method.node)
        if method.decorated("staticmethod"):
            return Func(method)
        if method.decorated("classmethod"):
            return Func(method, Cls(info))
        return Func(method, owner if isinstance(owner, Instance) else None, info.outer)
    assigned = info.assigned(name)
    if assigned is not None:
        return in_module(reader, assigned[0].file, assigned[1])
    return UNKNOWN


def tensor_attribute(reader: Reader, owner: Value, name: str, node: cst.CSTNode) -> Value:
    if name == "grad":
        reader.emit(GradRead, node, owner, reader.node_of(owner))
        return Grad(owner) if isinstance(owner, Param) else UNKNOWN
    if name == "requires_grad":
        return grad_state(reader, owner)
    if name == "data":
        cut = Cut(Cause.DATA, reader.spot(node), "`.data`")
        return Data(owner.node, owner.spot) if isinstance(owner, Data) else reader.tensor("data", [owner], node, cut)
    if isinstance(owner, Data):
        return Method(owner, name) if name not in FLOWING else owner
    if name in FLOWING:
        return reader.tensor(name, [owner], node)
    return Method(owner, name)


def grad_state(reader: Reader, owner: Value) -> Value:
    if isinstance(owner, Param):
        if owner.many and (owner.owner is None or owner.owner.escaped):
            return UNKNOWN
        state = state_now(reader, owner)
        return UNKNOWN if state is None else (TRUE if state else FALSE)
    return tensor_grad_state(reader, owner)


def tensor_grad_state(reader: Reader, owner: Value) -> Value:
    """`x.requires_grad`: true where a gradient surely comes from, false for what depends on nothing but data."""
    from freezelint.source.autograd_calls import requires_grad

    node = reader.node_of(owner)
    asks = requires_grad(reader, owner) if node is not None and reader.mode.flag else None
    if asks is None or node is None:
        return UNKNOWN
    kinds = {reader.map.nodes[i].kind for i in reader.map.behind([node])}
    if not asks and kinds & {Kind.PARAMETER, Kind.UNKNOWN}:
        return UNKNOWN
    return TRUE if asks else FALSE


def state_now(reader: Reader, param: Param) -> bool | None:
    """requires_grad of a parameter at this point of the reading."""
    context = reader.context()
    state: bool | None = param.born
    for _, flag, made_in, _ in param.flags:
        if context.excludes(made_in):
            continue
        if context.implies(made_in):
            state = flag
        elif flag != state:
            state = None
    return state


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
        return [(subject.value, new)]
    return []


def call_method(
    reader: Reader, owner: Instance, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value | None:
    """Call a method of a project class; None where it has no such method."""
    from freezelint.source.calls import call_function

    method = owner.cls.method(name) if owner.cls else None
    return call_function(reader, Func(method, owner), args, kwargs, node) if method else None


def annotated(reader: Reader, info: FunctionInfo, parameter: cst.Param) -> Value:
    """What the annotation of a parameter tells: a module, a parameter; otherwise unknown, data by its name."""
    annotation = parameter.annotation.annotation if parameter.annotation else None
    name = dotted(annotation) if annotation is not None else ""
    if name in ("nn.Module", "torch.nn.Module", "Module"):
        made = Instance(external="torch.nn.Module", is_module=True, opaque=True, norm=None, escaped=True)
        made.name, made.spot = parameter.name.value, reader.spot(parameter)
        made.params["*"] = modules.new_param(reader, "*", made, parameter, many=True)
        return made
    if name in ("nn.Parameter", "torch.nn.Parameter", "Parameter"):
        return modules.new_param(reader, parameter.name.value, None, parameter)
    if library.DATA_NAMES.search(parameter.name.value) and not annotation:
        return Loader(parameter.name.value)
    return UNKNOWN
