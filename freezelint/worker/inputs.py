"""Example inputs for a model: what the project's settings say, else what its own structure lets one infer.

A spec reads `float32[2,3,224,224]`, with an exclusive upper bound for integers, `int64[2,128]<50265`; a list of specs
gives positional inputs, a table keyword inputs. All tensors are real, small and on the CPU.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .protocol import UnsupportedError

SPEC = re.compile(
    r"\s*(?P<dtype>\w+)\s*\[(?P<shape>[\d,\s]*)\]\s*(?:<\s*(?P<bound>\d+))?\s*(?P<grad>requires_grad)?\s*"
)


@dataclass
class Inputs:
    """Positional and keyword arguments of one forward; `how` says where they come from."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    how: str = "settings"

    def describe(self) -> list[str]:
        """One line an input: `x: float32[2,3,224,224]`."""
        named = [(f"#{i}", value) for i, value in enumerate(self.args)] + list(self.kwargs.items())
        return [f"{name}: {describe(value)}" for name, value in named]


def describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}[{','.join(map(str, value.shape))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {describe(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(map(describe, value)) + ")"
    return type(value).__name__ if not isinstance(value, (int, float, str, bool, type(None))) else repr(value)


def from_settings(said: Any) -> Inputs:
    """Inputs from specs, or from what the project's own callable returned."""
    if isinstance(said, Mapping):
        return Inputs((), {str(name): _one(value) for name, value in said.items()})
    if isinstance(said, (tuple, list)):
        return Inputs(tuple(_one(value) for value in said))
    return Inputs((_one(said),))


def _one(value: Any) -> Any:
    return parse(value) if isinstance(value, str) else value


def parse(spec: str) -> Tensor:
    """A random tensor of the shape and type that `spec` names; zeros would be a special case (padding, dead units)."""
    match = SPEC.fullmatch(spec)
    dtype = getattr(torch, match["dtype"], None) if match else None
    if match is None or not isinstance(dtype, torch.dtype):
        raise UnsupportedError(f"`{spec}` is no input spec: write it like float32[2,3,224,224] or int64[2,128]<50265")
    shape = [int(size) for size in match["shape"].split(",") if size.strip()]
    made = random_tensor(shape, dtype, int(match["bound"] or 2))
    return made.requires_grad_() if match["grad"] else made


def random_tensor(shape: list[int], dtype: torch.dtype, bound: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if dtype.is_floating_point or dtype.is_complex:
        return torch.rand(shape, generator=generator, dtype=torch.float32).to(dtype)
    return torch.randint(0, max(bound, 1), shape, generator=generator).to(dtype)
