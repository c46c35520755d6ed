"""What `transformers.Trainer` does: the attributes it gives itself, and the loop that a subclass fills in.

`training_step` puts the model in train mode each time, `compute_loss` calls it, `create_optimizer` takes what requires
grad at that moment; each of them may be replaced by a subclass. A loop that a subclass writes anew is not followed.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from freezelint.source import attributes, cst, modules, objects, training
from freezelint.source.project import ClassInfo
from freezelint.source.reader import Reader
from freezelint.source.story import Step, ZeroGrad
from freezelint.source.values import (
    FALSE,
    NONE,
    TRUE,
    UNKNOWN,
    Cls,
    Data,
    Dict,
    External,
    Instance,
    Loader,
    Object,
    Optimizer,
    Option,
    Seq,
    Tensor,
    Union,
    Value,
    modules_in,
    options,
    parameters_of,
)

Args = list[Value]
Kwargs = dict[str, Value]
Trainer = Instance | Object
Method = Callable[[Reader, Trainer, Args, Kwargs, cst.CSTNode], Value]
NAME = re.compile(r"(transformers\.(\w+\.)*(Seq2Seq)?|trl\.(\w+\.)*SFT)Trainer$")
POSITIONAL = ("model", "args", "data_collator", "train_dataset", "eval_dataset")
LOOPS = ("_inner_training_loop", "_run_epoch")
LABELS = re.compile(r"label|target")


def is_trainer(owner: Value) -> bool:
    """Whether an object is a `Trainer` of transformers (or trl's for fine-tuning), or of a class derived from it."""
    if isinstance(owner, Object):
        return NAME.match(owner.external) is not None
    return isinstance(owner, Instance) and owner.cls is not None and not owner.is_module and derives(owner.cls)


def derives(info: ClassInfo) -> bool:
    return any(NAME.match(base) for base in info.lineage()[1])


def method(reader: Reader, owner: Trainer, name: str, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """A method of the trainer as it runs: the one of the subclass, else what transformers does."""
    replaced = owner.attrs.get(name)
    if replaced is not None:
        from freezelint.source.calls import call

        return call(reader, replaced, args, kwargs, node)
    found = objects.call_method(reader, owner, name, args, kwargs, node) if isinstance(owner, Instance) else None
    return found if found is not None else METHODS[name](reader, owner, args, kwargs, node)


def initialise(reader: Reader, owner: Trainer, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """`Trainer(model, args, ...)`; an object of transformers itself is given its attributes when it is first used."""
    from freezelint.source.calls import call

    given = {**dict(zip(POSITIONAL, args, strict=False)), **kwargs}
    missing: Value = UNKNOWN if "**" in given else NONE
    model = given.get("model", NONE)
    if model == NONE and given.get("model_init", NONE) != NONE:
        model = call(reader, given["model_init"], [], {}, node)
    if not modules_in(model) and isinstance(owner, Instance):
        model = _some_model(reader, node)
    if given.get("peft_config", NONE) != NONE:
        reader.escape(modules_in(model))
    pair = given.get("optimizers", missing)
    optimizer = pair.items[0] if isinstance(pair, Seq) and pair.items else pair
    held: Kwargs = {
        "model": model,
        "model_wrapped": model,
        "optimizer": optimizer,
        "args": given.get("args", UNKNOWN),
        "accelerator": Object("accelerate.Accelerator", spot=reader.spot(node)),
        "compute_loss_func": given.get("compute_loss_func", missing),
        "_callbacks": given.get("callbacks", missing),
    }
    for name, value in held.items():
        if isinstance(owner, Instance) or name not in owner.attrs:
            reader.put(owner.attrs, name, value)
    return NONE


def _some_model(reader: Reader, node: cst.CSTNode) -> Instance:
    """The model of a trainer that is given one nobody knows."""
    made = Instance(external="torch.nn.Module", is_module=True, opaque=True, norm=None, escaped=True, name="model")
    made.spot = reader.spot(node)
    made.params["*"] = modules.new_param(reader, "*", made, node, many=True)
    return made


def fit(reader: Reader, owner: Trainer, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """`trainer.train()`: the optimizer, then the steps, with the callbacks of the project between them."""
    model = owner.attrs.get("model", UNKNOWN)
    held = modules_in(model)
    if isinstance(owner, Instance) and owner.cls and any(owner.cls.method(name) for name in LOOPS):
        reader.escape(held)
        return UNKNOWN
    if not held:
        return UNKNOWN
    optimizers = _optimizers(reader, owner, node)
    _zero_grad(reader, model, node)
    _told(reader, owner, "on_train_begin", node)
    loop = reader.fresh()
    for number in range(2):
        reader.loops.append((loop, number))
        for event in ("on_epoch_begin", "on_step_begin"):
            _told(reader, owner, event, node)
        batch = reader.data("batch", node)
        method(reader, owner, "training_step", [model, batch], {"num_items_in_batch": UNKNOWN}, node)
        _told(reader, owner, "on_pre_optimizer_step", node)
        for one in optimizers:
            reader.emit(Step, node, one, list(one.params))
        _told(reader, owner, "on_optimizer_step", node)
        _zero_grad(reader, model, node)
        for event in ("on_step_end", "on_epoch_end"):
            _told(reader, owner, event, node)
        reader.loops.pop()
    _told(reader, owner, "on_train_end", node)
    return UNKNOWN


def _zero_grad(reader: Reader, model: Value, node: cst.CSTNode) -> None:
    for module in modules_in(model):
        reader.emit(ZeroGrad, node, module, True, parameters_of(module))


def _optimizers(reader: Reader, owner: Trainer, node: cst.CSTNode) -> list[Optimizer]:
    """What the trainer steps; where that cannot be told, an optimizer nobody knows anything of."""
    both = isinstance(owner, Instance) and owner.cls and owner.cls.method("create_optimizer_and_scheduler")
    method(reader, owner, "create_optimizer_and_scheduler" if both else "create_optimizer", [], {}, node)
    held = owner.attrs.get("optimizer", UNKNOWN)
    found = training.optimizers_in(held)
    if not found:
        found = [Optimizer("transformers.Trainer", spot=reader.spot(node))]
        reader.story.optimizers += found
    sure = isinstance(held, Optimizer) and not both  # only some versions call the one that makes both
    for one in found:
        one.known = one.known and bool(one.params) and sure and not _guessed(owner)
    return found


def _guessed(owner: Trainer) -> bool:
    return any(module.escaped for module in modules_in(owner.attrs.get("model", UNKNOWN)))


def create_optimizer(reader: Reader, owner: Trainer, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """Everything that requires grad now, unless there is an optimizer already."""
    held = owner.attrs.get("optimizer", UNKNOWN)
    if held != NONE:
        return held
    given = args[0] if args else kwargs.get("model", NONE)
    model = given if modules_in(given) else owner.attrs.get("model", UNKNOWN)
    params = [p for module in modules_in(model) for p in parameters_of(module)]
    opened: list[Value] = [p for p in params if attributes.state_now(reader, p) is not False]
    made = training.optimizer(reader, "transformers.Trainer", [Seq(opened)], {}, node)
    reader.put(owner.attrs, "optimizer", made)
    return made


def create_both(reader: Reader, owner: Trainer, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    method(reader, owner, "create_optimizer", [], {}, node)
    return UNKNOWN


def optimizer_class(reader: Reader, owner: Trainer | str, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """`get_optimizer_cls_and_kwargs`: some class of optimizers, and settings nobody knows."""
    return Seq([External("torch.optim.AdamW"), Dict({}, Option())], kind="tuple")


def training_step(reader: Reader, owner: Trainer, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """Train mode, the loss, backward."""
    model = args[0] if args else kwargs.get("model", UNKNOWN)
    batch = args[1] if len(args) > 1 else kwargs.get("inputs", UNKNOWN)
    for module in modules_in(model):
        training.train_module(reader, module, node, "trainer" if is_trainer(owner) else "engine")
    batch = method(reader, owner, "_prepare_inputs", [batch], {}, node)
    loss = method(reader, owner, "compute_loss", [model, batch], {"num_items_in_batch": UNKNOWN}, node)
    training.backward(reader, first_of(loss), node, "training_step")
    return UNKNOWN


def first_of(loss: Value) -> Value:
    return loss.items[0] if isinstance(loss, Seq) and loss.kind == "tuple" and loss.items else loss


def compute_loss(reader: Reader, owner: Trainer, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """The model called with the batch, and the loss it gives or the given function makes of what it gives."""
    from freezelint.source.calls import call

    model = args[0] if args else kwargs.get("model", UNKNOWN)
    batch = args[1] if len(args) > 1 else kwargs.get("inputs", UNKNOWN)
    outputs = call(reader, model, [], _arguments(model, batch), node)
    function = owner.attrs.get("compute_loss_func", NONE)
    if function == NONE:
        loss = loss_in(reader, outputs)
    else:
        loss = call(reader, function, [outputs, batch], {"num_items_in_batch": UNKNOWN}, node)
    wanted = args[2] if len(args) > 2 else kwargs.get("return_outputs", FALSE)
    pair = Seq([loss, outputs], kind="tuple")
    return loss if wanted == FALSE else pair if wanted == TRUE else Union((loss, pair))


def _arguments(model: Value, batch: Value) -> Kwargs:
    """A batch as the keywords of a model: what its `forward` needs and its labels are there, the rest may be."""
    if isinstance(batch, Dict):
        more = {"**": batch.rest if isinstance(batch.rest, Data) else Option()} if batch.rest is not None else {}
        return {**{str(key): value for key, value in batch.items.items()}, **more}
    if not isinstance(batch, Data):
        return {"**": Option()}
    info = next((module.cls for module in modules_in(model) if module.cls is not None), None)
    forward = info.method("forward") if info is not None else None
    if forward is None:
        return {"input_ids": batch, "labels": batch}
    given: Kwargs = {}
    for param in (*forward.node.params.params[1:], *forward.node.params.kwonly_params):
        name = param.name.value
        if param.default is None or LABELS.search(name):
            given[name] = batch
        elif isinstance(param.default, cst.Name) and param.default.value == "None":
            given[name] = Union((batch, NONE))
    return {**given, "**": batch} if forward.node.params.star_kwarg is not None else given


def loss_in(reader: Reader, outputs: Value) -> Value:
    """`outputs["loss"]` of a dict or an output class, else the first of what the model returns."""
    if isinstance(outputs, Union):
        joined: Value = reader.join([loss_in(reader, option) for option in outputs.options])
        return joined
    if isinstance(outputs, Dict):
        return outputs.items.get("loss", UNKNOWN)
    if isinstance(outputs, (Instance, Object)):
        return outputs.attrs.get("loss", UNKNOWN)
    if isinstance(outputs, Seq):
        return outputs.items[0] if outputs.items else UNKNOWN
    return outputs if isinstance(outputs, Tensor) else UNKNOWN


# -- callbacks -------------------------------------------------------------------------------------------------------


def _told(reader: Reader, owner: Trainer, event: str, node: cst.CSTNode) -> None:
    """The callbacks of the project, at one moment; what an unknown one does to the model nobody knows."""
    model = owner.attrs.get("model", UNKNOWN)
    told = owner.attrs.get("_callbacks", NONE)
    for one in _each(told):
        if isinstance(one, Instance):
            more = {"model": model, "optimizer": owner.attrs.get("optimizer", UNKNOWN), "**": Option()}
            objects.call_method(reader, one, event, [owner.attrs.get("args", UNKNOWN), UNKNOWN, UNKNOWN], more, node)
        elif type(one) is Value:
            reader.escape(modules_in(model))


def _each(told: Value) -> list[Value]:
    if isinstance(told, Seq):
        more = [UNKNOWN] if told.open else []
        return [*(option for item in told.items for option in options(item)), *more]
    return [item for option in options(told) for item in (_each(option) if isinstance(option, Seq) else [option])]


def add_callback(reader: Reader, owner: Trainer, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    """Also of a class, which the trainer makes an object of."""
    from freezelint.source.calls import call

    given = args[0] if args else kwargs.get("callback", UNKNOWN)
    made = call(reader, given, [], {}, node) if isinstance(given, Cls) else given
    reader.put(owner.attrs, "_callbacks", Seq([*_each(owner.attrs.get("_callbacks", NONE)), made]))
    return UNKNOWN


def same(reader: Reader, owner: Trainer, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    return args[0] if args else kwargs.get("inputs", kwargs.get("model", UNKNOWN))


def batches(reader: Reader, owner: Trainer, args: Args, kwargs: Kwargs, node: cst.CSTNode) -> Value:
    return Loader("dataloader")


METHODS: dict[str, Method] = {
    "__init__": initialise,
    "train": fit,
    "create_optimizer": create_optimizer,
    "create_optimizer_and_scheduler": create_both,
    "get_optimizer_cls_and_kwargs": optimizer_class,
    "training_step": training_step,
    "compute_loss": compute_loss,
    "_prepare_inputs": same,
    "_prepare_input": same,
    "_wrap_model": same,
    "get_train_dataloader": batches,
    "get_eval_dataloader": batches,
    "add_callback": add_callback,
}
