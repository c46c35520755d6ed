"""Modules: how they are made, frozen, put into train or eval mode, and what they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from freezelint.records import replace
from freezelint.source import cst, library
from freezelint.source.project import dotted
from freezelint.source.story import Built, Context, GradFlag, Loaded, Spot, TrainMode
from freezelint.source.values import (
    Const,
    Data,
    Dict,
    Func,
    Instance,
    Method,
    Option,
    Param,
    ParamIter,
    Partial,
    Seq,
    Tensor,
    Union,
    Value,
    direct_children,
    modules_in,
    options,
    parameters_of,
    submodules,
)

if TYPE_CHECKING:
    from freezelint.source.reader import Reader


def new_param(
    reader: Reader, name: str, owner: Instance | None, node: cst.CSTNode, *, many: bool = False, born: bool = True
) -> Param:
    label = f"{owner.name}.{name}" if owner and owner.name else name
    param = Param(name, owner, reader.spot(node), many=many, born=born, label=label, arms=frozenset(reader.arms))
    reader.story.parameters.append(param)
    return param


def torch_module(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Instance:
    """`torch.nn.X(...)`."""
    short = name.split(".")[-1]
    module = Instance(external=name, is_module=True, spot=reader.spot(node), args=args, kwargs=kwargs)
    if short in library.CONTAINERS:
        fill_container(module, short, args)
        module.depth = reader.open_loops
    elif short in library.PARAMETER_CONTAINERS:
        hold_parameters(reader, module, args[0] if args else None, node)
    elif short in library.WRAPPERS:
        module.wraps = args[0] if args else kwargs.get("module")
        module.opaque = module.wraps is None
    elif library.WEIGHT_AND_BIAS.match(short) or short in library.WEIGHT_ONLY or short in library.RECURRENT:
        _own_parameters(reader, module, short, kwargs, node)
    elif short in library.OPAQUE:
        module.params["*"] = new_param(reader, "*", module, node, many=True)
    elif "InstanceNorm" in short and kwargs.get("affine", Const(False)) != Const(False):
        _own_parameters(reader, module, short, kwargs, node)
    if short.startswith(library.NORMS_WITH_STATISTICS) and kwargs.get("track_running_stats") != Const(False):
        module.norm = True
    built(reader, module, node)
    return module


def _own_parameters(reader: Reader, module: Instance, short: str, kwargs: dict[str, Value], node: cst.CSTNode) -> None:
    if kwargs.get("affine") == Const(False) or kwargs.get("elementwise_affine") == Const(False):
        return
    names = ["weight", "bias"]
    if short in library.WEIGHT_ONLY or kwargs.get("bias") == Const(False):
        names = ["weight"]
    elif short in library.RECURRENT:
        names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    for name in names:
        module.params[name] = new_param(reader, name, module, node)


def fill_container(module: Instance, short: str, args: list[Value]) -> None:
    module.children = []
    first = args[0] if args else None
    if short == "Sequential" and not isinstance(first, Dict):
        for arg in args:
            module.children += _members(module, arg)
    elif isinstance(first, Dict):
        module.attrs.update({str(key): value for key, value in first.items.items()})
        for name, value in module.attrs.items():
            if isinstance(value, Instance) and short != "Sequential":
                value.name = value.name or name
        module.children += [first.rest] if first.rest else []
        if short == "Sequential":
            module.children = list(module.attrs.values())
            module.attrs.clear()
    elif first is not None:
        module.children += _members(module, first)


def hold_parameters(reader: Reader, module: Instance, value: Value | None, node: cst.CSTNode) -> None:
    """What a ParameterList or ParameterDict registers; a tensor in it becomes a parameter."""
    if isinstance(value, Param):
        value.owner = value.owner or module
        module.params.setdefault(str(len(module.params)), value)
    elif isinstance(value, Tensor):
        name = str(len(module.params))
        module.params[name] = new_param(reader, name, module, node)
    elif isinstance(value, (Seq, ParamIter)):
        for item in value.items:
            hold_parameters(reader, module, item, node)
    elif isinstance(value, Dict):
        for key, item in value.items.items():
            if isinstance(item, Param):
                item.owner = item.owner or module
                module.params[str(key)] = item
            else:
                hold_parameters(reader, module, item, node)
        hold_parameters(reader, module, value.rest, node)


def _members(module: Instance, value: Value) -> list[Value]:
    if isinstance(value, Instance):
        return [value]
    if isinstance(value, Seq):
        module.opaque = module.opaque or value.open
        module.open = module.open or value.open or value.grown
        return [part for item in value.items for part in _members(module, item)]
    if isinstance(value, Union):
        return [value]
    module.opaque = True
    return []


def factory(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Instance:
    """A module from a library's factory: nobody can look into it, but its name tells something."""
    module = Instance(external=name, is_module=True, spot=reader.spot(node), args=args, kwargs=kwargs, opaque=True)
    module.params["*"] = new_param(reader, "*", module, node, many=True)
    hints = [name.split(".")[-1].lower()]
    hints += [str(v.value).lower() for v in args if isinstance(v, Const) and isinstance(v.value, str)]
    hints += [str(v.default).lower() for v in args if isinstance(v, Option) and isinstance(v.default, str)]
    text = " ".join(hints)
    module.norm = True if library.WITH_BATCH_NORM.search(text) else None
    if library.WITHOUT_BATCH_NORM.search(text) and not library.WITH_BATCH_NORM.search(text):
        module.norm = False
    if "norm_layer" in kwargs:
        module.norm = None
    given = [kwargs.get(key) for key in ("weights", "pretrained", "checkpoint_path", "encoder_weights")]
    module.pretrained = name.endswith("from_pretrained") or any(
        value is not None and value not in (Const(None), Const(False)) for value in given
    )
    if name.startswith("segmentation_models_pytorch.") and kwargs.get("encoder_weights") != Const(None):
        module.pretrained = True  # ImageNet weights are the default
    if name.startswith(
        ("torch.hub", "clip.", "open_clip.", "lpips.", "torchaudio.pipelines", "sentence_transformers", "whisper.")
    ):
        module.pretrained = True
    if args and any(v == Const(True) or (isinstance(v, Option) and v.default is True) for v in args):
        module.pretrained = True
    built(reader, module, node)
    return module


