"""The methods every nn.Module has."""

from __future__ import annotations

import re
from typing import Any

from freezelint.gradient_map import Cause, Cut
from freezelint.source import attributes, cst, elements, library, modules, objects, stand_ins
from freezelint.source.reader import Reader
from freezelint.source.story import Called, Spot, ZeroGrad
from freezelint.source.values import (
    FALSE,
    NONE,
    TRUE,
    UNKNOWN,
    Const,
    Dict,
    Func,
    Instance,
    Option,
    Seq,
    Value,
    named_children,
    parameters_of,
    submodules,
)
from freezelint.source.values import named_parameters as every_parameter

# Words of a body over submodules that may change what trains.
TELLING = ("grad", "eval(", "train(", "freez", "append", "setattr", "yield", "self.", "load", "Parameter", "return m")
# Methods of models of libraries that run them as a call does.
FORWARDS = re.compile(
    r"(forward_\w+|encode_(image|text|audio)|extract_features|get_(image|text|audio)_features|get_intermediate_layers)$"
)
Args = list[Value]
Kwargs = dict[str, Value]


def parameters(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    own = kwargs.get("recurse", args[0] if args else None) == FALSE
    return elements.parameter_iterator(reader, owner, node, named=False, own=own)


def named_parameters(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    own = kwargs.get("recurse", args[1] if len(args) > 1 else None) == FALSE
    return elements.parameter_iterator(reader, owner, node, named=True, own=own)


def parts(*, named: bool, children: bool) -> Any:
    def read(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
        return elements.module_parts(reader, owner, named=named, children=children)

    return read


def train(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """`train(mode)`: also every `train` override below, as nn.Module calls it."""
    given = args[0] if args else kwargs.get("mode", TRUE)
    flag = bool(given.value) if isinstance(given, Const) else None
    modules.set_training(reader, owner, flag, "train", node)
    for child in submodules(owner)[1:]:
        override = child.cls.method("train") if child.cls else None
        if override is not None and reader.calls.count(override) < 1:
            from freezelint.source.calls import call_function

            call_function(reader, Func(override, child), [given], {}, node)
    return owner


def eval_(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    override = owner.cls.method("train") if owner.cls else None
    if override is not None and reader.calls.count(override) < 1:
        from freezelint.source.calls import call_function

        call_function(reader, Func(override, owner), [FALSE], {}, node)
        return owner
    modules.set_training(reader, owner, False, "eval", node)
    return owner


def requires_grad_(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    given = args[0] if args else kwargs.get("requires_grad", TRUE)
    flag = bool(given.value) if isinstance(given, Const) else None
    event = modules.set_flag(reader, owner, parameters_of(owner), None if owner.some else flag, "requires_grad_", node)
    event.partly = flag if owner.filled else None
    return owner


def zero_grad(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    none = args[0] if args else kwargs.get("set_to_none", TRUE)
    reader.emit(ZeroGrad, node, owner, none != FALSE, parameters_of(owner))
    return UNKNOWN


def same(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    return owner


def apply(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """`apply(fn)`: fn on every submodule."""
    from freezelint.source.calls import call

    reader.emit(Called, node, "apply", owner, args, kwargs, owner)
    given = args[0].info if args and isinstance(args[0], Func) else None
    if args and not (given is not None and only_initialises(reader, Spot(given.file, given.node.body))):
        for part in elements.module_parts(reader, owner, named=False, children=False).items[:24]:
            call(reader, args[0], [part], {}, node)
    return owner


def only_initialises(reader: Reader, body: Spot) -> bool:
    """Whether a body run on every submodule only draws weights, before anything was frozen: nothing to learn there."""
    if reader.froze:
        return False
    text = body.text
    return ("init" in text or ".data" in text) and not any(word in text for word in TELLING)


def load(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    modules.loaded(reader, owner, "load_state_dict", node)
    return UNKNOWN


def register(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """add_module, register_module, register_parameter, register_buffer."""
    if len(args) > 1 and isinstance(args[0], Const):
        objects.store(reader, owner, str(args[0].value), args[1], node)
    elif len(args) > 1:
        elements.register(reader, owner, args[1])
    return UNKNOWN


def append(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    if elements.holds_parameters(owner):
        modules.hold_parameters(reader, owner, args[-1] if args else None, node)
        return owner
    if owner.children is None:
        owner.children = []
    owner.children += args[-1:]
    owner.open = owner.open or reader.open_loops > owner.depth
    return owner


def extend(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    if elements.holds_parameters(owner):
        modules.hold_parameters(reader, owner, args[0] if args else None, node)
        return owner
    if owner.children is None:
        owner.children = []
    owner.children += elements.elements(reader, args[0], node) if args else []
    owner.open = owner.open or reader.open_loops > owner.depth or any(map(stand_ins.uncounted, args[:1]))
    return owner


def hook(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    if args:
        owner.hooks.append(args[0])
    return UNKNOWN


def pairs(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    held = list(owner.params.items()) if elements.holds_parameters(owner) else named_children(owner)
    rows: list[Value] = [Seq([Const(name), child], kind="tuple") for name, child in held]
    return Seq(rows, owner.opaque)


def keys(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    if elements.holds_parameters(owner):
        return Seq([Const(name) for name in owner.params])
    return Seq([Const(name) for name, _ in named_children(owner)], owner.opaque)


def values(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    if elements.holds_parameters(owner):
        return Seq(list(owner.params.values()))
    return Seq([child for _, child in named_children(owner)], owner.opaque)


def update(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    for arg in args:
        if elements.holds_parameters(owner):
            modules.hold_parameters(reader, owner, arg, node)
        elif isinstance(arg, Dict):
            owner.attrs.update({str(key): value for key, value in arg.items.items()})
            if arg.rest is not None:
                owner.children = [*(owner.children or []), arg.rest]
    return UNKNOWN


def get_submodule(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    found: Value = owner
    if not args or not isinstance(args[0], Const):
        return modules.some_part(owner, reader.spot(node))
    for part in str(args[0].value).split("."):
        found = attributes.get_attribute(reader, found, part, node)
    return found


def backward(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """A DeepSpeed engine's `backward(loss)`."""
    from freezelint.source import training

    if args:
        training.backward(reader, args[0], node, "backward")
    return UNKNOWN


def state_dict(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """Aliases of every parameter that are no longer in the graph; with `keep_vars` the parameters themselves."""
    if kwargs.get("keep_vars", FALSE) != FALSE:
        held = every_parameter(owner)
        return Dict({name: param for name, param in held if not param.many}, UNKNOWN, reader.spot(node))
    cut = Cut(Cause.DETACH, reader.spot(node), "`.state_dict()`")
    return Dict({}, reader.tensor("state_dict", parameters_of(owner), node, cut), reader.spot(node))


def forward(reader: Reader, owner: Instance, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """`super().forward(x)` and `module.forward(x)` where torch defines it."""
    from freezelint.source.calls import call

    if owner.children is not None:
        result = args[0] if args else UNKNOWN
        for child in owner.children:
            result = call(reader, child, [result], {}, node)
        return result
    return reader.tensor("forward", [*parameters_of(owner), *args], node)


def other(reader: Reader, owner: Instance, name: str, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """A method nobody can look into."""
    from freezelint.source import training
    from freezelint.source.calls import unknown_call

    if name in ("manual_backward", "backward") and args:
        training.backward(reader, args[0], node, name)
        return UNKNOWN
    if name == "optimizers":
        return training.lightning_optimizers(reader, owner)
    if "toggle" in name and "optimizer" in name:
        reader.emit(Called, node, name, owner, args, kwargs, UNKNOWN)
    if name in ("log", "log_dict", "save_hyperparameters", "print", "toggle_optimizer", "untoggle_optimizer"):
        if name == "save_hyperparameters":
            reader.put(owner.attrs, "hparams", Option())
        return UNKNOWN
    if name == "__init__" and owner.cls is not None:
        outside = owner.cls.lineage()[1]
        container = next((base.split(".")[-1] for base in outside if base.endswith(("Sequential", "ModuleList"))), None)
        if container:
            modules.fill_container(owner, container, args)
        elif outside and owner.is_module and not outside[0].endswith(("Module",)):
            from freezelint.source.construct import library_base

            library_base(reader, owner, outside[0], kwargs, node)
        elif outside and outside[0] == "torch.optim.Optimizer":
            return UNKNOWN
        return NONE
    if name in ("from_pretrained", "load_weights", "load_checkpoint", "load_pretrained", "init_weights_from"):
        modules.loaded(reader, owner, name, node)
    if name in ("enable_input_require_grads", "gradient_checkpointing_enable", "resize_token_embeddings"):
        reader.emit(Called, node, name, owner, args, kwargs, UNKNOWN)
        return UNKNOWN
    if name in library.PART_GETTERS and owner.opaque and owner.cls is None:
        part: Value | None = owner
        for step in library.PART_GETTERS[name].split("."):
            if isinstance(part, Instance):
                part = part.attrs.get(step) or modules.opaque_child(reader, part, step, node)
        return part or UNKNOWN
    if name.startswith(("freeze", "unfreeze")):
        modules.set_flag(reader, owner, parameters_of(owner), None, name, node)
    if owner.opaque and owner.cls is None and FORWARDS.match(name):
        from freezelint.source.construct import call_instance

        return call_instance(reader, owner, args, kwargs, node)
    held = parameters_of(owner) if owner.is_module and owner.opaque else []
    result = unknown_call(reader, [*args, *held], kwargs, node)
    reader.emit(Called, node, name, owner, args, kwargs, result)
    return result


METHODS: dict[str, Any] = {
    "parameters": parameters,
    "named_parameters": named_parameters,
    "modules": parts(named=False, children=False),
    "named_modules": parts(named=True, children=False),
    "children": parts(named=False, children=True),
    "named_children": parts(named=True, children=True),
    "train": train,
    "eval": eval_,
    "requires_grad_": requires_grad_,
    "zero_grad": zero_grad,
    "apply": apply,
    "load_state_dict": load,
    "state_dict": state_dict,
    "add_module": register,
    "register_module": register,
    "register_parameter": register,
    "register_buffer": register,
    "append": append,
    "insert": append,
    "extend": extend,
    "register_forward_hook": hook,
    "items": pairs,
    "keys": keys,
    "values": values,
    "update": update,
    "get_submodule": get_submodule,
    "backward": backward,
    "forward": forward,
    **dict.fromkeys(("to", "cuda", "cpu", "float", "half", "double", "bfloat16", "share_memory", "type"), same),
}
