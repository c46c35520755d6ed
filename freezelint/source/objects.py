"""Attributes, elements and iteration of abstract values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import libcst as cst

from freezelint.gradient_map import Cause, Cut
from freezelint.source import library, modules
from freezelint.source.project import ClassInfo, FunctionInfo, ModuleInfo, dotted
from freezelint.source.reader import Frame, Reader
from freezelint.source.story import AttributeSet, Consumed, GradRead, Replaced, TensorFlag
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
    direct_children,
    named_parameters,
    parameters_of,
    submodules,
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
        return in_module(reader, owner_of(found, file), found)
    return UNKNOWN


def owner_of(node: cst.BaseExpression, file: ModuleInfo) -> ModuleInfo:
    """The file whose top level assigns `node`; a name may have been imported from another."""
    for candidate in [file, *(info for info in file.project._files.values() if info is not None)]:
        if any(value is node for value in candidate.assigns.values()):
            return candidate
    return file


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
    if isinstance(owner, Union):
        found = [get_attribute(reader, option, name, node) for option in owner.options if option != NONE]
        joined: Value = reader.join([value for value in found if type(value) is not Value] or found[:1] or [UNKNOWN])
        return joined
    if isinstance(owner, Instance):
        return instance_attribute(reader, owner, name, node)
    if isinstance(owner, (Tensor, Data, Param)):
        return tensor_attribute(reader, owner, name, node)
    if isinstance(owner, External):
        return External(f"{owner.name}.{name}")
    if isinstance(owner, ProjectModule):
        found_ = owner.info.resolve(name)
        return from_project(reader, found_, owner.info) if found_ is not None else UNKNOWN
    if isinstance(owner, Cls):
        return class_attribute(reader, owner.info, name, owner)
    if isinstance(owner, Super):
        lineage = owner.owner.cls.lineage()[0] if owner.owner.cls else []
        rest = lineage[lineage.index(owner.after) + 1 :] if owner.after in lineage else []
        info = next((c.methods[name] for c in rest if name in c.methods), None)
        return Func(info, owner.owner) if info else Method(owner.owner, name)
    if isinstance(owner, Object) and name in owner.attrs:
        return owner.attrs[name]
    if isinstance(owner, Object) and owner.external == "namespace":
        return UNKNOWN
    if isinstance(owner, Seq) and name in ("values", "indices") and len(owner.items) == 2:  # of max, topk, sort
        return owner.items[name == "indices"]
    if type(owner) is Value and name == "grad":
        reader.emit(GradRead, node, owner, None)
    if isinstance(owner, Optimizer) and name == "param_groups":
        return Seq([Dict({"params": Seq(list(owner.params))}, UNKNOWN)], open=True)
    if isinstance(owner, Dict) and name in owner.items:
        return owner.items[name]
    return Method(owner, name)


def instance_attribute(reader: Reader, owner: Instance, name: str, node: cst.CSTNode) -> Value:
    if name in owner.attrs:
        return owner.attrs[name]
    if name in owner.params:
        return owner.params[name]
    if name == "training" and owner.is_module:
        return UNKNOWN
    if owner.cls is not None:
        found = class_attribute(reader, owner.cls, name, owner)
        if type(found) is not Value:
            return found
        if name == "__class__":
            return Cls(owner.cls)
    if owner.wraps is not None and name == "module":
        return owner.wraps
    if name in MODULE_METHODS and owner.is_module:
        return Method(owner, name)
    if owner.is_module and owner.opaque and not owner.cls:
        child = modules.opaque_child(reader, owner, name, node)
        if child is not None:
            return child
    if owner.wraps is not None and isinstance(owner.wraps, Instance):
        return get_attribute(reader, owner.wraps, name, node)
    return Method(owner, name)


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
        return UNKNOWN
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
        if owner.many:
            return UNKNOWN
        state = state_now(reader, owner)
        return UNKNOWN if state is None else (TRUE if state else FALSE)
    return UNKNOWN


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
            store(reader, option, name, value, node)
        elif isinstance(option, Object):
            reader.put(option.attrs, name, value)


def store(reader: Reader, owner: Instance, name: str, value: Value, node: cst.CSTNode) -> None:
    """`owner.name = value` as nn.Module does it: modules and parameters are registered."""
    old = owner.attrs.get(name, owner.params.get(name))
    if isinstance(value, Instance) and not value.name:
        value.name = name
    if isinstance(value, NAMED) and not value.name:
        value.name = name
    if isinstance(old, (Instance, Param)) and isinstance(value, (Instance, Param, Tensor)) and old is not value:
        reader.emit(Replaced, node, owner, name, old, value)
    if isinstance(value, Param) and owner.is_module:
        if value.owner is None:
            value.owner, value.name = owner, name
        if not value.label or "." not in value.label:
            value.label = f"{owner.name}.{name}" if owner.name else name
        reader.put(owner.params, name, value)
    elif owner.is_module and name in owner.params:
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


def set_item(reader: Reader, owner: Value, node: cst.Subscript, value: Value) -> None:
    from freezelint.source.expressions import evaluate

    keys = [evaluate(reader, e.slice.value) if isinstance(e.slice, cst.Index) else UNKNOWN for e in node.slice]
    key = keys[0] if len(keys) == 1 else UNKNOWN
    if isinstance(owner, Dict):
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
        updated = reader.tensor("set item", [owner, value], node)
        owner.node = updated.node
    elif isinstance(owner, Instance):
        _set_child(reader, owner, key, value, node)
    elif isinstance(owner, Method) and owner.name in ("_modules", "_parameters") and isinstance(owner.owner, Instance):
        name = str(key.value) if isinstance(key, Const) else "*"
        reader.emit(AttributeSet, node, owner.owner, name, value, None, node, None)
        if isinstance(key, Const):
            store(reader, owner.owner, name, value, node)
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


def _set_child(reader: Reader, owner: Instance, key: Value, value: Value, node: cst.CSTNode) -> None:
    if owner.cls is not None and owner.cls.method("__setitem__"):
        call_method(reader, owner, "__setitem__", [key, value], {}, node)
        return
    if isinstance(key, Const) and isinstance(key.value, str) and owner.is_module:
        store(reader, owner, key.value, value, node)
    elif owner.children is not None:
        if owner.children and isinstance(key, Const) and isinstance(key.value, int):
            index = key.value if abs(key.value) < len(owner.children) else -1
            reader.emit(Replaced, node, owner, str(index), owner.children[index], value)
            owner.children[index] = value
        else:
            owner.children.append(value)


def get_item(reader: Reader, owner: Value, index: list[Value], node: cst.CSTNode, *, sliced: bool) -> Value:
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
    if isinstance(owner, Seq):
        if sliced:
            return Seq(list(owner.items), True, owner.kind, owner.spot)
        return _element(reader, owner.items, key, owner.open)
    if isinstance(owner, Dict):
        if isinstance(key, Const) and key.value in owner.items:
            return owner.items[key.value]
        rest = [owner.rest] if owner.rest is not None else []
        if isinstance(key, Const):
            return owner.rest or UNKNOWN
        return reader.join([*owner.items.values(), *rest] or [UNKNOWN])
    if isinstance(owner, Instance):
        return _child(reader, owner, key, node, sliced=sliced)
    if isinstance(owner, Loader):
        return reader.data(owner.name or "batch", node)
    return UNKNOWN


def _element(reader: Reader, items: Sequence[Value], key: Value, open_: bool) -> Value:
    number = key.value if isinstance(key, Const) and type(key.value) is int else None
    if number is not None and -len(items) <= number < len(items):
        return items[number]
    if not items:
        return UNKNOWN
    joined: Value = reader.join(list(items))
    return joined


def _child(reader: Reader, owner: Instance, key: Value, node: cst.CSTNode, *, sliced: bool) -> Value:
    if owner.cls is not None:
        if owner.cls.method("__getitem__"):
            if not owner.is_module:
                return reader.data("item", node)
            return call_method(reader, owner, "__getitem__", [key], {}, node) or UNKNOWN
        return UNKNOWN if owner.children is None else _element(reader, owner.children, key, False)
    if holds_parameters(owner):
        if isinstance(key, Const) and str(key.value) in owner.params:
            return owner.params[str(key.value)]
        return _element(reader, list(owner.params.values()), key, False)
    if isinstance(key, Const) and isinstance(key.value, str) and key.value in owner.attrs:
        return owner.attrs[key.value]
    if owner.children is not None and not sliced:
        return _element(reader, owner.children or list(owner.attrs.values()), key, owner.opaque)
    if owner.is_module and (owner.children is not None or owner.opaque):
        part = Instance(external="torch.nn.Sequential", is_module=True, spot=owner.spot, opaque=owner.opaque)
        part.children, part.norm, part.params = owner.children, owner.norm, owner.params
        part.part_of = owner if owner.opaque else None
        part.pretrained = owner.pretrained
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
    event = reader.emit(Consumed, node, iterator, before, purpose, empty)
    iterator.used.append(event)
    for source in () if empty else iterator.sources:
        if source.one_shot:
            consume(reader, source, node, purpose)
    return [] if empty else list(iterator.items)


def iterate(reader: Reader, value: Value, node: cst.CSTNode) -> tuple[list[Value], bool]:
    """(the elements a loop gives, whether these are all)."""
    if isinstance(value, Seq):
        return list(value.items) or ([UNKNOWN] if value.open else []), not value.open
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
        found = [iterate(reader, option, node) for option in value.options if option != NONE]
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
    if not value.is_module:
        return [reader.data(value.name or "batch", node)], False
    if holds_parameters(value):
        named = value.external.endswith("Dict")
        return [Const(key) if named else param for key, param in value.params.items()] or [UNKNOWN], bool(value.params)
    if value.children is not None:
        items = list(value.children) or [Const(name) for name in value.attrs]
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
        return [reader.join(value.items)] * count
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
        names = {id(child): name for name, child in dotted_names(module)}
        items = [
            Seq([Const(names[id(m)]) if id(m) in names and not m.part_of else UNKNOWN, m], kind="tuple") for m in found
        ]
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


def parameter_iterator(reader: Reader, module: Instance, node: cst.CSTNode, *, named: bool) -> ParamIter:
    """`parameters()` and `named_parameters()` of a module."""
    items: list[Value] = list(parameters_of(module))
    if named:
        names = {id(param): name for name, param in reversed(named_parameters(module))}
        items = [
            Seq([UNKNOWN if p.many else Const(names.get(id(p), p.name)), p], kind="tuple")
            for p in items
            if isinstance(p, Param)
        ]
    return ParamIter(items, named=named, spot=reader.spot(node), owner=module)


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