def built(reader: Reader, module: Instance, node: cst.CSTNode) -> None:
    reader.story.modules.append(module)
    reader.emit(Built, node, module)


def whole(owner: Instance, name: str) -> bool:
    """Whether a module is a transformer of torch, kept as one piece, and the name one of its parts."""
    short = owner.external.removeprefix("torch.nn.")
    return short in library.OPAQUE and library.TRANSFORMER_PARTS.match(name) is not None


def opaque_child(reader: Reader, owner: Instance, name: str, node: cst.CSTNode) -> Value | None:
    """An attribute of a module nobody can look into, where the name tells what it is."""
    if library.PARAMETER_NAMES.match(name):
        param = new_param(reader, name, owner, node)
        _inherit(owner, [param])
        if name == "weight" and library.ONLY_WEIGHT.search(owner.name) and not reader.story.optimizers:
            owner.params.clear()
        owner.params[name] = param
        return param
    if name.startswith(("get_", "set_", "resize_", "init_", "load_")):
        return None  # a method
    if library.SUBMODULE_NAMES.match(name) or (whole(owner, name) and not name.startswith("in_proj")):
        child = Instance(external=f"{owner.external}.{name}", is_module=True, spot=owner.spot, opaque=True)
        body = owner.norm and library.BODY_NAMES.match(name)
        child.norm, child.pretrained, child.name = True if body else owner.norm and None, owner.pretrained, name
        child.params["*"] = new_param(reader, "*", child, node, many=True)
        _inherit(owner, list(child.params.values()))
        child.modes = list(owner.modes)
        owner.attrs[name] = child
        return child
    return None


def _inherit(owner: Instance, params: list[Param]) -> None:
    whole = owner.params.get("*")
    for param in params:
        if whole is not None:
            param.flags = list(whole.flags)
            param.born = whole.born


def set_flag(
    reader: Reader, target: Value, params: list[Param], flag: bool | None, via: str, node: cst.CSTNode
) -> GradFlag:
    event = reader.emit(GradFlag, node, target, params, flag, via)
    reader.froze = True
    for param in params:
        param.flags.append((event.seq, flag, _since(param, event.context), event.spot))
        if reader.map.nodes and param.node is not None:
            reader.map.nodes[param.node].trainable = None if flag is None else flag
    return event


def _since(param: Param, context: Context) -> Context:
    """A context as a parameter knows it: the branches it was born under hold whenever there is that parameter."""
    if not param.arms or param.arms.isdisjoint(context.arms):
        return context
    return replace(context, arms=tuple(arm for arm in context.arms if arm not in param.arms))


def set_training(reader: Reader, target: Instance, flag: bool | None, via: str, node: cst.CSTNode) -> None:
    flag = None if target.stands_in or target.some else flag
    event = reader.emit(TrainMode, node, target, flag, via)
    held = [part for part in submodules(target)[1:] if "train" in part.attrs]  # its own `train` was replaced
    skipped = {id(inner) for part in held for inner in submodules(part)}
    for part in (part for part in submodules(target) if id(part) not in skipped):
        part.modes.append((event.seq, flag, event.context, event.spot))


