"""What a forward returns: every tensor in it, with a name that says where it is, and those backward starts from."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from .protocol import UnsupportedError

DEEPEST = 8
NO_TENSORS = (
    str, bytes, bytearray, int, float, complex, type(None), range, slice, Enum, torch.dtype, torch.device, torch.Size,
    torch.Generator, nn.Module, type, types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType,
)  # fmt: skip
Named = list[tuple[str, Tensor]]


@dataclass
class Walk:
    """Every tensor in nested containers and objects; `closed`: what may hold more and cannot be looked into."""

    found: Named = field(default_factory=list)
    closed: list[tuple[str, Any]] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def into(self, value: Any, name: str, names: list[str] | None = None, depth: int = 0) -> None:
        if isinstance(value, Tensor):
            self.found.append((name or "x", value))
        elif isinstance(value, NO_TENSORS) or id(value) in self._seen or is_cache(value):
            return
        elif depth >= DEEPEST:
            self.closed.append((name, value))
        else:
            self._seen.add(id(value))
            self._parts(value, name, names, depth + 1)

    def _parts(self, value: Any, name: str, names: list[str] | None, depth: int) -> None:
        fields = getattr(value, "_fields", None) if isinstance(value, tuple) else None
        if isinstance(value, Mapping):
            for key, item in value.items():
                self.into(item, f"{name}.{key}" if name else str(key), None, depth)
        elif isinstance(value, (tuple, list, deque, set, frozenset)):
            for index, item in enumerate(value):
                own = f"{name}.{fields[index]}" if fields else f"{name}[{index}]"
                self.into(item, names[index] if names and index < len(names) else own, None, depth)
        else:
            self._attributes(value, name, depth)
            return
        self._seen.discard(id(value))  # the same list may stand in two places

    def _attributes(self, value: Any, name: str, depth: int) -> None:
        held = attributes(value)
        if held is None:
            self.closed.append((name, value))
            return
        for key, item in held.items():
            if not isinstance(item, nn.Parameter):  # the model's own, not what it computed
                self.into(item, f"{name}.{key}" if name else key, None, depth)


def is_cache(value: Any) -> bool:
    """Keys and values that a decoder hands to its next call are no result."""
    return any(kind.__module__ == "transformers.cache_utils" for kind in type(value).__mro__)


def attributes(value: Any) -> dict[str, Any] | None:
    """What an object of a Python class holds; None for an iterator, and for what keeps its contents to itself."""
    slots = [slot for kind in type(value).__mro__ for slot in slots_of(kind)]
    if isinstance(value, Iterator) or not (hasattr(value, "__dict__") or slots):
        return None
    held = {slot: getattr(value, slot) for slot in slots if hasattr(value, slot)}
    return {**held, **getattr(value, "__dict__", {})}


def slots_of(kind: type) -> list[str]:
    slots = vars(kind).get("__slots__", ())
    return [slot for slot in ([slots] if isinstance(slots, str) else slots) if slot not in ("__dict__", "__weakref__")]


def named_tensors(value: Any, name: str, names: list[str] | None = None) -> Named:
    """Every tensor in a value: `output.logits`, `x`, `batch.pixels`."""
    walk = Walk()
    walk.into(value, name, names)
    return walk.found


def can_start(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


@dataclass
class Ends:
    """The losses that backward starts from, and the other outputs that could be losses, too."""

    losses: Named
    others: Named = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def ends_of(output: Any) -> Ends:
    """An output's `.loss`, as trainers do, with its other scalars beside it; else every floating tensor in it."""
    walk = Walk()
    walk.into(output, "output")
    floating = [(name, tensor) for name, tensor in walk.found if can_start(tensor)]
    notes = [f"`{name}` of the output is a {kind(value)}, which was not looked into" for name, value in walk.closed]
    own = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if isinstance(own, Tensor):
        others = [(name, t) for name, t in floating if t is not own and t.requires_grad and like_a_loss(name, t)]
        return Ends([("loss", own)], others, notes)
    if not floating:
        what = f"which is a {kind(output)}, " if not isinstance(output, (Tensor, tuple, list, dict)) else ""
        raise UnsupportedError(f"the model's output, {what}holds no floating-point tensor to start backward from")
    return Ends(floating, [], [*notes, "no loss was given: every output counts as one"])


def like_a_loss(name: str, tensor: Tensor) -> bool:
    return tensor.dim() == 0 or (tensor.numel() == 1 and "loss" in name.rpartition(".")[2])


def kind(value: Any) -> str:
    """`numpy.ndarray`, `generator`: the type of a value as one would name it."""
    own = type(value)
    return own.__qualname__ if own.__module__ in ("builtins", "__main__") else f"{own.__module__}.{own.__qualname__}"
