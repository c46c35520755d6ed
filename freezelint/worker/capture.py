"""One recorded forward, loss and backward of a model, on fake tensors or for real."""

from __future__ import annotations

import gc
import inspect
import logging
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from .caches import attributes_kept, caches_of, emptied_after
from .fake import device_of, fake_inputs, fake_model
from .frames import Line
from .hidden import Hidden, hidden_in
from .inputs import Inputs
from .outputs import Ends, can_start, ends_of, named_tensors
from .protocol import UnsupportedError
from .recorder import Recorder, has_storage, tensors
from .targets import project_path
from .watch import Watch


@dataclass(eq=False)
class Recording:
    """What one recording saw. Tensors are those of the recorded copy; names are the user's."""

    recorder: Recorder
    watch: Watch
    model: nn.Module
    parameters: dict[str, Tensor]
    buffers: list[Tensor]
    inputs: list[tuple[str, Tensor]]
    device: str
    real: bool
    trainable: frozenset[str] = frozenset()  # the parameters that required grad
    losses: list[tuple[str, Tensor]] = field(default_factory=list)
    outputs: list[tuple[str, Tensor]] = field(default_factory=list)
    other_outputs: list[tuple[str, Tensor]] = field(default_factory=list)  # could be losses, and backward left them out
    saved: dict[str, int] = field(default_factory=dict)  # bytes kept for backward, by module path
    hidden: list[tuple[Hidden, list[Tensor]]] = field(default_factory=list)  # with the tensors of the recorded copy
    hookless: bool = False  # what is saved for backward was not counted: the model allows no hooks on it
    supposed: bool = False  # with another freeze than the model's own, under which its backward may raise
    graded: frozenset[int] = frozenset()  # ids of the tensors of the model that backward handed a gradient
    notes: list[str] = field(default_factory=list)

    @property
    def guessed(self) -> bool:
        """Whether values or chance decided what ran; a real step is made where they do."""
        return self.real or self.recorder.shadows.decided_by_chance or bool(self.recorder.shadows.decided_at)

    def reached(self) -> set[str]:
        """The parameters that autograd handed a gradient."""
        return {name for name, parameter in self.parameters.items() if id(parameter) in self.graded}


Loss = Callable[..., Any]
Freeze = Callable[[str, bool], bool]  # name, requires_grad now -> requires_grad in the recording


def record(
    model: nn.Module,
    inputs: Inputs,
    loss: Loss | None = None,
    *,
    real: bool = False,
    freeze: Freeze | None = None,
    ignored: Line | None = None,
    hookless: bool = False,
) -> Recording:
    """Record one step. A fake recording works on a copy; a real one on the model itself, which is left as it was.

    Raises what the model raises. `freeze` answers "what if": it says which parameters require grad in the recording;
    `ignored` is a line of the forward that may not make a tensor require grad.
    """
    if any(nn.parameter.is_lazy(t) for t in (*model.parameters(), *model.buffers())):
        raise UnsupportedError("lazy modules get their shape when they are first called: call the model once before")
    mode = None if real else FakeTensorMode(allow_non_fake_inputs=True)
    recorder = Recorder(mode)
    device = device_of(model)
    unregistered, copies = hidden_in(model), dict[int, Any]()
    if mode is None:
        args, kwargs = inputs.args, inputs.kwargs
    else:
        model = fake_model(model, mode, recorder.shadows, copies)
        args, kwargs = fake_inputs((inputs.args, inputs.kwargs), mode, recorder.shadows, device)
    lost = [t for entry in unregistered for t in entry.tensors]
    kept = left_as_it_was(model, [*lost, *tensors((args, kwargs))]) if real else emptied_after(caches_of(model))
    with kept, same_chance():
        set_requires_grad(model, freeze)
        recording = _prepare(recorder, model, args, kwargs, device, real)
        recording.watch.ignored, recording.supposed, recording.hookless = ignored, freeze is not None, hookless
        recording.hidden = [(entry, [copies.get(id(t), t) for t in entry.tensors]) for entry in unregistered]
        _run(recording, mode, args, kwargs, loss)
        known = (*model.parameters(), *(copy for _, copied in recording.hidden for copy in copied))
        recording.graded = frozenset(id(tensor) for tensor in known if tensor.is_leaf and tensor.grad is not None)
    return recording


