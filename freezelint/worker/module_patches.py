"""What the monitor hears of modules: building, calling, train and eval, registering, walking, clipping, loading."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .monitor import Monitor


class ModulePatches:
    """The part of `Patches` that concerns nn.Module."""

    monitor: Monitor

    def __init__(self) -> None:
        self.originals: list[tuple[Any, str, Any, bool]] = []

    def put(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        held = name in vars(owner)
        raw = vars(owner).get(name, None) if isinstance(owner, type) else getattr(owner, name)
        current = getattr(owner, name)
        self.originals.append((owner, name, raw, held))
        setattr(owner, name, make(current))

    def modules(self) -> None:
        monitor, stack = self.monitor, self.monitor.stack

        def init(original: Any) -> Any:
            @functools.wraps(original)
            def init_and_tell(self: Any, *args: Any, **kwargs: Any) -> None:
                monitor.safely(monitor.built, self)
                original(self, *args, **kwargs)

            return init_and_tell

        def call(original: Any) -> Any:
            @functools.wraps(original)
            def call_and_tell(self: Any, *args: Any, **kwargs: Any) -> Any:
                if monitor.flow.quiet:
                    return original(self, *args, **kwargs)
                entry = monitor.safely(monitor.forward_started, self, args)
                try:
                    return original(self, *args, **kwargs)
                finally:
                    if len(stack) > 1 and stack[-1] is entry:
                        stack.pop()
                    else:
                        monitor.safely(monitor.forward_ended, entry)

            return call_and_tell

        def train(original: Any) -> Any:
            @functools.wraps(original)
            def train(self: Any, mode: bool = True) -> Any:
                monitor.safely(monitor.mode_set, self, mode)
                try:
                    return original(self, mode)
                finally:
                    monitor.mode_depth -= 1

            return train

        def register(original: Any) -> Any:
            @functools.wraps(original)
            def wrapper(self: Any, name: str, value: Any) -> Any:
                result = original(self, name, value)
                monitor.safely(monitor.registered, self, name, value)
                return result

            return wrapper

        self.put(nn.Module, "__init__", init)
        self.put(nn.Module, "__call__", call)
        self.put(nn.Module, "train", train)
        self.put(nn.Module, "register_parameter", register)
        self.put(nn.Module, "add_module", register)

    def module_helpers(self) -> None:
        """What is asked of modules from outside their forward: zeroing, clipping, walking parameters."""
        monitor = self.monitor

        def zero(original: Any) -> Any:
            @functools.wraps(original)
            def zero_grad(self: Any, *args: Any, **kwargs: Any) -> Any:
                with monitor.zeroing(self.parameters()):
                    return original(self, *args, **kwargs)

            return zero_grad

        def clip(original: Any) -> Any:
            @functools.wraps(original)
            def wrapper(parameters: Any, *args: Any, **kwargs: Any) -> Any:
                monitor.safely(monitor.iterator_given, parameters, "clipping", monitor.places.here())
                try:
                    with monitor.flow.aside():
                        return original(parameters, *args, **kwargs)
                finally:
                    monitor.safely(monitor.iterator_taken, parameters, monitor.places.here())

            return wrapper

        self.put(nn.Module, "zero_grad", zero)
        self.put(nn.Module, "parameters", monitor.drains.wrap)
        for name in ("named_parameters", "named_modules", "named_children"):
            self.put(nn.Module, name, monitor.drains.wrap_named)
        for name in ("clip_grad_norm_", "clip_grad_value_"):
            self.put(torch.nn.utils, name, clip)
        self.weights_given()

    def weights_given(self) -> None:
        """Where parameters come from: made, copied, or taken from a table."""
        monitor = self.monitor

        def pretrained(original: Any) -> Any:
            function = original.__func__

            @functools.wraps(function)
            def from_pretrained(cls: Any, *args: Any, **kwargs: Any) -> Any:
                result = function(cls, *args, **kwargs)
                monitor.event("from_pretrained", monitor.places.here(), name=cls.__name__)
                monitor.safely(monitor.loaded, result.weight, "from_pretrained")
                if kwargs.get("freeze", True):
                    monitor.safely(monitor.frozen, result.weight)
                return result

            return classmethod(from_pretrained)

        def copied(original: Any) -> Any:
            @functools.wraps(original)
            def __deepcopy__(self: Any, memo: Any) -> Any:  # noqa: N807
                result = original(self, memo)
                monitor.safely(monitor.loaded, result, "deepcopy")
                return result

            return __deepcopy__

        def made(original: Any) -> Any:
            def new_and_tell(cls: Any, *args: Any, **kwargs: Any) -> Any:
                result = original(cls, *args, **kwargs)
                if monitor.stack and not monitor.flow.quiet:
                    monitor.safely(monitor.made_in_forward, result)
                return result

            return new_and_tell

        self.put(nn.Parameter, "__new__", made)
        self.put(nn.Parameter, "__deepcopy__", copied)
        self.put(nn.Embedding, "from_pretrained", pretrained)
