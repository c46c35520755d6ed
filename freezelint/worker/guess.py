"""Example inputs without settings: candidates from the model's own structure, tried on fake tensors until one runs.

Where none does, each failure says what to change: `guess_repair`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from . import guess_documented as documented
from . import guess_transformers
from .guess_repair import repairs
from .guess_try import Failure, Tries
from .guess_try import with_values as with_values
from .guess_values import together
from .inputs import Inputs, from_settings, random_tensor
from .protocol import UnsupportedError
from .targets import Built

MOST, FEW = 60, 8  # tries of inputs that failures suggest; those for all towers of a model at once
LONGEST = 1000  # operations of one try, on average, that are worth it
BUDGET = 50_000  # operations of all tries
AT_ONCE = 20  # of one failure's suggestions
DEEPEST = 8  # changes that may build on each other


def example_inputs(built: Built) -> Inputs:
    """What the project says, else the first candidate with which the model runs."""
    if isinstance(built.inputs, Inputs):
        return built.inputs
    if built.inputs is not None:
        return from_settings(built.inputs)
    model = built.model
    own = getattr(model, "example_input_array", None)  # Lightning's name for it
    if isinstance(own, (Tensor, tuple, list, dict)):
        return from_settings(own)
    search = Search(model)
    found = search.whole() or search.first(candidates(model)) or search.adapted(MOST)
    if found is not None:
        return found
    first = next((failure.error for _, _, failure in search.failed), None)
    why = f"{search.tried} tried; the first: {first}" if first else "its forward takes no tensor that is known"
    raise UnsupportedError(f"no example inputs found ({why}); name them in the settings")


class Search:
    """Tries candidates, and then what their failures ask for: first where a try came furthest."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.tries = Tries(model)
        self.seen: set[Any] = set()
        self.spent = 0  # operations
        self.failed: list[tuple[Inputs, int, Failure]] = []  # with how many changes led there

    @property
    def tried(self) -> int:
        return len(self.seen)

    def whole(self) -> Inputs | None:
        """Text with what stands for images or sounds in it, so that each tower of the model is reached."""
        if not guess_transformers.is_transformers(self.model):
            return None
        wanted = guess_transformers.with_towers(self.model)
        found = self.first(wanted, for_real=False) or self.adapted(FEW, for_real=False)
        self.failed.clear()
        return found

    def first(self, wanted: Iterable[Inputs], changes: int = 0, *, for_real: bool = True) -> Inputs | None:
        """The first of these that runs; the others' failures are kept."""
        for inputs in wanted:
            key = identity(inputs)
            if key in self.seen:
                continue
            if self.spent > BUDGET:
                break
            self.seen.add(key)
            failure = self.tries.run(inputs, for_real=for_real)
            if failure is None:
                return inputs
            self.spent += failure.operations
            self.failed.append((inputs, changes, failure))
        return None

    def adapted(self, more: int, *, for_real: bool = True) -> Inputs | None:
        """What runs after changes that failures suggested, within so many tries more."""
        waiting = distinct(self.failed)
        most, limit = self.tried + more, self.spent + more * LONGEST
        while waiting and self.tried < most and self.spent < limit:
            inputs, changes, failure = waiting.pop(0)
            known = len(self.failed)
            suggested = islice(repairs(self.model, inputs, failure), min(most - self.tried, AT_ONCE))
            found = self.first(suggested, changes + 1, for_real=for_real)
            if found is not None:
                return found
            if changes < DEEPEST:
                waiting = furthest([*waiting, *self.failed[known:]])
        return None


def distinct(failed: list[tuple[Inputs, int, Failure]]) -> list[tuple[Inputs, int, Failure]]:
    """One try of each error, the one that came furthest first."""
    kept: dict[str, tuple[Inputs, int, Failure]] = {}
    for inputs, changes, failure in furthest(failed):
        kept.setdefault(failure.error, (inputs, changes, failure))
    return list(kept.values())


def furthest(failed: list[tuple[Inputs, int, Failure]]) -> list[tuple[Inputs, int, Failure]]:
    return sorted(failed, key=lambda one: -one[2].operations)


