"""Puts the monitor's ears on torch's classes and functions, and takes them off again."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from .ledger import Opt
from .module_patches import ModulePatches
from .monitor import Monitor, near_miss

_listening: list[Monitor] = []  # optimizer classes are hooked once and for all: who listens now
_GRAD_MODE_FILE = "grad_mode.py"


class Patches(ModulePatches):
    """Attributes replaced while the monitor listens; `undo` restores every one of them."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__()
        self.monitor = monitor

    def undo(self) -> None:
        for owner, name, raw, held in reversed(self.originals):
            if held or not isinstance(owner, type):
                setattr(owner, name, raw)
            else:
                delattr(owner, name)
        self.originals = []
        if self.monitor in _listening:
            _listening.remove(self.monitor)

    def install(self) -> None:
        _listening.append(self.monitor)
        self.optimizers()
        self.modules()
        self.module_helpers()
        self.autograd()
        self.leaves()
        self.compilers()
        self.grad_modes()
        self.attributes()

    # -- optimizers ------------------------------------------------------------------------------------------------

    def optimizers(self) -> None:
        monitor, base = self.monitor, torch.optim.Optimizer

        def init(original: Any) -> Any:
            @functools.wraps(original)
            def init_and_tell(self: Any, params: Any, *args: Any, **kwargs: Any) -> None:
                entry = Opt(self, monitor.places.here())
                frame = monitor.places.frame()
                entry.built_in = frame.f_code if frame is not None else None
                monitor.ledger.optimizers.append(entry)
                monitor.safely(monitor.iterator_given, params, "optimizer", entry.place)
                try:
                    original(self, params, *args, **kwargs)
                except Exception as error:
                    entry.error = str(error)
                    monitor.event("optimizer_error", entry.place, text=str(error))
                    monitor.safely(monitor.survey)
                    raise
                monitor.safely(monitor.iterator_taken, params, entry.place)
                monitor.safely(monitor.grouped, entry, self)

            return init_and_tell

        def add(original: Any) -> Any:
            @functools.wraps(original)
            def add_param_group(self: Any, *args: Any, **kwargs: Any) -> Any:
                result = original(self, *args, **kwargs)
                entry = monitor.ledger.optimizer(self)
                if entry is not None and hasattr(self, "state"):
                    monitor.safely(monitor.grouped, entry, self)
                return result

            return add_param_group

        def hooking(original: Any) -> Any:
            def profile_hook_step(func: Any) -> Any:
                return watched_step(original(func))

            return staticmethod(profile_hook_step)

        def zero(original: Any) -> Any:
            @functools.wraps(original)
            def zero_grad(self: Any, *args: Any, **kwargs: Any) -> Any:
                with monitor.zeroing(p for group in self.param_groups for p in group["params"]):
                    return original(self, *args, **kwargs)

            return zero_grad

        self.put(base, "__init__", init)
        self.put(base, "add_param_group", add)
        self.put(base, "profile_hook_step", hooking)
        self.put(base, "zero_grad", zero)
        for kind in subclasses(base):  # torch has hooked the step of those that were made before
            step = kind.__dict__.get("step")
            if getattr(step, "hooked", False) and not getattr(step, "watched", False):
                kind.step = watched_step(step)

    # -- autograd --------------------------------------------------------------------------------------------------

    def autograd(self) -> None:
        monitor = self.monitor

        def backward(original: Any) -> Any:
            @functools.wraps(original)
            def backward(tensors_: Any, *args: Any, **kwargs: Any) -> Any:
                roots = [tensors_] if isinstance(tensors_, Tensor) else list(tensors_)
                only = kwargs.get("inputs")
                only = [only] if isinstance(only, Tensor) else list(only) if only is not None else None
                if only is not None:
                    kwargs["inputs"] = only
                weights = kwargs.get("grad_tensors", args[0] if args else None)
                double = bool(kwargs.get("create_graph", args[2] if len(args) > 2 else False))
                return monitor.run_backward(
                    roots,
                    "backward",
                    only,
                    lambda: original(roots, *args, **kwargs),
                    create_graph=double,
                    weights=[weights] if isinstance(weights, Tensor) else weights,
                )

            return backward

        def grad(original: Any) -> Any:
            @functools.wraps(original)
            def grad(outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
                roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
                wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
                given = wanted if not isinstance(inputs, Tensor) else inputs
                double = bool(kwargs.get("create_graph", args[2] if len(args) > 2 else False))
                return monitor.run_backward(
                    roots, "grad", wanted, lambda: original(outputs, given, *args, **kwargs), create_graph=double
                )

            return grad

        def packing(original: Any) -> Any:
            @functools.wraps(original)
            def enter_and_tell(self: Any) -> Any:
                monitor.trials.watched = (
                    monitor.trials.watched or "forward saves its tensors through hooks (checkpointing)"
                )
                return original(self)

            return enter_and_tell

        self.put(torch.autograd.graph.saved_tensors_hooks, "__enter__", packing)
        self.put(torch.autograd, "backward", backward)
        self.put(torch.autograd, "grad", grad)

    def leaves(self) -> None:
        """Tensors that come from elsewhere than an operation of torch: custom functions, Variables, numpy arrays."""
        monitor = self.monitor

        def apply(original: Any) -> Any:
            function = vars(torch.autograd.Function)["apply"].__func__

            @functools.wraps(function)
            def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
                if monitor.flow.quiet:
                    return function(cls, *args, **kwargs)
                return monitor.applied(cls, lambda: function(cls, *args, **kwargs), (*args, *kwargs.values()))

            return classmethod(apply)

        def variable(original: Any) -> Any:
            def new_and_tell(cls: Any, *args: Any, **kwargs: Any) -> Any:
                result = original(cls, *args, **kwargs)
                if not monitor.flow.quiet:
                    monitor.safely(monitor.made_variable, result, args, kwargs)
                return result

            return new_and_tell

        def from_numpy(original: Any) -> Any:
            @functools.wraps(original)
            def wrapper(array: Any) -> Any:
                result = original(array)
                if not monitor.flow.quiet:
                    monitor.flow.imported(result)
                return result

            return wrapper

        self.put(torch, "from_numpy", from_numpy)
        self.put(torch.autograd.Function, "apply", apply)
        self.put(torch.autograd.Variable, "__new__", variable)

    def compilers(self) -> None:
        """What `torch.compile` makes, and torch.jit while it records, runs unwatched: no graph of the user's may hold
        anything of ours."""
        monitor = self.monitor

        def alone(original: Any) -> Any:
            @functools.wraps(original)
            def call_alone(*args: Any, **kwargs: Any) -> Any:
                with monitor.flow.aside():
                    return original(*args, **kwargs)

            return call_alone

        def compiling(original: Any) -> Any:
            @functools.wraps(original)
            def compile_alone(model: Any = None, *args: Any, **kwargs: Any) -> Any:
                result = original(model, *args, **kwargs)
                if isinstance(result, nn.Module):
                    if not getattr(type(result).__call__, "__wrapped__", None):
                        self.put(type(result), "__call__", alone)
                    return result
                return alone(result) if model is not None else lambda function: alone(result(function))

            return compile_alone

        self.put(torch, "compile", compiling)
        for owner, name in ((torch.jit, "trace"), (torch.jit, "trace_module"), (torch.jit, "script")):
            self.put(owner, name, alone)

    # -- grad mode and attributes ----------------------------------------------------------------------------------

    def grad_modes(self) -> None:
        monitor = self.monitor

        def enter(kind: str, enabled: bool) -> Callable[[Any], Any]:
            def make(original: Any) -> Any:
                @functools.wraps(original)
                def enter_and_tell(self: Any) -> Any:
                    result = original(self)
                    flag = not getattr(self, "mode", True) if kind == "inference_mode" else enabled
                    monitor.safely(monitor.region_entered, self, kind, flag, sys._getframe(1))
                    return result

                return enter_and_tell

            return make

        def leave(original: Any) -> Any:
            @functools.wraps(original)
            def exit_and_tell(self: Any, *args: Any) -> Any:
                result = original(self, *args)
                monitor.safely(monitor.region_left, self)
                return result

            return exit_and_tell

        def switch(original: Any) -> Any:
            @functools.wraps(original)
            def init_and_tell(self: Any, mode: bool) -> None:
                original(self, mode)
                if not sys._getframe(1).f_code.co_filename.endswith(_GRAD_MODE_FILE):
                    monitor.safely(monitor.switched, self, bool(mode))

            return init_and_tell

        def clear(original: Any) -> Any:
            @functools.wraps(original)
            def clear_and_tell() -> None:
                for region in monitor.autocasts:
                    region[3] = 0
                original()

            return clear_and_tell

        self.put(torch, "clear_autocast_cache", clear)
        self.put(torch.no_grad, "__enter__", enter("no_grad", False))
        self.put(torch.no_grad, "__exit__", leave)
        self.put(torch.enable_grad, "__enter__", enter("enable_grad", True))
        self.put(torch.enable_grad, "__exit__", leave)
        self.put(torch.inference_mode, "__enter__", enter("inference_mode", False))
        self.put(torch.inference_mode, "__exit__", leave)
        self.put(torch.set_grad_enabled, "__init__", switch)
        self.put(torch.set_grad_enabled, "__exit__", leave)
        self.put(torch.autocast, "__enter__", monitor.autocast_entering)
        self.put(torch.autocast, "__exit__", monitor.autocast_leaving)

    def attributes(self) -> None:
        monitor = self.monitor
        module_set = nn.Module.__setattr__

        def set_and_tell(self: Any, name: str, value: Any) -> None:
            module_set(self, name, value)
            if name == "requires_grad" or ("gra" in name and near_miss(name)):
                monitor.safely(monitor.attribute_set, self, name, value)
            elif isinstance(value, (nn.Module, Tensor, list, tuple, dict)):
                monitor.safely(monitor.registered, self, name, value)

        def tensor_set(self: Any, name: str, value: Any) -> None:
            object.__setattr__(self, name, value)
            if name == "requires_grad_" or near_miss(name):
                monitor.safely(monitor.attribute_set, self, name, value)

        self.put(nn.Module, "__setattr__", lambda original: set_and_tell)
        self.put(Tensor, "__setattr__", lambda original: tensor_set)


def watched_step(step: Any) -> Any:
    """`Optimizer.step` between two looks at the gradients."""

    @functools.wraps(step)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        monitor = _listening[-1] if _listening else None
        if monitor is None:
            return step(self, *args, **kwargs)
        closure = bool(args and callable(args[0])) or callable(kwargs.get("closure"))
        watched = [] if closure or monitor.flow.quiet else monitor.safely(monitor.stepping, self)
        with nullcontext() if closure else monitor.flow.aside():
            result = step(self, *args, **kwargs)
        if not monitor.flow.quiet:
            if closure:
                monitor.safely(monitor.called_back, self)
                watched = monitor.safely(monitor.stepping, self)
            monitor.safely(monitor.stepped, self, watched or [])
        return result

    wrapper.hooked = wrapper.watched = True  # type: ignore[attr-defined]
    return wrapper


def subclasses(kind: type) -> list[Any]:
    """Every class derived from one, each once."""
    found: dict[Any, None] = dict.fromkeys(kind.__subclasses__())
    for one in list(found):
        found |= dict.fromkeys(subclasses(one))
    return list(found)
