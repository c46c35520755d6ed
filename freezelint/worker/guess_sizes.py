"""What a failed try says of sizes: those that layers expect, numbers in its error, other images, a batch of one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from math import isqrt, prod
from typing import Any

import torch
from torch import Tensor, nn

from . import guess_documented as documented
from . import guess_transformers as library
from .guess_try import Failure, Frame
from .guess_values import Given
from .inputs import random_tensor as any_tensor

UNEQUAL = re.compile(r"tensor a \((\d+)\) must match the size of tensor b \((\d+)\)")
EXPECTS = re.compile(r"expect|broadcast|match|must|should|equal|!=|==|configur|instead", re.I)
MISFIT = re.compile(r"invalid for input of size|divisible|multiple of", re.I)
SMALL = re.compile(r"too (?:small|short)|at least|can't be greater than|minimum|negative dim|non-empty|smaller", re.I)
NUMBERS = re.compile(r"(?<![\w.])\d+(?![\w.]*\w)")
LARGEST = 1 << 26  # elements
LAYERS = (nn.Linear, nn.LayerNorm, nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.RNNBase)


def random_tensor(shape: list[int], dtype: torch.dtype, bound: int = 2) -> Tensor:
    """An empty tensor in place of one that is too large to be of use."""
    return any_tensor(shape if prod(shape) <= LARGEST else [0], dtype, bound)


def resized(model: nn.Module, given: Given, failure: Failure) -> Iterator[Given]:
    """The same arguments in other sizes or types, most telling first."""
    ways = (sizes, larger, bounds, in_other_form, numbers, alone)
    first, *others = (way(given, failure) for way in ways)
    for made in chain(first, whole(model, given, failure), *others):
        if all(value.shape != (0,) for value in made.values() if isinstance(value, Tensor)):
            yield made


def sizes(given: Given, failure: Failure) -> Iterator[Given]:
    """With the number of channels, features or dimensions that the layer which refused its input takes."""
    frame = next((frame for frame in reversed(failure.frames) if refuses(frame)), None)
    if frame is not None:
        yield from for_layer(given, frame)
    match = UNEQUAL.search(failure.text)
    if match:
        one, other = int(match[1]), int(match[2])
        for have, want in ((one, other), (other, one)):
            yield from with_size(given, have, want)


def refuses(frame: Frame) -> bool:
    return isinstance(frame.module, LAYERS)


def for_layer(given: Given, frame: Frame) -> Iterator[Given]:
    layer = frame.module
    got = next(
        (value for name, value in frame.names.items() if name in ("input", "x") and isinstance(value, Tensor)), None
    )
    if got is None or layer is None:
        return
    if isinstance(layer, nn.modules.conv._ConvNd):
        spatial = len(layer.kernel_size)
        for name, value in given.items():
            if isinstance(value, Tensor) and value.shape == got.shape and value.is_floating_point():
                if got.dim() == spatial + 2:
                    shape = [got.shape[0], layer.in_channels, *got.shape[2:]]
                else:
                    shape = [documented.BATCH, layer.in_channels, *[64] * spatial]
                yield {**given, name: random_tensor(shape, torch.float32)}
        return
    width = width_of(layer)
    if width is None or not got.dim():
        return
    yield from with_size(given, got.shape[-1], width, last=True)


def width_of(layer: nn.Module) -> int | None:
    for name in ("in_features", "num_features", "input_size"):
        value = getattr(layer, name, None)
        if isinstance(value, int):
            return value
    shape = getattr(layer, "normalized_shape", None)
    return int(shape[-1]) if shape else None


def with_size(given: Given, have: int, want: int, *, last: bool = False) -> Iterator[Given]:
    """One argument at a time, and all of them, with `want` where they have `have`."""
    changed = {name: other for name, value in given.items() if (other := altered(value, have, want, last)) is not None}
    if len(changed) > 1:
        yield {**given, **changed}
    for name, value in changed.items():
        yield {**given, name: value}


def altered(value: Any, have: int, want: int, last: bool) -> Tensor | None:
    if (
        not isinstance(value, Tensor)
        or not value.dim()
        or not 0 < want < 1 << 16
        or (last and not value.is_floating_point())
    ):
        return None
    places = [value.dim() - 1] if last else range(1, value.dim())
    if not any(value.shape[place] == have for place in places):
        return None
    shape = [want if place in places and size == have else size for place, size in enumerate(value.shape)]
    if value.is_floating_point():
        return random_tensor(shape, value.dtype)
    if value.dtype is torch.bool or bool((value == 1).all()):
        return torch.ones(shape, dtype=value.dtype)
    return random_tensor(shape, value.dtype, int(value.max()) + 1)


def with_patches(given: Given, have: int, want: int) -> Iterator[Given]:
    """Images of another side, where a square of patches, with none to two tokens beside it, does not fit its table."""
    for beside in (0, 1, 2):
        sides = [isqrt(max(count - beside, 0)) for count in (have, want)]
        if any(side < 2 or side * side + beside != count for side, count in zip(sides, (have, want))):
            continue
        for name, value in given.items():
            if is_image(value):
                side = value.shape[-1] * sides[1] // sides[0]
                if 8 <= side <= 2048 and value.shape[-1] == value.shape[-2]:
                    yield {**given, name: random_tensor([*value.shape[:-2], side, side], value.dtype)}


def whole(model: nn.Module, given: Given, failure: Failure) -> Iterator[Given]:
    """What can be cut into windows: multiples of a number that the error names; images of many patches, of 32."""
    if not MISFIT.search(failure.text):
        return
    parts = [int(number) for number in re.findall(r"\d+", failure.text)]
    for have in dict.fromkeys(
        value.shape[1] for value in given.values() if isinstance(value, Tensor) and 1 < value.dim() < 4
    ):
        for part in dict.fromkeys(part for part in parts if 2 < part < 4096 and have % part):
            yield from with_size(given, have, -(-have // part) * part)
    patch = library.patch_size(model)
    said = [int(number) for number in re.findall(r"(?:multiple of|divisible by)\D{0,30}?(\d+)", failure.text)]
    for name, value in given.items():
        if is_image(value):
            nearby = [-(-value.shape[-1] // number) * number for number in said if number]
            for side in dict.fromkeys((*nearby, patch * 16, patch * 24, 256, 384, patch * 48, 512, 224, 192)):
                if 16 <= side <= 1024:
                    yield {**given, name: random_tensor([*value.shape[:-2], side, side], value.dtype)}


def larger(given: Given, failure: Failure) -> Iterator[Given]:
    """Larger images and longer series, where these were too small."""
    if not SMALL.search(failure.text):
        return
    for factor in (2, 4, 16):
        for name, value in given.items():
            if is_image(value) and value.shape[-1] * factor <= 2048:
                shape = [*value.shape[:-2], value.shape[-2] * factor, value.shape[-1] * factor]
                yield {**given, name: random_tensor(shape, value.dtype)}
        lengths = {value.shape[1] for value in given.values() if isinstance(value, Tensor) and 1 < value.dim() < 4}
        for length in sorted(lengths, reverse=True):
            yield from with_size(given, length, length * factor)


def bounds(given: Given, failure: Failure) -> Iterator[Given]:
    """Smaller numbers where an index was out of range."""
    if "index out of range" not in failure.text and "out of bounds" not in failure.text:
        return
    for name, value in given.items():
        whole_numbers = isinstance(value, Tensor) and not value.is_floating_point() and value.dtype is not torch.bool
        if whole_numbers and "mask" not in name and value.numel() and int(value.max()) > 0:
            yield {**given, name: torch.zeros_like(value)}


def in_other_form(given: Given, failure: Failure) -> Iterator[Given]:
    """With a mask of truth values, numbers in place of floats, a list in place of a tensor."""
    text = failure.text
    for name, value in given.items():
        if not isinstance(value, Tensor):
            continue
        if "bool" in text.lower() and "mask" in name and value.dtype is not torch.bool:
            yield {**given, name: value.bool()}
        if "Long" in text and "indices" in text and value.is_floating_point():
            yield {**given, name: random_tensor(list(value.shape[:2]), torch.int64, 2)}
        if "unpack" in text and "expected" in text and value.dim() > 1:
            count = int(found[1]) if (found := re.search(r"expected (?:at least )?(\d)", text)) else 0
            yield from of_rank(given, name, value, count)


def numbers(given: Given, failure: Failure) -> Iterator[Given]:
    """A size of an argument and another number stand in the same sentence; images change both their sides."""
    if not EXPECTS.search(failure.text):
        return
    said = list(dict.fromkeys(int(number) for number in NUMBERS.findall(failure.text)))[:8]
    flat = {name: value for name, value in given.items() if not is_image(value)}
    for want in said:
        for name, value in given.items():
            if is_image(value) and 16 <= want <= 1344:
                yield {**given, name: random_tensor([*value.shape[:-2], want, want], value.dtype)}
        for have in said:
            yield from with_patches(given, have, want) if have != want else ()
            if have != want and have > 2 and want > 1:
                yield from ({**given, **changed} for changed in with_size(flat, have, want))


def is_image(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() >= 4 and value.is_floating_point()


def alone(given: Given, failure: Failure) -> Iterator[Given]:
    """A batch of one, for models that pack a batch into one row or take no more."""
    batch = [value for value in given.values() if isinstance(value, Tensor) and value.dim()]
    if batch and all(value.shape[0] == documented.BATCH for value in batch):
        yield {name: value[:1] if isinstance(value, Tensor) else value for name, value in given.items()}


def of_rank(given: Given, name: str, value: Tensor, count: int) -> Iterator[Given]:
    """With as many dimensions as were unpacked."""
    if value.is_floating_point() and count > value.dim():
        yield {
            **given,
            name: random_tensor([*value.shape[:1], *[1] * (count - value.dim()), *value.shape[1:]], value.dtype),
        }
    elif value.is_floating_point() and 1 < count < value.dim():
        yield {**given, name: random_tensor([*value.shape[: count - 1], value.shape[-1]], value.dtype)}