@contextmanager
def left_as_it_was(model: nn.Module, others: list[Tensor]) -> Iterator[None]:
    """Puts back what a real step changes: values, what a name holds, `requires_grad` and gradients."""
    plain = [m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]  # whose names can be bound anew
    held = [(m, dict(m._parameters), dict(m._buffers)) for m in plain]
    own = {id(t): t for t in (*model.parameters(), *model.buffers())}.values()
    values = [(t, t.data, t.data.clone()) for t in own]
    leaves = [(t, t.grad, t.requires_grad) for t in {id(t): t for t in (*own, *others)}.values() if t.is_leaf]
    try:
        for tensor, _, _ in leaves:
            tensor.grad = None
        with attributes_kept(plain):
            yield
    finally:
        for module, parameters, buffers in held:
            module._parameters.update(parameters)
            module._buffers.update(buffers)
        for tensor, data, value in values:
            tensor.data = data
            if not same(data, value):
                data.copy_(value)
        for tensor, grad, requires_grad in leaves:
            if tensor.is_leaf:
                tensor.grad = grad
                tensor.requires_grad_(requires_grad)


def same(left: Tensor, right: Tensor) -> bool:
    """Whether nothing was written; a NaN differs from itself and is put back once more."""
    return has_storage(left) and left.shape == right.shape and torch.equal(left, right)


@contextmanager
def same_chance() -> Iterator[None]:
    """What is drawn inside does not change what is drawn afterwards."""
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if cuda else ()
    state = random.getstate()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(state)


def set_requires_grad(model: nn.Module, freeze: Freeze | None) -> None:
    for name, parameter in model.named_parameters():
        parameter.grad = None
        if freeze is not None and parameter.is_floating_point():
            parameter.requires_grad_(freeze(name, parameter.requires_grad))


def _prepare(recorder: Recorder, model: nn.Module, args: Any, kwargs: Any, device: Any, real: bool) -> Recording:
    paths = {id(module): name for name, module in model.named_modules()}
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    buffers = dict(model.named_buffers())
    named = named_tensors(args, "", argument_names(model)) + named_tensors(kwargs, "")
    for name, tensor in parameters.items():
        recorder.placeholder(tensor, name, "parameter")
    for name, tensor in buffers.items():
        recorder.placeholder(tensor, name, "buffer")
    for name, tensor in named:
        recorder.placeholder(tensor, name, "input")
    watch = Watch(recorder, paths)
    trainable = frozenset(name for name, parameter in parameters.items() if parameter.requires_grad)
    return Recording(recorder, watch, model, parameters, list(buffers.values()), named, str(device), real, trainable)


