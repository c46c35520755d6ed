"""Tries of inputs on one copy of a model: on fake tensors, and for real where values decide. A failure says how far it
came and where it stood, so that the search can tell what was missing."""

from __future__ import annotations

import copy
import linecache
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._pytree import tree_leaves

from .caches import caches_of, emptied_after
from .capture import same_chance, silence
from .fake import device_of, fake_inputs, fake_model
from .inputs import Inputs
from .shadow import Shadowing, Shadows

LARGE = 500_000_000  # parameters from which on a model is not run for real to find its inputs
WITHOUT_VALUES = (DataDependentOutputException, DynamicOutputShapeException)
REFUSED = (
    "data-dependent",
    "data pointer",
    "FakeTensorMode",
    "FakeTensors",
    "fake tensor",
    "numpy()",
)  # in words of other errors
REAL = 12  # most tries for real


@dataclass
class Frame:
    """A function that was running: its local names, and the line it stood at."""

    function: str
    line: str
    names: Mapping[str, Any]

    @property
    def module(self) -> nn.Module | None:
        own = self.names.get("self")
        return own if isinstance(own, nn.Module) else None


@dataclass
class Failure:
    """Why a try did not run; frames from the outermost inwards."""

    error: str
    text: str
    frames: list[Frame] = field(default_factory=list)
    operations: int = 0
    values: bool = False  # nothing is known against the inputs: an operation asked for values

    @classmethod
    def of(cls, error: Exception, operations: int) -> Failure:
        text = " ".join(str(error).split())
        values = isinstance(error, WITHOUT_VALUES) or any(word in text for word in REFUSED)
        short = f"{type(error).__name__}: {text[:120]}"
        return cls(short, text[:4000], list(frames(error.__traceback__)), operations, values)


def frames(trace: TracebackType | None) -> Any:
    """Those of the model and its libraries; not what stands below this file."""
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename != __file__:
            line = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            yield Frame(code.co_name, line, dict(trace.tb_frame.f_locals))
        trace = trace.tb_next


class Counting(Shadowing):  # type: ignore[no-untyped-call]
    """Counts operations, and keeps alive what has a known value: values are known by identity."""

    def __init__(self, shadows: Shadows) -> None:
        super().__init__(shadows)
        self.operations = 0
        self.alive: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if any(id(item) in self.shadows.values for item in tree_leaves(out)):
            self.alive.append(out)
        return out


class Tries:
    """One model's tries; it is copied once for the fake ones and once for the real ones."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.size = sum(parameter.numel() for parameter in model.parameters())
        self.copied: nn.Module | None = None
        self.valued: nn.Module | None = None
        self.refused: Failure | None = None  # what cannot be copied to begin with
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.shadows = Shadows(self.mode)
        self.known: dict[int, Tensor] = {}
        self.caches = caches_of(model)
        self.left = REAL

    def run(self, inputs: Inputs, *, for_real: bool = True) -> Failure | None:
        """None when a forward runs: on fake tensors, or for real where these do not say."""
        failure = self.fake(inputs)
        if failure is None or not failure.values or not self.left or not for_real:
            return failure
        if self.size > LARGE:
            return None
        self.left -= 1
        real = self.real(inputs)
        if real is not None:
            real.operations = failure.operations
        return real

    def fake(self, inputs: Inputs) -> Failure | None:
        """None when a fake forward runs, else why not. A copy that a failed try left unfit is made anew."""
        used = self.copied is not None
        failure = self._fake(inputs)
        if failure is not None and used and "swap" in failure.text:  # weights that a forward casts: `layer.to(dtype)`
            self.copied = None
            failure = self._fake(inputs)
        return failure

    def _fake(self, inputs: Inputs) -> Failure | None:
        if self.copied is None and self.refused is None:
            self.shadows.values = {}
            try:
                self.copied = fake_model(self.model, self.mode, self.shadows)
                self.known = dict(self.shadows.values)
            except Exception as error:
                self.refused = Failure.of(error, 0)
        if self.copied is None:
            return self.refused
        self.shadows.values = dict(self.known)
        counting = Counting(self.shadows)
        try:
            device = device_of(self.model)
            args, kwargs = fake_inputs((inputs.args, inputs.kwargs), self.mode, self.shadows, device)
            caches = emptied_after(self.caches)
            with silence(), same_chance(), caches, self.mode, counting, torch.enable_grad():
                self.copied(*args, **kwargs)
        except Exception as error:
            return Failure.of(error, counting.operations)
        return None

    def real(self, inputs: Inputs) -> Failure | None:
        """The same with values."""
        try:
            if self.valued is None:
                self.valued = with_values(copy.deepcopy(self.model))
            args, kwargs = copy.deepcopy((inputs.args, inputs.kwargs))
            with silence(), same_chance(), torch.no_grad():
                self.valued(*args, **kwargs)
        except Exception as error:
            return Failure.of(error, 0)
        return None


def with_values(model: nn.Module) -> nn.Module:
    """The model itself, with random weights where it was built without memory; what has values keeps them."""
    for tensor in {id(t): t for t in (*model.parameters(), *model.buffers()) if t.device.type == "meta"}.values():
        real = torch.zeros(tensor.shape, dtype=tensor.dtype)
        if isinstance(tensor, nn.Parameter):
            real = nn.Parameter(nn.init.normal_(real, std=0.02), requires_grad=tensor.requires_grad)
        torch.utils.swap_tensors(tensor, real)  # type: ignore[no-untyped-call]  # identity is what others know it by
    return model
