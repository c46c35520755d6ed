"""Fake tensors made directly, and a memory of what each operation makes of operands of one kind.

Running an operation on fake tensors costs more than a real one on small tensors. A model repeats its layers, so most of
its operations have been run before on operands of the same shapes, strides and types; then the result is made from what
is remembered: memory of its own, a view of an operand, or an operand written to. What a first run shows to be anything
else is run every time.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

MOST = 50_000  # operations remembered
PLAIN = {int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format}
SEQUENCES = {tuple, list, torch.Size}
HANGS_ON_MORE = ("as_strided", "resize", "set_", "lift")  # parts of names
Made = tuple[
    int, Any, Any, int, torch.dtype, torch.device
]  # operand viewed or -1, shape, strides, offset, type, device
Recipe = tuple[Any, tuple["Made | int | None", ...]]  # list, tuple or None; each result made, an operand, or None

KEYS = getattr(torch._C.DispatchKeySet, "raw_repr", repr)  # a number; an older torch has the words only

_known: dict[tuple[Any, ...], Recipe | None] = {}


class FakeKernels:
    """Runs operations on the fake tensors of one mode."""

    def __init__(self, mode: FakeTensorMode) -> None:
        self.mode = mode
        mode.cache_enabled = False  # torch remembers too, at many times the cost
        self._fresh: dict[torch.device, dict[str, Any]] = {}  # the attributes of a new fake tensor

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What `func` makes of them; to be called below autograd, with torch functions disabled."""
        operands: list[Tensor] = []
        key = self._key(func, args, kwargs, operands) if repeatable(func) else None
        if key is None or not operands:
            return func(*args, **kwargs)
        if key in _known:
            recipe = _known[key]
            return func(*args, **kwargs) if recipe is None else self._make(recipe, operands)
        out = func(*args, **kwargs)
        same = not func._schema.is_mutable or key == self._key(func, args, kwargs, [])
        if len(_known) >= MOST:
            _known.clear()
        _known[key], out = self._recipe(out, operands) if same else (None, out)
        return out

    def fresh(self, shape: Any, stride: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
        """A new fake tensor with memory of its own."""
        with torch._C._DisableTorchDispatch():
            return self._faked(torch.empty_strided(shape, stride, dtype=dtype, device="meta"), device)

    def _faked(self, elements: Tensor, device: torch.device) -> Tensor:
        attributes = self._fresh.get(device)
        if attributes is None:
            first = FakeTensor(self.mode, elements, device)
            self._fresh[device] = dict(vars(first))
            return first
        own = attributes.get("_fake_device", attributes.get("fake_device"))
        fake = Tensor._make_subclass(FakeTensor, elements, False, dispatch_device=True, device_for_backend_keys=own)
        torch._C._set_throw_on_mutable_data_ptr(fake)
        vars(fake).update(attributes)
        return fake

    def _key(self, func: Any, args: Any, kwargs: Any, operands: list[Tensor]) -> tuple[Any, ...] | None:
        """What decides the result's shape, strides, type and memory; None where that cannot be told."""
        key = [func, torch.get_default_dtype(), torch.is_inference_mode_enabled(), torch.is_grad_enabled()]
        if not self._describe(args, key, operands):
            return None
        if kwargs:
            key.append(tuple(kwargs))
            if not self._describe(kwargs.values(), key, operands):
                return None
        return tuple(key)

    def _describe(self, values: Any, key: list[Any], operands: list[Tensor]) -> bool:
        for value in values:
            kind = type(value)
            if kind is FakeTensor:
                if value.fake_mode is not self.mode or value.constant is not None or value.layout is not torch.strided:
                    return False
                key.append(described(value))
                operands.append(value)
            elif kind in PLAIN:
                key.append(kind)
                key.append(value)
            elif kind in SEQUENCES:
                key.append(len(value))
                if not self._describe(value, key, operands):
                    return False
            else:
                return False
        return True

    def _recipe(self, out: Any, operands: list[Tensor]) -> tuple[Recipe | None, Any]:
        """How to make such results again, and what that gives: they are like any later ones, without the weak
        references by which torch keeps those that its kernels made. None where what it gives differs.
        """
        holder = type(out) if isinstance(out, (tuple, list)) else None
        results = list(out) if holder else [out]
        memory = [tensor.untyped_storage()._cdata for tensor in operands]
        parts: list[Made | int | None] = []
        for result in results:
            place = next((i for i, tensor in enumerate(operands) if tensor is result), None)
            if result is None or place is not None:
                parts.append(place)
                continue
            if type(result) is not FakeTensor or result.layout is not torch.strided or result.constant is not None:
                return None, out
            own = result.untyped_storage()._cdata
            shared = [i for i, storage in enumerate(memory) if storage == own]
            if len(shared) > 1:
                return None, out
            parts.append((shared[0] if shared else -1, *described(result)[:5]))
        recipe = holder, tuple(parts)
        made = self._make(recipe, operands)
        return (recipe, made) if alike(results, list(made) if holder else [made]) else (None, out)

    def _make(self, recipe: Recipe, operands: list[Tensor]) -> Any:
        holder, parts = recipe
        with torch._C._DisableTorchDispatch():
            made = [self._part(part, operands) for part in parts]
        return made[0] if holder is None else holder(made)

    def _part(self, part: Made | int | None, operands: list[Tensor]) -> Tensor | None:
        if part is None or isinstance(part, int):
            return None if part is None else operands[part]
        viewed, shape, stride, offset, dtype, device = part
        if viewed < 0:
            return self._faked(torch.empty_strided(shape, stride, dtype=dtype, device="meta"), device)
        elements = torch.empty(0, dtype=dtype, device="meta")
        elements.set_(operands[viewed].untyped_storage(), offset, shape, stride)
        return self._faked(elements, device)


@cache
def repeatable(func: Any) -> bool:
    """Whether the kinds of an operation's operands may decide its result."""
    if not isinstance(func, torch._ops.OpOverload) or func.namespace != "aten":
        return False
    varying = {torch.Tag.data_dependent_output, torch.Tag.inplace_view, torch.Tag.dynamic_output_shape}
    if func is torch.ops.aten.index.Tensor:  # a mask among its indices raises, and is not remembered
        varying.discard(torch.Tag.dynamic_output_shape)
    return varying.isdisjoint(func.tags) and not any(part in func._schema.name for part in HANGS_ON_MORE)


def own_property(func: Any, args: Any, kwargs: Any) -> Any:
    """What an operation of `prim` says of a tensor: autograd asks for the device of every gradient."""
    if func is torch.ops.prim.device.default and type(args[0]) is FakeTensor:
        return args[0].fake_device
    return func(*args, **kwargs)


def described(fake: Any) -> tuple[Any, ...]:
    keys = KEYS(torch._C._dispatch_keys(fake))
    return (
        fake.shape, fake.stride(), fake.storage_offset(), fake.dtype, fake.fake_device, fake.requires_grad, keys
    )  # fmt: skip


def alike(results: list[Any], again: list[Any]) -> bool:
    """Whether tensors made from memory are what the operation had made, in new memory where that had."""
    storages: dict[int, int] = {}
    for one, other in zip(results, again):
        if one is None or one is other:
            continue
        mine, theirs = one.untyped_storage(), other.untyped_storage()
        if described(one) != described(other) or vars(one).keys() != vars(other).keys():
            return False
        if mine.nbytes() != theirs.nbytes() or storages.setdefault(mine._cdata, theirs._cdata) != theirs._cdata:
            return False
    return True
