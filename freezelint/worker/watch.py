"""What dispatch cannot see: which module runs, how user code called an operation, who switched grad mode off, which
leaf was made to require grad inside a forward, when autograd starts and which of its nodes run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.overrides import TorchFunctionMode

from .frames import Line, frames, is_user_file, user_line
from .recorder import GradOff, Recorder, tensors

API: dict[Any, str] = {
    Tensor.data.__get__: "data",  # type: ignore[attr-defined]
    Tensor.detach: "detach",
    Tensor.detach_: "detach",
    torch.detach: "detach",
    torch.tensor: "copy",
    torch.as_tensor: "copy",
    torch.from_numpy: "from_numpy",
    Tensor.item: "item",
    Tensor.tolist: "item",
    Tensor.__float__: "item",
    Tensor.__int__: "item",
    Tensor.__bool__: "item",
    Tensor.numpy: "numpy",
    Tensor.__array__: "numpy",
}

EXITS = {Tensor.item: ".item()", Tensor.tolist: ".tolist()", Tensor.__float__: "float()", Tensor.numpy: ".numpy()"}


@dataclass
class Spot:
    """Something user code did to one tensor, after so many recorded operations."""

    tensor: Tensor
    what: str
    after: int
    line: Line | None
    path: str
    value: float | None = None  # what it was as a number, in a real step
    text: str = ""  # how it left torch


@dataclass
class Region:
    """One run of an autograd.Function's forward; `live`: some result requires grad."""

    name: str
    line: Line | None
    path: str
    live: bool = False