def loaded(reader: Reader, target: Value, via: str, node: cst.CSTNode) -> None:
    reader.emit(Loaded, node, target, via)
    for option in options(target):
        if isinstance(option, Instance):
            for part in submodules(option.stands_in or option):
                part.pretrained = True


def clone(reader: Reader, module: Instance, node: cst.CSTNode, known: dict[int, Instance] | None = None) -> Instance:
    """`copy.deepcopy(module)`: the same shape with parameters of its own, in the state of the moment."""
    known = {} if known is None else known
    if id(module) in known:
        return known[id(module)]
    new = Instance(
        module.cls, module.external, module.is_module, reader.spot(node), norm=module.norm, opaque=module.opaque,
        pretrained=module.pretrained, args=module.args, kwargs=module.kwargs, modes=list(module.modes), name="",
        open=module.open,
    )  # fmt: skip
    known[id(module)] = new
    for name, param in module.params.items():
        copy = new_param(reader, name, new, node, many=param.many, born=param.born)
        copy.flags = list(param.flags)
        new.params[name] = copy

    def copied(value: Value) -> Value:
        if isinstance(value, Instance):
            return clone(reader, value.stands_in or value, node, known) if value.is_module else value
        if isinstance(value, Union):
            return Union(tuple(copied(option) for option in value.options))
        if isinstance(value, Seq):
            return Seq([copied(item) for item in value.items], value.open, value.kind)
        return value

    new.attrs = {name: copied(value) for name, value in module.attrs.items()}
    for name, value in module.attrs.items():
        if isinstance(value, Param) and name in new.params:
            new.attrs[name] = new.params[name]
    new.children = [copied(child) for child in module.children] if module.children is not None else None
    new.wraps = copied(module.wraps) if module.wraps else None
    reader.story.modules.append(new)
    return new


def trainable(module: Instance) -> bool:
    return bool(parameters_of(module))


def is_batch(value: Value) -> bool:
    return isinstance(value, (Tensor, Data))


# A call that reads a network or runs it, by its name: it leaves flags and modes as they are.
_LOOKS = re.compile(
    r"summar|watch|print|log|count|info|size|num|stat|profil|flop|plot|draw|visual|save|export|dump|optim|"
    r"sched|loader|loss|criter|penal|sampl|generat|eval(?!$)|predict|infer|valid|test|metric|score|backward|step|forward|"
    r"encod|decod|check|device|cuda|ema|average|clip|graph|stop|load|unwrap|regist|track|broadcast|get_|hook|begin|end",
    re.IGNORECASE,
)


_CHANGES = re.compile(r"freez|froz|lora|adapt|grad|trainable|tun(e|ing)|lock|disable|enable|toggle|set_", re.IGNORECASE)


def switches(text: str) -> bool:
    """Whether a walk over modules may set flags or modes: not one that trains, or puts other layers than norms in."""
    if re.search(r"backward\(|\.step\(", text):
        return False
    return "setattr(" not in text or re.search(r"requir|freez|train|eval|[Nn]orm", text) is not None


def handed(reader: Reader, held: Sequence[Instance], node: cst.CSTNode, *, unread: bool = False) -> None:
    """Modules given to code that is not followed: it may set flags and modes of all that is in them. A function of the
    project that is `unread` may do so whatever its name."""
    called = dotted(node.func).rpartition(".")[2] if isinstance(node, cst.Call) else ""
    made = called.lstrip("_")[:1].isupper()  # an object that keeps the network
    if not unread and (made or _LOOKS.search(called)) and not _CHANGES.search(called):
        return
    for module in held:
        set_flag(reader, module, parameters_of(module), None, "unread" if unread else "handed", node)
        set_training(reader, module, None, "handed", node)
        for part in submodules(module) if unread else ():
            part.escaped = True  # it may be replaced as well


def some_part(owner: Instance, spot: Spot) -> Instance:
    """A part of a module whose name is known at run time only: what is done to it may be done to any."""
    made = Instance(external="torch.nn.Module", is_module=True, opaque=True, spot=spot, norm=None, part_of=owner)
    made.some = made.escaped = True
    made.params, made.children = owner.params, list(direct_children(owner))
    return made


def switched_by(value: Value) -> list[Instance]:
    """The modules whose flags may change when a value is called or entered: `net.requires_grad_`, `frozen(net)`."""
    if isinstance(value, Method) and value.name == "requires_grad_":
        return modules_in(value.owner)
    if (
        isinstance(value, Partial)
        and isinstance(value.function, Func)
        and value.function.info.decorated("contextmanager")
    ):
        return [m for item in (*value.args, *value.kwargs.values()) for m in modules_in(item)]
    return []
