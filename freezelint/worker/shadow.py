"""Real values beside fake tensors, where code may ask for them: small integers, masks, tables, single random numbers.

A fake tensor has a shape and no values, so `if mask.any()`, `x[ids]` with a computed length or `range(n.item())` stop a
fake forward. Inputs, integer buffers and factories have known values; every operation whose operands are all known is
done on them too, as long as its result is small.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from .fake_kernels import FakeKernels, own_property
from .frames import Line, user_line

UNIFORM = {"aten::rand", "aten::rand_like", "aten::uniform_"}
INTEGERS, FLOATS = 1 << 20, 256  # most elements of a result worth computing


class Shadows:
    """`run` does an operation on fakes and, where every operand is known, on their real values."""

    def __init__(self, mode: FakeTensorMode | None = None) -> None:
        self.mode = mode
        self.kernels = FakeKernels(mode) if mode is not None else None
        self.values: dict[int, Tensor] = {}
        self.random: set[int] = set()
        self.decided_by_chance = False
        self.given: set[int] = set()  # tensors whose values hang on the inputs
        self.decided_at: list[Line] = []  # where such a value became a number, a condition or a shape

    def know(self, fake: Tensor, real: Tensor, *, given: bool = False) -> None:
        self.values[id(fake)] = real
        if given:
            self.given.add(id(fake))

    def run(self, func: Any, args: Any, kwargs: Any, ins: list[Tensor]) -> Any:
        if self.kernels is None:
            return func(*args, **kwargs)
        known = all(id(t) in self.values or not isinstance(t, FakeTensor) for t in ins)
        try:
            out = self.kernels.run(func, args, kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException):
            if known:
                return self._real_only(func, args, kwargs, ins)
            spelt = self._spell_out_masks(func, args)
            if spelt is None:
                raise
            return torch.ops.aten.index.Tensor(*spelt)
        except RuntimeError:  # its shapes are known for bfloat16 only, the CPU computes others
            if func._schema.name != "aten::_grouped_mm":
                raise
            return torch.empty(grouped_shape(*args[:2], *args[2:3]), dtype=args[0].dtype, device=args[0].device)
        outs = out if isinstance(out, (tuple, list)) else (out,)
        tensors = [t for t in outs if isinstance(t, Tensor)]
        if known and tensors and all(worth_knowing(t) for t in tensors):
            self._follow(func, args, kwargs, ins, outs)
        elif func._schema.is_mutable:
            self._forget(tensors)
        return out

    def _follow(self, func: Any, args: Any, kwargs: Any, ins: list[Tensor], outs: Any) -> None:
        try:
            real = self._really(func, args, kwargs)
            if func._schema.name in UNIFORM:
                with no_dispatch():
                    real.fill_(0.5)  # the branch that a random number takes more often than not
        except Exception:  # a fake operand of another kind, a device: then the value stays unknown
            self._forget([t for t in outs if isinstance(t, Tensor)])
            return
        chance = self._by_chance(func, ins)
        given = any(id(t) in self.given for t in ins)
        for fake, value in zip(outs, real if isinstance(real, (tuple, list)) else (real,)):
            if isinstance(fake, Tensor) and isinstance(value, Tensor):
                self.values[id(fake)] = value
                self._mark(fake, chance, given)

    def _mark(self, fake: Tensor, chance: bool, given: bool) -> None:
        if chance:
            self.random.add(id(fake))
        if given:
            self.given.add(id(fake))

    def _real_only(self, func: Any, args: Any, kwargs: Any, ins: list[Tensor]) -> Any:
        assert self.mode is not None
        real = self._really(func, args, kwargs)
        chance = self._by_chance(func, ins)
        self.decided_by_chance |= chance
        given = any(id(t) in self.given for t in ins)
        line = user_line() if given else None
        if line is not None:
            self.decided_at.append(line)
        if not isinstance(real, (Tensor, tuple, list)):
            return real
        reals = list(real) if isinstance(real, (tuple, list)) else [real]
        with no_dispatch():
            devices = [t.device for t in ins] or [torch.device("cpu")]
        fakes = [self.mode.from_tensor(t) if isinstance(t, Tensor) else t for t in reals]
        for fake, value in zip(fakes, reals):
            if isinstance(fake, Tensor):
                fake.fake_device = devices[0] if isinstance(fake, FakeTensor) else None  # type: ignore[attr-defined]
                self.values[id(fake)] = value
                self._mark(fake, chance, given)
        return type(real)(fakes) if isinstance(real, (tuple, list)) else fakes[0]

    def _really(self, func: Any, args: Any, kwargs: Any) -> Any:
        def real(t: Tensor) -> Tensor:
            return self.values[id(t)] if isinstance(t, FakeTensor) else t

        args, kwargs = tree_map_only(Tensor, real, (args, kwargs))
        if isinstance(kwargs.get("device"), torch.device):
            kwargs = {**kwargs, "device": torch.device("cpu")}
        with no_dispatch(), torch.no_grad():
            return func(*args, **kwargs)

    def _spell_out_masks(self, func: Any, args: Any) -> Any:
        """`x[mask]` with a known mask as `x[rows, columns]`: the shape no longer hangs on values."""
        if func._schema.name == "aten::masked_select":
            args = (args[0], [args[1]])
        elif func._schema.name != "aten::index":
            return None
        assert self.mode is not None
        indices: list[Tensor | None] = []
        for index in args[1]:
            if index is None or index.dtype not in (torch.bool, torch.uint8):
                indices.append(index)
                continue
            mask = self.values.get(id(index)) if isinstance(index, FakeTensor) else index
            if mask is None:
                return None
            with no_dispatch():
                rows = mask.nonzero().unbind(-1)
            indices.extend(self.mode.from_tensor(row) for row in rows)
        return args[0], indices

    def _by_chance(self, func: Any, ins: list[Tensor]) -> bool:
        return torch.Tag.nondeterministic_seeded in func.tags or any(id(t) in self.random for t in ins)

    def _forget(self, written: list[Tensor]) -> None:
        """What was known of these tensors, and of everything that shares their storage, no longer holds."""
        storages = {self.values[id(t)].untyped_storage()._cdata for t in written if id(t) in self.values}
        if storages:
            with no_dispatch():
                self.values = {
                    key: value for key, value in self.values.items() if value.untyped_storage()._cdata not in storages
                }


class Shadowing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs every operation through the shadows and records nothing."""

    def __init__(self, shadows: Shadows) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shadows = shadows

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":
            return own_property(func, args, kwargs)
        ins = [item for item in tree_leaves((args, kwargs)) if isinstance(item, Tensor)]
        with torch._C.DisableTorchFunction():
            return self.shadows.run(func, args, kwargs, ins)


def grouped_shape(one: Tensor, other: Tensor, offsets: Tensor | None = None) -> list[int]:
    """Of a product of groups: they are the first dimension of a 3-d operand, or `offsets` cut them out of a 2-d one."""
    if one.dim() == 2 and other.dim() == 2:
        return [0 if offsets is None else len(offsets), one.shape[0], other.shape[1]]
    return [*one.shape[:-1], other.shape[-1]] if one.dim() != 3 or other.dim() == 3 else [one.shape[1], other.shape[1]]


def worth_knowing(t: Tensor) -> bool:
    return t.numel() <= (FLOATS if t.dtype.is_floating_point or t.dtype.is_complex else INTEGERS)