def _run(recording: Recording, mode: FakeTensorMode | None, args: Any, kwargs: Any, loss: Loss | None) -> None:
    recorder = recording.recorder
    grad_mode = torch.is_grad_enabled()
    with ExitStack() as stack:
        stack.enter_context(no_collection())
        stack.callback(torch.set_grad_enabled, grad_mode)
        torch.set_grad_enabled(True)
        stack.enter_context(silence())
        if mode is not None:
            stack.enter_context(mode)
        stack.enter_context(recording.watch)
        stack.enter_context(recorder)
        with nullcontext() if recording.hookless else SavedBytes(recording):
            output = recording.model(*args, **kwargs)
            recorder.modules.clear()
            recording.outputs = named_tensors(output, "output")
            ends = _ends(output, loss, (args, kwargs))
            recording.losses, recording.other_outputs = ends.losses, ends.others
            recording.notes += ends.notes
        recorder.give_back([tensor for _, tensor in (recording.outputs if loss is None else recording.losses)])
        recorder.settle()
        if recorder.shadows.decided_by_chance:
            recording.notes.append("a random number decides what runs: the more likely way was taken")
        decided = list(dict.fromkeys(recorder.shadows.decided_at))
        if decided:
            more = f" and {len(decided) - 1} more places" if len(decided) > 1 else ""
            at = f"{project_path(decided[0][0])}:{decided[0][1]}{more}"
            recording.notes.append(f"values of the inputs decide at {at}: what is told holds for the way these take")
        if recording.real and any(out.is_nested for op in recorder.ops for out in op.outputs):
            recording.notes.append("what operations on nested tensors cost was not counted")
        starts = [tensor for _, tensor in recording.losses if tensor.requires_grad]
        recorder.phase = "backward"
        if starts:
            torch.autograd.backward(starts, [torch.ones_like(start) for start in starts])
        recorder.settle()


@contextmanager
def no_collection() -> Iterator[None]:
    """Everything recorded stays alive, so looking for garbage meanwhile is time lost."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def silence() -> Iterator[None]:
    """Neither warnings nor the stack traces that torch logs when an operation refuses fake tensors."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


def _ends(output: Any, loss: Loss | None, inputs: Any) -> Ends:
    """Where backward starts: at the given loss of the output, else at what the output says."""
    if loss is None:
        return ends_of(output)
    value = call_loss(loss, output, inputs)
    terms = [(name, tensor) for name, tensor in named_tensors(value, "loss") if can_start(tensor)]
    if not terms:
        raise UnsupportedError(f"the loss function returned {type(value).__name__}, not a tensor")
    return Ends(terms)


def call_loss(loss: Loss, output: Any, inputs: Any) -> Any:
    """`loss(output)`, or `loss(output, inputs)` for a function of two arguments."""
    try:
        kinds = [p.kind for p in inspect.signature(loss).parameters.values() if p.default is p.empty]
    except (TypeError, ValueError):
        kinds = []
    positional = sum(kind.name in ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD") for kind in kinds)
    if positional < 2:
        return loss(output)
    args, kwargs = inputs
    return loss(output, kwargs or (args[0] if len(args) == 1 else args))


def argument_names(model: nn.Module) -> list[str]:
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


OVERWRITTEN = (
    "one of the variables needed for gradient computation has been modified by an inplace operation: "
    "a tensor of shape {}, saved in `{}`, is at version {}; expected version {}"
)


class SavedBytes(torch.autograd.graph.saved_tensors_hooks):
    """Counts the storages that backward reads, once each, and neither parameters nor buffers.

    A tensor saved for a part of the graph that no loss leads to is not counted: it goes with its graph.
    Where hooks are set, autograd leaves it to them to see that a saved tensor was written to, which raises here too.
    """

    def __init__(self, recording: Recording) -> None:
        owned = {
            t.untyped_storage()._cdata for t in (*recording.parameters.values(), *recording.buffers) if has_storage(t)
        }

        def pack(tensor: Tensor) -> tuple[Tensor, str, int]:
            modules = recording.recorder.modules
            with torch._C.DisableTorchFunction():
                return tensor, modules[-1][0] if modules else "", tensor._version

        def unpack(packed: tuple[Tensor, str, int]) -> Tensor:
            tensor, path, version = packed
            with torch._C.DisableTorchFunction():
                if tensor._version != version and not recording.supposed:
                    raise RuntimeError(OVERWRITTEN.format(list(tensor.shape), path, tensor._version, version))
                if has_storage(tensor) and tensor.untyped_storage()._cdata not in owned:
                    owned.add(tensor.untyped_storage()._cdata)
                    recording.saved[path] = recording.saved.get(path, 0) + tensor.untyped_storage().nbytes()
                    recording.recorder.alive.append(tensor)
            return tensor

        super().__init__(pack, unpack)
