"""Reading attributes, by the kind of value they are read of."""

from __future__ import annotations

from typing import Any

from freezelint.gradient_map import Cause, Cut, Kind
from freezelint.source import cst, modules, objects, stand_ins
from freezelint.source.project import ClassInfo
from freezelint.source.reader import Reader
from freezelint.source.story import GradRead, state_in
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
    Method,
    Object,
    Optimizer,
    Param,
    Seq,
    Super,
    Tensor,
    Union,
    Value,
    submodules,
)
from freezelint.source.values import Project as ProjectModule

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


def get_attribute(reader: Reader, owner: Value, name: str, node: cst.CSTNode) -> Value:
    handler = ATTRIBUTES.get(type(owner))
    found: Value = Method(owner, name) if handler is None else handler(reader, owner, name, node)
    return found


def of_unknown(reader: Reader, owner: Value, name: str, node: cst.CSTNode) -> Value:
    if name == "grad":
        reader.emit(GradRead, node, owner, None)
    return Method(owner, name)


def of_union(reader: Reader, owner: Union, name: str, node: cst.CSTNode) -> Value:
    found = [get_attribute(reader, option, name, node) for option in owner.options if option != NONE]
    known = [value for value in found if type(value) is not Value]
    real = [value for value in known if not _absent(value, name)]
    joined: Value = reader.join(real or known or found[:1] or [UNKNOWN])
    return joined


def of_external(reader: Reader, owner: External, name: str, node: cst.CSTNode) -> Value:
    return External(f"{owner.name}.{name}")


def of_file(reader: Reader, owner: ProjectModule, name: str, node: cst.CSTNode) -> Value:
    found = owner.info.resolve(name)
    return objects.from_project(reader, found, owner.info) if found is not None else UNKNOWN


def of_function(reader: Reader, owner: Func, name: str, node: cst.CSTNode) -> Value:
    return Const(owner.info.name) if name == "__name__" else Method(owner, name)


def of_class(reader: Reader, owner: Cls, name: str, node: cst.CSTNode) -> Value:
    return Const(owner.info.name) if name == "__name__" else class_attribute(reader, owner.info, name, owner)


def of_super(reader: Reader, owner: Super, name: str, node: cst.CSTNode) -> Value:
    lineage = owner.owner.cls.lineage()[0] if owner.owner.cls else []
    rest = lineage[lineage.index(owner.after) + 1 :] if owner.after in lineage else []
    info = next((c.methods[name] for c in rest if name in c.methods), None)
    return Func(info, owner.owner) if info else Method(owner.owner, name)


def of_object(reader: Reader, owner: Object, name: str, node: cst.CSTNode) -> Value:
    if name in owner.attrs:
        return owner.attrs[name]
    return UNKNOWN if owner.external == "namespace" else Method(owner, name)


def of_grad(reader: Reader, owner: Grad, name: str, node: cst.CSTNode) -> Value:
    return owner if name == "data" else Method(owner, name)


def of_sequence(reader: Reader, owner: Seq, name: str, node: cst.CSTNode) -> Value:
    if name in ("values", "indices") and len(owner.items) == 2:  # of max, topk, sort
        return owner.items[name == "indices"]
    return Method(owner, name)


def of_optimizer(reader: Reader, owner: Optimizer, name: str, node: cst.CSTNode) -> Value:
    if name == "param_groups":
        return Seq([Dict({"params": Seq(list(owner.params))}, UNKNOWN)], open=True)
    return Method(owner, name)


def of_dict(reader: Reader, owner: Dict, name: str, node: cst.CSTNode) -> Value:
    return owner.items[name] if name in owner.items else Method(owner, name)


def _absent(value: Value, name: str) -> bool:
    """Whether this stands for an attribute that a module of the project does not have: reading it would raise."""
    owner = value.owner if isinstance(value, Method) else None
    if not isinstance(owner, Instance) or not owner.is_module or owner.opaque or owner.cls is None:
        return False
    plain = all(base.endswith("nn.Module") for base in owner.cls.lineage()[1])
    return plain and not name.startswith("_") and name not in MODULE_METHODS and not owner.cls.method("__getattr__")


def instance_attribute(reader: Reader, owner: Instance, name: str, node: cst.CSTNode) -> Value:
    if owner.some and owner.part_of is not None and (name in ("weight", "bias") or _inside(owner, name)):
        modules.handed(reader, [owner], node)
        return UNKNOWN
    if name in owner.attrs:
        return owner.attrs[name]
    if name in owner.params:
        return owner.params[name]
    if objects.numbered(owner, name):
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


def _inside(owner: Instance, name: str) -> bool:
    """Whether some part of a module has a part or parameter of that name."""
    return any(name in part.attrs or name in part.params for part in submodules(owner))


def training_now(reader: Reader, owner: Instance) -> Value:
    """`self.training` of a module the program made; of one that is looked at on its own nobody can tell."""
    if reader.story.entry in reader.story.file.classes:
        return UNKNOWN
    state = state_in(reader.context(), True, owner.modes)
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
        return objects.in_module(reader, assigned[0].file, assigned[1])
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
    return state_in(reader.context(), param.born, param.flags)


ATTRIBUTES: dict[type, Any] = {
    Value: of_unknown,
    Instance: instance_attribute,
    Union: of_union,
    Tensor: tensor_attribute,
    Data: tensor_attribute,
    Param: tensor_attribute,
    External: of_external,
    ProjectModule: of_file,
    Func: of_function,
    Cls: of_class,
    Super: of_super,
    Object: of_object,
    Grad: of_grad,
    Seq: of_sequence,
    Optimizer: of_optimizer,
    Dict: of_dict,
}
