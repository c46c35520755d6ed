"""Builds a target's model for tracing: large tensors without memory, and a log of what the set-up code did."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .setup_log import SetupLog
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


def build_for_tracing(target: dict[str, Any]) -> tuple[Built, SetupLog]:
    """The model and the log of its set-up. Built for real where it cannot do without values."""
    log = SetupLog()
    try:
        with log.active(), Weightless():
            built = build(target)
        require_values(built)
    except (RuntimeError, NotImplementedError, ValueError, AssertionError):
        log = SetupLog()
        with log.active():
            built = build(target)
    return built, log


def require_values(built: Built) -> None:
    """Index tables may be looked at: a model that holds one without values must be built for real."""
    for name, buffer in (pair for one in (built, *built.others) for pair in one.model.named_buffers()):
        if buffer.device.type == "meta" and not buffer.is_floating_point():
            raise RuntimeError(f"buffer {name} has no values")
