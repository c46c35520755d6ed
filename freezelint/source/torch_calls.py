"""Calls of torch and of libraries round it, and the methods every module has."""

from __future__ import annotations

import re
from typing import Any

import libcst as cst

from freezelint.gradient_map import Cause, Cut, Kind
from freezelint.source import library, modules, objects, tensors, training
from freezelint.source.reader import Reader
from freezelint.source.story import Called, Checkpointed, GradRead, Mode, ModeChange, Step, ZeroGrad
from freezelint.source.values import (
    FALSE,
    NONE,
    TRUE,
    UNKNOWN,
    Const,
    Data,
    Dict,
    Func,
    Instance,
    Loader,
    Manager,
    Object,
    Optimizer,
    Option,
    Param,
    ParamIter,
    Seq,
    Tensor,
    Union,
    Value,
    hides,
    modules_in,
    parameters_of,
    tensors_in,
)

PASS_THROUGH = ("torch.compile", "torch.jit.script", "torch.nn.SyncBatchNorm.convert_sync_batchnorm", "typing.cast")
CONVERTED = (
    "torch.nn.utils.weight_norm",
    "torch.nn.utils.spectral_norm",
    "torch.nn.utils.parametrizations.weight_norm",
)


def call(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    """The value of a call of an external dotted name."""
    short = name.split(".")[-1]
    special = SPECIAL.get(name)
    if special is not None:
        value: Value = special(reader, name, args, kwargs, node)
        return value
    if name in library.GRAD_CONTEXTS:
        return grad_context(reader, name, args, kwargs, node)
    if name in library.AUTOCAST:
        enabled = kwargs.get("enabled", TRUE) != FALSE
        cache = kwargs.get("cache_enabled") != FALSE
        return Manager("autocast", enabled, reader.spot(node), reader.frame.file.code(node), cache)
    if name in PASS_THROUGH or name in CONVERTED:
        reader.emit(Called, node, name, None, args, kwargs, args[0] if args else UNKNOWN)
        return args[0] if args else UNKNOWN
    if library.OPTIMIZER.match(name):
        return training.optimizer(reader, name, args, kwargs, node)
    if name.startswith(("torch.nn.init.", "nn.init.")):
        reader.emit(Called, node, name, None, args, kwargs, UNKNOWN)
        return args[0] if args else UNKNOWN
    if name.startswith("torch.nn.") and name.count(".") <= 3 and short[:1].isupper() and "functional" not in name:
        if short in library.WRAPPERS and args and isinstance(args[0], Union):
            return args[0]
        return modules.torch_module(reader, name, args, kwargs, node)
    if library.FACTORY.match(name) and not library.NOT_A_FACTORY.search(short):
        if name.startswith(("clip.load", "open_clip.create_model_and")):
            return Seq([modules.factory(reader, name, args, kwargs, node), UNKNOWN, UNKNOWN], True, "tuple")
        if name.startswith("peft.get_peft_model") and args:
            return peft_model(reader, args, node)
        return modules.factory(reader, name, args, kwargs, node)
    if library.LOADERS.search(short):
        return Loader()
    if short in training.LIBRARY_OBJECTS:
        return Object(name, args, kwargs, reader.spot(node))
    if name.startswith("torch.") or name.split(".")[0] in ("einops", "F", "kornia", "torch_scatter"):
        return torch_function(reader, name, short, args, kwargs, node)
    return foreign(reader, name, args, kwargs, node)


def foreign(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    """A function of another library."""
    from freezelint.source.calls import unknown_call

    if name.split(".")[0] in ("numpy", "np", "math") and (held := [t for a in args for t in tensors_in(a)]):
        return reader.tensor(name, held, node, Cut(Cause.NUMPY, reader.spot(node), f"`{name}()`"))
    result = unknown_call(reader, args, kwargs, node)
    reader.emit(Called, node, name, None, args, kwargs, result)
    if type(result) is Value:
        return Object(name, args, kwargs, reader.spot(node)) if name.split(".")[-1][:1].isupper() else UNKNOWN
    return result


def torch_function(
    reader: Reader, name: str, short: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    """`torch.f(...)`, `F.f(...)`: a tensor computed from the tensors among its arguments."""
    values = [*args, *kwargs.values()]
    held = [t for value in values for t in tensors_in(value)]
    if short == "as_tensor" and args and isinstance(args[0], (Tensor, Data)):
        return args[0]
    if name in library.COPIES and held:
        cut = Cut(Cause.COPY, reader.spot(node), f"`{name}()`")
        new = reader.tensor(name, held, node, cut)
        if isinstance(wanted := kwargs.get("requires_grad", FALSE), Const) and wanted.value:
            tensors_flag(reader, new, node, name)
        return new
    if short in library.FRESH or (short in library.CREATORS and not held):
        return tensors.literal_tensor(reader, short, args, kwargs, node)
    if name.startswith(("torch.cuda.", "torch.backends.", "torch.distributed.", "torch.utils.data.", "torch.device")):
        reader.emit(Called, node, name, None, args, kwargs, UNKNOWN)
        return UNKNOWN
    if not held:
        reader.emit(Called, node, name, None, args, kwargs, UNKNOWN)
        return UNKNOWN
    if args and isinstance(args[0], (Tensor, Param)) and short in tensors.PAIRS:
        return tensors.method(reader, args[0], short, args[1:], kwargs, node)
    unseen = any(hides(value) for value in (values if library.MIXES.search(short) else args[:1]))
    made = reader.tensor(name, held, node, tensors.cut_of(reader, short, node), unknown=unseen)
    return Seq([made], True, "tuple") if short in tensors.SEVERAL else made


def tensors_flag(reader: Reader, new: Tensor, node: cst.CSTNode, via: str) -> None:
    """A copy made with requires_grad=True: a new leaf."""
    from freezelint.source.story import TensorFlag

    new.leaf = True
    held = reader.map.nodes[new.node]
    held.kind, held.trainable = Kind.INPUT, True
    reader.emit(TensorFlag, node, new, True, via, new.node, new)


def variable(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    """`Variable(x)`: a detached alias; data stays data, a constant becomes a tensor."""
    held = [t for value in args[:1] for t in tensors_in(value)]
    if held and any(isinstance(t, (Tensor, Param)) for t in held):
        return torch_function(reader, "torch.autograd.Variable", "Variable", args, kwargs, node)
    if kwargs.get("requires_grad", FALSE) != FALSE:
        return tensors.literal_tensor(reader, "Variable", args, kwargs, node)
    return held[0] if held else reader.data("Variable", node)


def grad_context(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    kind, flag = library.GRAD_CONTEXTS[name]
    given = args[0] if args else kwargs.get("mode")
    if isinstance(given, Func):  # no_grad()(f) and @no_grad: the function in that mode
        return given
    if kind == "set_grad_enabled":
        flag = bool(given.value) if isinstance(given, Const) else None
    elif kind == "inference_mode" and given == FALSE:
        flag = True
    text = reader.frame.file.code(node)
    if kind == "set_grad_enabled" and not in_with(reader, node):
        mode = Mode(flag, "global", reader.spot(node), text)
        reader.emit(ModeChange, node, mode, "switch")
        reader.set_mode(mode)
    return Manager(kind, flag, reader.spot(node), text)


def in_with(reader: Reader, node: cst.CSTNode) -> bool:
    return id(node) in with_items(reader)


def with_items(reader: Reader) -> set[int]:
    """The expressions of a file that stand in a `with` or as a decorator, found once a file."""
    file: Any = reader.frame.file
    if not hasattr(file, "with_items"):
        found: set[int] = set()

        class Finder(cst.CSTVisitor):
            def visit_WithItem(self, node: cst.WithItem) -> None:
                found.add(id(node.item))

            def visit_Decorator(self, node: cst.Decorator) -> None:
                found.add(id(node.decorator))

        file.tree.visit(Finder())
        file.with_items = found
    items: set[int] = file.with_items
    return items


def peft_model(reader: Reader, args: list[Value], node: cst.CSTNode) -> Value:
    """get_peft_model: the base is frozen, adapters inside it train."""
    base = args[0]
    for option in base.options if isinstance(base, Union) else (base,):
        if isinstance(option, Instance):
            modules.set_flag(reader, option, parameters_of(option), False, "get_peft_model", node)
            option.attrs["lora"] = adapter = Instance(
                external="peft.lora", is_module=True, spot=reader.spot(node), opaque=True
            )
            adapter.params["*"] = modules.new_param(reader, "*", adapter, node, many=True)
    return base


def parameter(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    flag = args[1] if len(args) > 1 else kwargs.get("requires_grad", TRUE)
    return modules.new_param(reader, "parameter", None, node, born=flag != FALSE)


def checkpoint(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    """torch.utils.checkpoint: the call it wraps; the reentrant kind gives no gradient unless an input asks for one."""
    from freezelint.source.calls import call as call_value

    sequential = name.endswith("sequential")
    function = args[0] if args else kwargs.get("function", kwargs.get("functions", UNKNOWN))
    inputs = args[2:] if sequential else args[1:]
    if sequential and "input" in kwargs:
        inputs = [kwargs["input"]]
    given = kwargs.get("use_reentrant")
    reentrant = True if given is None else (bool(given.value) if isinstance(given, Const) else None)
    if isinstance(given, Option):
        reentrant = None
    if given == NONE:
        reentrant = True
    fed = carries_gradient(reader, inputs)
    if sequential and isinstance(function, (Seq, Instance)):
        result: Value = inputs[0] if inputs else UNKNOWN
        steps = function.items if isinstance(function, Seq) else (function.children or [function])
        for step in steps:
            result = call_value(reader, step, [result], {}, node)
    else:
        result = call_value(reader, function, list(inputs), {}, node)
    params = [p for m in called_modules(function) for p in parameters_of(m)]
    if reentrant and fed is False:
        cut = Cut(Cause.REENTRANT_CHECKPOINT, reader.spot(node), f"`{reader.frame.file.code(node)[:60]}`")
        held = tensors_in(result)
        if held:
            result = reader.tensor("checkpoint", held, node, cut)
    elif reentrant and fed is None and tensors_in(result):
        result = reader.tensor("checkpoint", tensors_in(result), node, sure=False)
    event_node = node if isinstance(node, cst.Call) else None
    reader.emit(Checkpointed, node, function, list(inputs), reentrant, params, fed is not False, event_node)
    return result


def called_modules(function: Value) -> list[Instance]:
    found = modules_in(function)
    if isinstance(function, Func) and isinstance(function.owner, Instance):
        found.append(function.owner)
    return found


def carries_gradient(reader: Reader, values: list[Value]) -> bool | None:
    """Whether any of these tensors requires grad: True, False, or None where it cannot be told."""
    answer: bool | None = False
    for value in values:
        held = tensors_in(value)
        if not held and type(value) is Value:
            answer = None
        for tensor in held:
            found = requires_grad(reader, tensor)
            if found:
                return True
            if found is None:
                answer = None
    return answer


def requires_grad(reader: Reader, tensor: Value) -> bool | None:
    if isinstance(tensor, Param):
        return objects.state_now(reader, tensor)
    start = reader.node_of(tensor)
    if start is None:
        return None
    answer: bool | None = False
    live = reader.map.reached([start])
    sure = reader.map.surely_reached([start])
    for i in live:
        node = reader.map.nodes[i]
        param = reader.story.of_node.get(i)
        asks = objects.state_now(reader, param) if param is not None else node.trainable
        if node.kind.value in ("parameter", "input") and asks is not False and asks is not None and i in sure:
            return True
        if asks or (asks is None and (param is not None or node.kind.value == "unknown")):
            answer = None
    if isinstance(tensor, Tensor) and tensor.leaf:
        return True
    return answer


def autograd_grad(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    outputs = args[0] if args else kwargs.get("outputs", UNKNOWN)
    inputs = args[1] if len(args) > 1 else kwargs.get("inputs", UNKNOWN)
    for tensor in tensors_in(inputs) or [inputs]:
        reader.emit(GradRead, node, tensor, reader.node_of(tensor))
    if isinstance(inputs, ParamIter):
        objects.consume(reader, inputs, node, "autograd.grad")
    if kwargs.get("create_graph", FALSE) == FALSE:
        training.backward(reader, outputs, node, "autograd.grad")
    made = reader.tensor("gradient", [*tensors_in(outputs), *tensors_in(inputs)], node)
    return Seq([made], True, "tuple")


def autograd_backward(
    reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    for tensor in tensors_in(args[0]) if args else []:
        training.backward(reader, tensor, node, "autograd.backward")
    return UNKNOWN


def deepcopy(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    held = args[0] if args else UNKNOWN
    if isinstance(held, Instance) and held.is_module:
        return modules.clone(reader, held, node)
    if isinstance(held, Union):
        return Union(tuple(deepcopy(reader, name, [option], {}, node) for option in held.options))
    if isinstance(held, Tensor):
        return reader.tensor("deepcopy", [held], node, Cut(Cause.COPY, reader.spot(node), "`deepcopy()`"))
    if isinstance(held, Param):
        return modules.new_param(reader, held.name, None, node, born=held.born)
    return held


def chain(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    """itertools.chain over iterators of parameters."""
    sources = args
    if name.endswith("from_iterable") and args:
        sources = args[0].items if isinstance(args[0], Seq) else list(args)
    iterators = [value for value in sources if isinstance(value, ParamIter)]
    items: list[Value] = []
    for value in sources:
        items += value.items if isinstance(value, (ParamIter, Seq)) else []
    if iterators or objects.params_in(items):
        return ParamIter(items, spot=reader.spot(node), sources=iterators)
    return Seq(items, open=not items, kind="generator")


def partial(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    from freezelint.source.values import Partial

    return Partial(args[0], args[1:], kwargs) if args else UNKNOWN


def clip(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    given = args[0] if args else kwargs.get("parameters")
    if isinstance(given, ParamIter):
        objects.consume(reader, given, node, "clip")
    reader.emit(Called, node, name, None, args, kwargs, UNKNOWN)
    return UNKNOWN


def vector(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    items = objects.elements(reader, args[0], node) if args else []
    return reader.tensor(name, items, node)


def functional_call(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    held = [t for value in args[1:] for t in tensors_in(value)]
    reader.escape(modules_in(args[0]) if args else [])
    return reader.tensor("functional_call", held, node, sure=False)


def embedding_from_pretrained(
    reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    """nn.Embedding.from_pretrained(weights, freeze=True)."""
    made = modules.torch_module(reader, "torch.nn.Embedding", [], {}, node)
    made.pretrained = True
    frozen = args[1] if len(args) > 1 else kwargs.get("freeze", TRUE)
    flag = not frozen.value if isinstance(frozen, Const) else None
    made.params["weight"].born = bool(flag)
    modules.set_flag(reader, made, parameters_of(made), flag, "freeze=", node)
    return made


def namespace(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    held = Object("namespace", args, kwargs, reader.spot(node), attrs=dict(kwargs))
    if args and isinstance(args[0], Dict):
        held.attrs.update({str(key): value for key, value in args[0].items.items()})
    return held


def module_method(
    reader: Reader, owner: Instance, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    from freezelint.source.module_methods import METHODS, other

    if not owner.is_module:
        return other(reader, owner, name, args, kwargs, node)
    handler = METHODS.get(name)
    return handler(reader, owner, args, kwargs, node) if handler else other(reader, owner, name, args, kwargs, node)


def on_unknown(
    reader: Reader, owner: Value, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value | None:
    """Methods whose name alone tells what an unknown object is."""
    if type(owner) is not Value:
        return None
    if name in ("parameters", "named_parameters", "modules", "named_modules", "children", "named_children"):
        stand_in = Instance(external="torch.nn.Module", is_module=True, opaque=True, spot=reader.spot(node), norm=None)
        stand_in.params["*"] = modules.new_param(reader, "*", stand_in, node, many=True)
        stand_in.escaped = True
        return module_method(reader, stand_in, name, args, kwargs, node)
    if name == "backward":
        given = args[0] if args and isinstance(args[0], (Tensor, Data)) else owner
        training.backward(reader, given, node, "backward")
        return UNKNOWN
    if name == "step" and (stepped := unknown_step(reader, args, node)) is not None:
        reader.emit(Step, node, stepped, list(stepped.params) if isinstance(stepped, Optimizer) else [])
        return UNKNOWN
    if name == "requires_grad_":
        return tensors.requires_grad_(reader, owner, args, kwargs, node)
    if name in ("detach", "item", "numpy", "tolist", "cpu", "to", "cuda", "float"):
        return UNKNOWN
    if name == "zero_grad":
        none = kwargs.get("set_to_none", args[0] if args else None)
        reader.emit(ZeroGrad, node, owner, none != FALSE, [])
        return UNKNOWN
    if name == "parse_args":
        return Object("namespace", [], {}, reader.spot(node))
    return None


STEPPED = re.compile(r"optim|(^|[._])(opt|sgd|adam\w*)($|_)|_opt$", re.IGNORECASE)


def unknown_step(reader: Reader, args: list[Value], node: cst.CSTNode) -> Value | None:
    """What `x.step(...)` steps where `x` is not known: an optimizer by its name, or the one a scaler is given."""
    if args and isinstance(args[0], Optimizer):
        return args[0]
    owner = node.func.value if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) else None
    if owner is None:
        return None
    given = node.args[0].value if isinstance(node, cst.Call) and node.args else None
    if args and isinstance(args[0], Func):
        from freezelint.source.calls import call as call_value

        given = None
        call_value(reader, args[0], [], {}, node)
    named = STEPPED.search(reader.frame.file.code(given if given is not None else owner))
    return UNKNOWN if named else None


def context_method(
    reader: Reader, owner: Manager, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    if name == "__enter__" and owner.kind != "autocast":
        mode = Mode(owner.flag, "global", reader.spot(node), reader.frame.file.code(node))
        reader.set_mode(mode)
    elif name == "__exit__":
        reader.set_mode(Mode())
    elif name == "__call__" and args:
        return args[0]
    return UNKNOWN


SPECIAL: dict[str, Any] = {
    "torch.nn.Parameter": parameter,
    "torch.nn.parameter.Parameter": parameter,
    "torch.nn.UninitializedParameter": parameter,
    "torch.autograd.Variable": variable,
    "torch.autograd.variable.Variable": variable,
    "torch.utils.checkpoint.checkpoint": checkpoint,
    "torch.utils.checkpoint.checkpoint_sequential": checkpoint,
    "torch.autograd.grad": autograd_grad,
    "torch.autograd.backward": autograd_backward,
    "copy.deepcopy": deepcopy,
    "copy.copy": deepcopy,
    "itertools.chain": chain,
    "itertools.chain.from_iterable": chain,
    "functools.partial": partial,
    "torch.nn.utils.clip_grad_norm_": clip,
    "torch.nn.utils.clip_grad_value_": clip,
    "torch.nn.utils.clip_grad.clip_grad_norm_": clip,
    "torch.nn.utils.parameters_to_vector": vector,
    "torch.func.functional_call": functional_call,
    "torch.nn.Embedding.from_pretrained": embedding_from_pretrained,
    "torch.nn.EmbeddingBag.from_pretrained": embedding_from_pretrained,
    "argparse.Namespace": namespace,
    "types.SimpleNamespace": namespace,
    "omegaconf.OmegaConf.create": namespace,
    "easydict.EasyDict": namespace,
}