class Watch(TorchFunctionMode):
    """A function mode, global module hooks and three patched entry points, for as long as the context lasts."""

    def __init__(self, recorder: Recorder, paths: dict[int, str]) -> None:
        super().__init__()
        self.recorder = recorder
        self.paths = paths
        self.hidden_leaves: list[Spot] = []  # tensors made to require grad inside the forward
        self.made_parameters: list[Spot] = []  # parameters that came into being inside the forward
        self.exits: list[Spot] = []  # values that left torch: .item(), .numpy()
        self.fresh: set[int] = set()  # tensors made from such values, or from any other data
        self.flags: dict[int, bool] = {}  # what was frozen inside the forward -> whether it required grad at the end
        self.read_grads: set[int] = set()  # tensors whose gradient somebody asked for
        self.regions: list[Region] = []
        self.ignored: Line | None = None  # a line whose request for a gradient is passed over
        self._outer: dict[int, GradOff | None] = {}  # grad-mode context -> what had switched grad mode off before it
        self._stack = ExitStack()
        self._hooked: set[Any] = set()

    def __enter__(self) -> Watch:
        stack = self._stack
        stack.callback(modules.register_module_forward_pre_hook(self._enter_module).remove)
        stack.callback(modules.register_module_forward_hook(self._leave_module, always_call=True).remove)
        self._patch(torch.autograd, "_engine_run_backward", self._run_backward)
        self._patch(torch.autograd.grad_mode.inference_mode, "__enter__", self._enter_inference)
        self._patch(torch.autograd.grad_mode.inference_mode, "__exit__", self._leave_inference)
        original = torch.autograd.Function.__dict__["apply"]
        stack.callback(setattr, torch.autograd.Function, "apply", original)
        torch.autograd.Function.apply = classmethod(self._apply(original.__func__))  # type: ignore[assignment]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)  # type: ignore[no-untyped-call]
        self._stack.close()

    def _patch(self, holder: Any, name: str, replacement: Callable[..., Any]) -> None:
        original = getattr(holder, name)
        self._stack.callback(setattr, holder, name, original)
        setattr(holder, name, lambda *args, **kwargs: replacement(original, *args, **kwargs))

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.recorder.settle()
        if func is torch._C._set_grad_enabled:
            self._grad_switched(bool(args[0]))
        elif func in WATCHED:
            return self._watched(func, args, kwargs)
        return func(*args, **kwargs)

    def _watched(self, func: Any, args: Any, kwargs: Any) -> Any:
        recorder = self.recorder
        if func in REQUIRES_GRAD:
            if self.ignored is not None and user_line() == self.ignored:
                return args[0]
            self._required(args, kwargs)
            return func(*args, **kwargs)
        if func == SET_DATA:
            return recorder.rebind(func, *args)
        if func == GRAD:
            self.read_grads.add(id(args[0]))
            return func(*args, **kwargs)
        outer, recorder.api = recorder.api, API[func]
        if recorder.api in ("item", "numpy") and args[0].is_floating_point():
            self.exits.append(self._spot(args[0], recorder.api, EXITS.get(func, f".{recorder.api}()")))
        try:
            out = func(*args, **kwargs)
        finally:
            recorder.settle()
            recorder.api = outer
        if func in TO_NUMBER and isinstance(out, float) and self.exits and self.exits[-1].tensor is args[0]:
            self.exits[-1].value = out
        if func in FRESH:
            self.fresh.add(id(out))
            recorder.alive.append(out)
        return out

    def _required(self, args: Any, kwargs: Any) -> None:
        value = args[1] if len(args) > 1 else kwargs.get("requires_grad", True)
        tensor = args[0]
        if not value or id(tensor) in self.flags:
            self.flags[id(tensor)] = bool(value)
        if value and not tensor.requires_grad and not isinstance(tensor, nn.Parameter):
            made = any(frame.f_code is nn.Parameter.__new__.__code__ for frame in frames())
            (self.made_parameters if made else self.hidden_leaves).append(self._spot(tensor, "requires_grad"))

    def _spot(self, tensor: Tensor, what: str, text: str = "") -> Spot:
        self.recorder.alive.append(tensor)
        return Spot(tensor, what, len(self.recorder.ops), user_line(), self._path(), text=text)

    def _path(self) -> str:
        return self.recorder.modules[-1][0] if self.recorder.modules else ""

    def _grad_switched(self, enabled: bool) -> None:
        self.recorder.settle()
        context, leaves = switching_context()
        if leaves:
            self.recorder.grad_off = self._outer.pop(id(context), None)
            return
        self._outer[id(context)] = self.recorder.grad_off
        if torch.is_inference_mode_enabled():
            return  # under which no switch brings a graph
        if enabled:
            self.recorder.grad_off = None
        elif torch.is_grad_enabled():
            cause = "set_grad_enabled" if isinstance(context, torch.set_grad_enabled) else "no_grad"
            self.recorder.grad_off = (cause, switch_line(), self._path())

    def _enter_inference(self, original: Callable[..., Any], context: Any) -> Any:
        self.recorder.settle()
        self._outer[id(context)] = self.recorder.grad_off
        self.recorder.grad_off = ("inference_mode", switch_line(), self._path()) if context.mode else None
        return original(context)

    def _leave_inference(self, original: Callable[..., Any], context: Any, *error: Any) -> Any:
        self.recorder.settle()
        self.recorder.grad_off = self._outer.pop(id(context), None)
        return original(context, *error)

    def _enter_module(self, module: nn.Module, _args: Any) -> None:
        self.recorder.modules.append((self.paths.get(id(module), type(module).__name__), type(module).__name__))

    def _leave_module(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        if self.recorder.modules:
            self.recorder.modules.pop()

    def _apply(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def apply(function: Any, *args: Any, **kwargs: Any) -> Any:
            self.recorder.settle()
            region = Region(function.__name__, user_line(), self._path())
            self.regions.append(region)
            self.recorder.regions.append(len(self.regions) - 1)
            try:
                out = original(function, *args, **kwargs)
                region.live = any(t.requires_grad for t in tensors(out))
                return out
            finally:
                self.recorder.regions.pop()
                self.recorder.settle()

        return apply

    def _run_backward(self, original: Callable[..., Any], roots: Any, *args: Any, **kwargs: Any) -> Any:
        self.recorder.settle()
        inputs = args[3] if len(args) > 3 else kwargs.get("inputs", ())
        self.read_grads.update(id(t) for t in inputs or () if isinstance(t, Tensor))
        for node in autograd_nodes(roots):
            if node not in self._hooked and type(node).__name__ != "AccumulateGrad":
                self._hooked.add(node)
                self._hook(node)
        outer = self.recorder.grad_off
        if not (args[2] if len(args) > 2 else kwargs.get("create_graph")):
            self.recorder.grad_off = ("grad", user_line(), self._path())
        try:
            return original(roots, *args, **kwargs)
        finally:
            self.recorder.settle()
            self.recorder.grad_off = outer

    def _hook(self, node: Any) -> None:
        def before(grads: tuple[Tensor | None, ...]) -> None:
            self.recorder.begin(node, any(grad is not None for grad in grads))

        def after(results: tuple[Tensor | None, ...], _grads: Any) -> None:
            self.recorder.end(results)

        self._stack.callback(node.register_prehook(before).remove)
        self._stack.callback(node.register_hook(after).remove)


GRAD = Tensor.grad.__get__  # type: ignore[union-attr]
SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]
REQUIRES_GRAD = {Tensor.requires_grad_, Tensor.requires_grad.__set__}  # type: ignore[attr-defined]
TO_NUMBER = {Tensor.item, Tensor.__float__}
FRESH = {torch.tensor, torch.as_tensor, torch.from_numpy}
WATCHED = {*API, *REQUIRES_GRAD, GRAD, SET_DATA}


def autograd_nodes(roots: Any) -> list[Any]:
    """Every autograd node behind the roots."""
    seen: dict[Any, None] = {}
    todo = [root.grad_fn for root in (roots if isinstance(roots, (tuple, list)) else (roots,)) if root.grad_fn]
    while todo:
        node = todo.pop()
        if node not in seen:
            seen[node] = None
            todo.extend(following for following, _ in node.next_functions if following is not None)
    return list(seen)


def switching_context() -> tuple[Any, bool]:
    """The object whose `__enter__`, `__exit__` or constructor switches grad mode, and whether it is its `__exit__`."""
    found: Any = (None, False)
    for frame in frames():
        if frame.f_code.co_filename == torch.autograd.grad_mode.__file__:
            found = frame.f_locals.get("self"), frame.f_code.co_name == "__exit__"
        elif found[0] is not None:
            break
    return found[0], found[1]


def switch_line() -> Line | None:
    """The `with` line that switched grad mode off, or the first line of the function decorated to do so."""
    for frame in frames():
        if frame.f_code.co_name in ("decorate_context", "generator_context"):
            code = getattr(frame.f_locals.get("func"), "__code__", None)
            if code is not None:
                return code.co_filename, code.co_firstlineno
        if is_user_file(frame.f_code.co_filename):
            return frame.f_code.co_filename, frame.f_lineno
    return None
