"""Optimizers, backward, and the engines that train for the author: Lightning, HF Trainer, accelerate, AMP."""

from __future__ import annotations

from freezelint.gradient_map import Kind
from freezelint.source import attributes, cst, elements, modules, objects
from freezelint.source.reader import Reader
from freezelint.source.story import (
    Backward,
    Called,
    GroupAdded,
    OptimizerBuilt,
    Step,
    ZeroGrad,
)
from freezelint.source.tree import holds
from freezelint.source.values import (
    FALSE,
    NONE,
    TRUE,
    UNKNOWN,
    Const,
    Dict,
    Func,
    Instance,
    Object,
    Optimizer,
    Param,
    ParamIter,
    Seq,
    Tensor,
    Union,
    Value,
    modules_in,
    parameters_of,
    tensors_in,
)

Args = list[Value]
Kwargs = dict[str, Value]
LIBRARY_OBJECTS = frozenset(
    "Trainer Seq2SeqTrainer SFTTrainer DPOTrainer GradScaler Accelerator Fabric SummaryWriter ArgumentParser "
    "TrainingArguments LightningTrainer".split()
)


def optimizer(reader: Reader, name: str, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Optimizer:
    new = Optimizer(name, kwargs=kwargs, spot=reader.spot(node))
    given = args[0] if args else kwargs.get("params", kwargs.get("model_params", UNKNOWN))
    take_parameters(reader, new, given, node)
    new.after = len(reader.story.parameters)
    reader.story.optimizers.append(new)
    reader.emit(OptimizerBuilt, node, new)
    return new


def take_parameters(reader: Reader, new: Optimizer, given: Value, node: cst.CSTNode) -> list[Param]:
    """What a parameter argument of an optimizer holds: parameters, groups, iterators (used up by this)."""
    before = len(new.params)
    new.groups.append(given)
    _take(reader, new, given, node)
    return new.params[before:]


def _take(reader: Reader, new: Optimizer, value: Value, node: cst.CSTNode, depth: int = 4) -> None:
    if isinstance(value, Param):
        if not any(value is known for known in new.params):
            new.params.append(value)
    elif isinstance(value, ParamIter):
        taken = elements.consume(reader, value, node, "optimizer")
        for item in taken:
            _take(reader, new, item, node, depth)
        new.known = new.known and len(taken) == len(value.items) and (bool(taken) or value.filtered)
    elif isinstance(value, Dict):
        given = value.items.get("params", UNKNOWN)
        _take(reader, new, given, group_place(value, node), depth)
        if isinstance(given, ParamIter):  # torch puts a list in its place
            value.items["params"] = Seq(list(given.items), spot=given.spot)
    elif isinstance(value, Seq) and depth:
        new.known = new.known and not value.open
        for item in value.items[-1:] if value.kind == "tuple" and len(value.items) == 2 else value.items:
            _take(reader, new, item, node, depth - 1)
    elif isinstance(value, Tensor):
        new.tensors.append(value)
    elif isinstance(value, Union) and depth:
        branch = reader.fresh()
        for number, option in enumerate(value.options):
            reader.arms.append((branch, number))  # one of them is used up, not all
            _take(reader, new, option, node, depth - 1)
            reader.arms.pop()
        new.known = False
    elif isinstance(value, Instance) and value.is_module and depth:
        for param in parameters_of(value):
            _take(reader, new, param, node, depth - 1)
    else:
        new.known = False


def group_place(group: Dict, call: cst.CSTNode) -> cst.CSTNode:
    """What a group written in the call of an optimizer gives as its parameters; the call for any other group."""
    literal = group.spot.node if group.spot is not None else None
    if not isinstance(literal, cst.Dict) or not holds(call, literal):
        return call
    pairs = [pair for pair in literal.elements if isinstance(pair, cst.DictElement)]
    keys = {pair.key.value: pair.value for pair in pairs if isinstance(pair.key, cst.SimpleString)}
    return keys.get("params", call)


def optimizer_method(
    reader: Reader, owner: Optimizer, name: str, args: Args, kwargs: Kwargs, node: cst.CSTNode
) -> Value:
    from freezelint.source.calls import call

    if name == "step":
        closure = args[0] if args else kwargs.get("closure")
        result = call(reader, closure, [], {}, node) if isinstance(closure, Func) else UNKNOWN
        reader.emit(Step, node, owner, list(owner.params))
        return result
    if name == "zero_grad":
        none = args[0] if args else kwargs.get("set_to_none", TRUE)
        reader.emit(ZeroGrad, node, owner, none != FALSE, list(owner.params))
    elif name == "add_param_group" and args:
        added = take_parameters(reader, owner, args[0], node)
        reader.emit(GroupAdded, node, owner, added)
    elif name == "backward" and args:
        backward(reader, args[0], node, name)
    return UNKNOWN


def backward(reader: Reader, value: Value, node: cst.CSTNode, via: str, inputs: Value | None = None) -> None:
    """Backward from a loss: a loss node on the map, and what it reaches at this moment (only `inputs`, if given)."""
    held = tensors_in(value)
    if not held:
        reader.emit(Backward, node, value, None, via)
        return
    sources = [reader.node_of(t) for t in held]
    loss = reader.map.node(Kind.LOSS, via, place=reader.spot(node))
    for source in sources:
        if source is not None:
            reader.map.edge(source, loss)
    reached = reader.map.reached([loss])
    for i in reached:
        param = reader.story.of_node.get(i)
        if param is not None:
            state = attributes.state_now(reader, param)
            reader.map.nodes[i].trainable = state
    wanted = inputs.items if isinstance(inputs, (Seq, ParamIter)) else None
    if wanted is not None and (named := elements.params_in(wanted)):
        others = {i for i in reached if i in reader.story.of_node} - {param.node for param in named}
        reached = {i for i in reached if i not in others and reader.map.nodes[i].kind is not Kind.INPUT}
    reader.emit(Backward, node, value, loss, via, frozenset(reached))


def object_method(reader: Reader, owner: Object, name: str, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    from freezelint.source import hf_trainer

    kind = owner.external.split(".")[-1]
    values = [*args, *kwargs.values()]
    if name in ("backward", "manual_backward") and args:
        backward(reader, args[0], node, name)
        return UNKNOWN
    if name in ("scale", "unscale_", "clip_grad_norm_", "update") or kind == "GradScaler":
        return _scaler(reader, name, args, node)
    if name in ("prepare", "prepare_model", "setup", "prepare_data_loader", "setup_dataloaders", "unwrap_model"):
        return Seq(list(args), kind="tuple") if len(args) > 1 else (args[0] if args else UNKNOWN)
    if name in hf_trainer.METHODS and hf_trainer.is_trainer(owner):
        hf_trainer.initialise(reader, owner, owner.args, owner.kwargs, node)
        return hf_trainer.method(reader, owner, name, args, kwargs, node)
    if kind.endswith("Trainer") and name in ("fit", "train"):
        return fit(reader, owner, args, kwargs, node)
    if name == "parse_args" or name == "parse_known_args":
        return _namespace(reader, owner, name, node)
    if name == "add_argument":
        add_argument(owner, args, kwargs)
        return UNKNOWN
    if name in ("autocast", "no_sync", "accumulate"):
        reader.emit(Called, node, name, owner, values, kwargs, UNKNOWN)
        return UNKNOWN
    from freezelint.source.calls import unknown_call

    result = unknown_call(reader, args, kwargs, node)
    reader.emit(Called, node, name, owner, values, kwargs, result)
    return result


def _scaler(reader: Reader, name: str, args: Args, node: cst.CSTNode) -> Value:
    if name == "step" and args:
        for option in args[0].options if isinstance(args[0], Union) else (args[0],):
            if isinstance(option, Optimizer):
                reader.emit(Step, node, option, list(option.params))
        return UNKNOWN
    if name == "clip_grad_norm_" and args and isinstance(args[0], ParamIter):
        elements.consume(reader, args[0], node, "clip")
    if name == "scale" and args:
        return args[0]
    return UNKNOWN


def add_argument(owner: Object, args: Args, kwargs: Kwargs) -> None:
    """argparse: the destination and its default."""
    from freezelint.source.values import Option

    names = [str(a.value) for a in args if isinstance(a, Const)]
    long = next((name for name in names if name.startswith("--")), names[0] if names else "")
    dest = kwargs.get("dest")
    name = str(dest.value) if isinstance(dest, Const) else long.lstrip("-").replace("-", "_")
    default = kwargs.get("default", NONE)
    action = kwargs.get("action")
    if isinstance(action, Const) and action.value == "store_true":
        default = FALSE
    elif isinstance(action, Const) and action.value == "store_false":
        default = TRUE
    if isinstance(default, Const):
        owner.attrs[name] = Option(default.value)


def _namespace(reader: Reader, owner: Object, name: str, node: cst.CSTNode) -> Value:
    made = Object("namespace", [], {}, reader.spot(node), attrs=dict(owner.attrs))
    return Seq([made, UNKNOWN], kind="tuple") if name == "parse_known_args" else made


# -- engines ---------------------------------------------------------------------------------------------------------


def fit(reader: Reader, owner: Object, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """`Trainer(...).fit(module)` of Lightning, `SFTTrainer(model, ...).train()` and the like."""
    from freezelint.source import hf_trainer

    subject = args[0] if args else kwargs.get("model", owner.kwargs.get("model"))
    if subject is None and owner.args:
        subject = owner.args[0]
    for module in modules_in(subject) if subject is not None else []:
        if module.cls is not None and module.cls.method("training_step"):
            lightning_fit(reader, module, node)
        else:
            hf_trainer.initialise(reader, owner, [module], {**owner.kwargs, "model": module}, node)
            hf_trainer.fit(reader, owner, [], {}, node)
    return UNKNOWN


def lightning_fit(reader: Reader, module: Instance, node: cst.CSTNode) -> None:
    """What Lightning does: configure_optimizers, train(), then zero_grad, training_step, backward, step per batch."""
    for hook in ("setup", "on_fit_start"):
        objects.call_method(reader, module, hook, [UNKNOWN] if hook == "setup" else [], {}, node)
    configured = objects.call_method(reader, module, "configure_optimizers", [], {}, node)
    optimizers = optimizers_in(configured)
    reader.put(module.attrs, "_optimizers", Seq(list(optimizers)))
    train_module(reader, module, node)
    manual = module.attrs.get("automatic_optimization") == FALSE
    for hook in ("on_train_start", "on_train_epoch_start"):
        objects.call_method(reader, module, hook, [], {}, node)
    loop = reader.fresh()
    for number in range(2):
        reader.loops.append((loop, number))
        batch = reader.data("batch", node)
        objects.call_method(reader, module, "on_train_batch_start", [batch, UNKNOWN], {}, node)
        loss = objects.call_method(reader, module, "training_step", [batch, UNKNOWN], {}, node)
        if not manual and loss is not None:
            _automatic_step(reader, loss, optimizers, node)
        reader.loops.pop()
    for hook in ("on_train_epoch_end",):
        objects.call_method(reader, module, hook, [], {}, node)


def train_module(reader: Reader, module: Instance, node: cst.CSTNode, via: str = "engine") -> None:
    if objects.call_method(reader, module, "train", [TRUE], {}, node) is None:
        modules.set_training(reader, module, True, via, node)
        from freezelint.source.values import submodules

        for child in submodules(module)[1:]:
            objects.call_method(reader, child, "train", [TRUE], {}, node)


def _automatic_step(reader: Reader, loss: Value, optimizers: list[Optimizer], node: cst.CSTNode) -> None:
    if isinstance(loss, Dict):
        loss = loss.items.get("loss", loss)
    for one in optimizers:
        reader.emit(ZeroGrad, node, one, True, list(one.params))
    backward(reader, loss, node, "training_step")
    for one in optimizers:
        reader.emit(Step, node, one, list(one.params))


def optimizers_in(value: Value | None, depth: int = 4) -> list[Optimizer]:
    if isinstance(value, Optimizer):
        return [value]
    inner: list[Value] = []
    if isinstance(value, Seq):
        inner = value.items
    elif isinstance(value, Dict):
        inner = list(value.items.values())
    elif isinstance(value, Union):
        inner = list(value.options)
    return [one for item in inner for one in optimizers_in(item, depth - 1)] if depth else []


def lightning_optimizers(reader: Reader, module: Instance) -> Value:
    held = module.attrs.get("_optimizers", UNKNOWN)
    if isinstance(held, Seq):
        return held.items[0] if len(held.items) == 1 else held
    return UNKNOWN
