"""Calls of torch and of libraries round it, and the methods every module has."""

from __future__ import annotations

import re
from typing import Any

from freezelint.gradient_map import Cause, Cut, Kind
from freezelint.source import autograd_calls, cst, elements, hf_trainer, library, modules, tensors, training, writes
from freezelint.source.reader import Reader
from freezelint.source.story import Called, Step, ZeroGrad
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
        return autograd_calls.grad_context(reader, name, args, kwargs, node)
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
        if short in library.WRAPPERS and args and not isinstance(args[0], Instance):
            return args[0]
        return modules.torch_module(reader, name, args, kwargs, node)
    if library.FACTORY.match(name) and not library.NOT_A_FACTORY.search(short):
        if name.startswith(("clip.load", "open_clip.create_model_and")):
            rest: list[Value] = [UNKNOWN] * (1 if name.startswith("clip.") else 2)
            return Seq([modules.factory(reader, name, args, kwargs, node), *rest], False, "tuple")
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
    if library.OUTPUT.match(name) and not args:
        return Dict(dict(kwargs), spot=reader.spot(node))
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
    in_place = short.startswith("_foreach_") and short.endswith("_")
    for written in tensors_in(args[0]) if in_place and args else ():
        writes.note(reader, written, short.removeprefix("_foreach_"), node)
    if not held or in_place:
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
    new = modules.new_param(reader, "parameter", None, node, born=flag != FALSE)
    new.made_from = reader.node_of(args[0]) if args else None
    return new


def deepcopy(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    held = args[0] if args else UNKNOWN
    if isinstance(held, Instance) and held.is_module:
        reader.emit(Called, node, name, None, args, kwargs, held)
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
    if iterators or elements.params_in(items):
        return ParamIter(items, spot=reader.spot(node), sources=iterators)
    return Seq(items, open=not items, kind="generator")


def islice(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    """itertools.islice over modules."""
    if len(args) < 2 or isinstance(args[0], ParamIter):
        return UNKNOWN
    source = args[0]
    if not isinstance(source, Seq):
        items, all_known = elements.iterate(reader, source, node)
        source = Seq(items, open=not all_known, kind="generator")
    bounds = [arg.value for arg in args[1:] if isinstance(arg, Const) and isinstance(arg.value, int | None)]
    known = slice(*bounds) if len(bounds) == len(args) - 1 else True
    return elements.slice_of(source, known)


def partial(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    from freezelint.source.values import Partial

    return Partial(args[0], args[1:], kwargs) if args else UNKNOWN


def clip(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    given = args[0] if args else kwargs.get("parameters")
    if isinstance(given, ParamIter):
        elements.consume(reader, given, node, "clip")
    reader.emit(Called, node, name, None, args, kwargs, UNKNOWN)
    return UNKNOWN


def vector(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    items = elements.elements(reader, args[0], node) if args else []
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


def mapping(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    """OrderedDict and defaultdict (whose first argument makes what is missing): dicts."""
    from freezelint.source.builtin_calls import make_dict

    if not name.endswith("defaultdict"):
        return make_dict(reader, args, kwargs, node)
    made = make_dict(reader, args[1:], kwargs, node)
    if isinstance(made, Dict) and args and args[0] != NONE:
        made.missing = args[0]
    return made


def namespace(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    held = Object("namespace", args, kwargs, reader.spot(node), attrs=dict(kwargs))
    if args and isinstance(args[0], Dict):
        held.attrs.update({str(key): value for key, value in args[0].items.items()})
    return held


def module_method(
    reader: Reader, owner: Instance, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    from freezelint.source import construct
    from freezelint.source.module_methods import METHODS, other

    if not owner.is_module:
        if name in hf_trainer.METHODS and hf_trainer.is_trainer(owner):
            return hf_trainer.METHODS[name](reader, owner, args, kwargs, node)
        return other(reader, owner, name, args, kwargs, node)
    if name == "__call__":
        return construct.call_instance(reader, owner, args, kwargs, node)
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


def default_field(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    """The default of a field of a dataclass."""
    from freezelint.source.calls import call as call_value

    made = kwargs.get("default_factory")
    return call_value(reader, made, [], {}, node) if made is not None else kwargs.get("default", UNKNOWN)


SPECIAL: dict[str, Any] = {
    "dataclasses.field": default_field,
    "torch.nn.Parameter": parameter,
    "torch.nn.parameter.Parameter": parameter,
    "torch.nn.UninitializedParameter": parameter,
    "torch.autograd.Variable": variable,
    "torch.autograd.variable.Variable": variable,
    "torch.utils.checkpoint.checkpoint": autograd_calls.checkpoint,
    "torch.utils.checkpoint.checkpoint_sequential": autograd_calls.checkpoint,
    "torch.autograd.grad": autograd_calls.autograd_grad,
    "torch.autograd.backward": autograd_calls.autograd_backward,
    "copy.deepcopy": deepcopy,
    "copy.copy": deepcopy,
    "itertools.chain": chain,
    "itertools.chain.from_iterable": chain,
    "itertools.islice": islice,
    "functools.partial": partial,
    "torch.nn.utils.clip_grad_norm_": clip,
    "torch.nn.utils.clip_grad_value_": clip,
    "torch.nn.utils.clip_grad.clip_grad_norm_": clip,
    "torch.nn.utils.parameters_to_vector": vector,
    "torch.func.functional_call": functional_call,
    "torch.nn.Embedding.from_pretrained": embedding_from_pretrained,
    "torch.nn.EmbeddingBag.from_pretrained": embedding_from_pretrained,
    "transformers.Trainer.get_optimizer_cls_and_kwargs": hf_trainer.optimizer_class,
    "transformers.trainer.Trainer.get_optimizer_cls_and_kwargs": hf_trainer.optimizer_class,
    "collections.OrderedDict": mapping,
    "collections.defaultdict": mapping,
    "typing.OrderedDict": mapping,
    "argparse.Namespace": namespace,
    "types.SimpleNamespace": namespace,
    "omegaconf.OmegaConf.create": namespace,
    "easydict.EasyDict": namespace,
}
