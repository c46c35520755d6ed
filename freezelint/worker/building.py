"""Builds a target's model for tracing: large tensors without memory, and a note of where each parameter was made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.overrides import TorchFunctionMode

from .frames import Line, project_line
from .targets import Built, build

LARGE = 1 << 18  # elements from which on a tensor is built without memory
FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.randn, torch.rand, torch.full, torch.empty_strided}


class Weightless(TorchFunctionMode):
    """Puts large floating-point tensors on the meta device: a big model is built in no time and no memory."""

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in FACTORIES and kwargs.get("device") is None and elements(args, kwargs) >= LARGE:
            dtype = kwargs.get("dtype")
            if dtype is None or dtype.is_floating_point:
                kwargs = {**kwargs, "device": torch.device("meta")}
        return func(*args, **kwargs)


def elements(args: Any, kwargs: Any) -> int:
    sizes = kwargs.get("size", args[0] if args and isinstance(args[0], (tuple, list)) else args)
    try:
        return prod(int(size) for size in sizes)
    except (TypeError, ValueError):
        return 0


@contextmanager
def registrations() -> Iterator[dict[int, Line]]:
    """The user's line at which each parameter was registered, by the parameter's identity."""
    lines: dict[int, Line] = {}
    alive: list[Tensor] = []

    def note(_module: nn.Module, _name: str, parameter: Any) -> None:
        line = project_line() if isinstance(parameter, Tensor) else None
        if line is not None:
            lines[id(parameter)] = line
            alive.append(parameter)

    handle = modules.register_module_parameter_registration_hook(note)
    try:
        yield lines
    finally:
        handle.remove()
        alive.clear()


def build_for_tracing(target: dict[str, Any]) -> tuple[Built, dict[str, Line]]:
    """The model, and the line at which each named parameter was made. Built for real where it cannot do without."""
    try:
        with registrations() as lines, Weightless():
            built = build(target)
            move_off_meta(built)
    except (RuntimeError, NotImplementedError, ValueError, AssertionError):
        with registrations() as lines:
            built = build(target)
    places = {name: lines[id(p)] for name, p in built.model.named_parameters() if id(p) in lines}
    return built, places


def move_off_meta(built: Built) -> None:
    """Buffers are few and may be looked at: the ones without memory must not be, so build again for real."""
    for name, buffer in built.model.named_buffers():
        if buffer.device.type == "meta" and not buffer.is_floating_point():
            raise RuntimeError(f"buffer {name} has no values")