def identity(inputs: Inputs) -> Any:
    """Equal for inputs that a model cannot tell apart but by the values of floats."""

    def of(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return repr(value)
        whole = not value.is_floating_point() and value.numel() < 1 << 16
        return value.dtype, tuple(value.shape), hash(tuple(value.flatten().tolist())) if whole else 0

    names = [*map(str, range(len(inputs.args))), *inputs.kwargs]
    return tuple(
        (name, *map(of, tree_leaves(value))) for name, value in zip(names, (*inputs.args, *inputs.kwargs.values()))
    )


def candidates(model: nn.Module) -> Iterator[Inputs]:
    """Most likely first."""
    if guess_transformers.is_transformers(model):
        yield from guess_transformers.candidates(model)
    names = [p.name for p in _parameters(model) if p.default is p.empty] or [p.name for p in _parameters(model)][:1]
    if not names:
        yield Inputs((), {}, "inferred")
    by_name = _by_names(model, names)
    if by_name is not None:
        yield by_name
    if names:
        starts = chain(_stated_input(model), _first_tensors(model))
        yield from (Inputs((), given, "inferred") for given in together(model, names, starts if len(names) > 1 else ()))
    for needed in (True, False):
        yield from (Inputs((), given, "inferred") for given in documented.everything(model, needed=needed))
    for tensor in (*_stated_input(model), *_first_tensors(model)):
        if len(names) <= 1:
            yield Inputs((tensor,), {}, "inferred")
        else:
            yield Inputs(tuple(tensor.clone() for _ in names), {}, "inferred")


def _parameters(model: nn.Module) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def vocabulary(model: nn.Module) -> int:
    tables = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)]
    return max(tables, default=16)


def _by_names(model: nn.Module, names: list[str]) -> Inputs | None:
    """By what the arguments are called: token ids, masks, pixels, labels."""
    made: dict[str, Any] = {}
    image = next((t for t in _first_tensors(model) if t.dim() == 4), None)
    for name in names:
        lower = name.lower()
        if lower in ("input_ids", "ids", "tokens", "token_ids", "idx", "src", "input"):
            if not any(isinstance(m, nn.Embedding) for m in model.modules()):
                return None
            made[name] = random_tensor([2, 16], torch.int64, vocabulary(model))
        elif "mask" in lower:
            made[name] = torch.ones(2, 16, dtype=torch.int64)
        elif lower in ("labels", "label", "target", "targets", "y"):
            made[name] = random_tensor([2], torch.int64, 2)
        elif lower in ("pixel_values", "image", "images", "img", "pixels") and image is not None:
            made[name] = image
        else:
            return None
    return Inputs((), made, "inferred") if made else None


def _first_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Shapes that the model's first layers take."""
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            yield random_tensor([2, 16], torch.int64, vocabulary(model))
            yield random_tensor([2], torch.int64, vocabulary(model))
        elif isinstance(module, nn.Conv2d):
            for size in (*stated_sizes(model), 64, 224, 32, 28, 256, 384):
                yield random_tensor([2, module.in_channels, size, size], torch.float32)
        elif isinstance(module, nn.Conv1d):
            for length in (128, 1024, 16000):
                yield random_tensor([2, module.in_channels, length], torch.float32)
                if module.in_channels == 1:
                    yield random_tensor([2, length], torch.float32)
        elif isinstance(module, nn.Conv3d):
            yield random_tensor([2, module.in_channels, 16, 64, 64], torch.float32)
        elif isinstance(module, nn.ConvTranspose2d):
            yield random_tensor([2, module.in_channels, 8, 8], torch.float32)
            yield random_tensor([2, module.in_channels, 1, 1], torch.float32)
        elif isinstance(module, nn.Linear):
            yield random_tensor([2, module.in_features], torch.float32)
            yield random_tensor([2, 16, module.in_features], torch.float32)
            yield from _flattened(module.in_features)
        elif isinstance(module, nn.RNNBase):
            yield random_tensor([2, 16, module.input_size], torch.float32)
        elif isinstance(module, (nn.BatchNorm1d, nn.LayerNorm)):
            width = module.num_features if isinstance(module, nn.BatchNorm1d) else module.normalized_shape[-1]
            yield random_tensor([2, width], torch.float32)
            yield random_tensor([2, 16, width], torch.float32)
        else:
            continue
        return


def _stated_input(model: nn.Module) -> Iterator[Tensor]:
    """The image that a model of timm says it takes, where its first layer does not show it."""
    config = getattr(model, "default_cfg", None)
    size = config.get("input_size") if isinstance(config, dict) else None
    if isinstance(size, (tuple, list)) and len(size) == 3:
        yield random_tensor([2, *size], torch.float32)


def stated_sizes(model: nn.Module) -> list[int]:
    """Image sizes that the model or its parts name: `default_cfg`, `img_size`, `image_size`."""
    config = getattr(model, "default_cfg", None)
    said = [config.get("input_size")] if isinstance(config, dict) else []
    said += [getattr(m, name, None) for m in model.modules() for name in ("img_size", "image_size", "input_resolution")]
    sizes = [size[-1] if isinstance(size, (tuple, list)) and size else size for size in said]
    return list(dict.fromkeys(size for size in sizes if isinstance(size, int) and 8 <= size <= 1024))[:2]


def _flattened(width: int) -> Iterator[Tensor]:
    """Images that flatten to `width`."""
    for channels in (1, 3):
        side = int((width / channels) ** 0.5)
        if side > 3 and channels * side * side == width:
            yield random_tensor([2, channels, side, side], torch.float32)
