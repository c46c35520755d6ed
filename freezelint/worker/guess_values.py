"""Values for one argument of a forward beside those given: by its name, its docstring, and what it belongs to."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from itertools import chain
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from . import guess_documented as documented
from . import guess_transformers as library
from .inputs import random_tensor

Given = dict[str, Any]
NUMBERS: dict[str, Any] = {"int": 1, "float": 1.0, "bool": True}
IMAGES = ("pixel_values", "images", "image", "pixels", "x")


def values_of(model: nn.Module, name: str, given: Given) -> Iterator[Any]:
    """Most likely first; nothing where neither the name nor the docstring says what it is."""
    yield from beside(model, name, given)
    if library.is_transformers(model) and name in library.MAKERS:
        yield from library.MAKERS[name](model)
    stated = documented.stated(model).get(name)
    if stated is not None:
        made = list(documented.tensors(model, stated, known_sizes(model, stated.name, given)))
        first = next((value.dim() for value in given.values() if isinstance(value, Tensor)), 0)
        yield from sorted(
            made, key=lambda value: value.dim() != first
        )  # of several shapes, as the first argument has it
    if library.is_transformers(model):
        maker = library.maker_of(name)
        if maker is not None and name not in library.MAKERS:
            yield from maker(model)
    elif stated is None:
        yield from annotated(model, name)
        yield from plain(model, name)


def together(model: nn.Module, names: list[str], starts: Iterable[Tensor] = ()) -> Iterator[Given]:
    """All of these at once, each beside those before it, with every shape that the first might have."""
    for first in chain(values_of(model, names[0], {}), starts):
        given: Given = {names[0]: first}
        for name in names[1:]:
            likely = first.clone() if isinstance(first, Tensor) else None
            given[name] = next(values_of(model, name, given), likely)
        yield given


def annotated(model: nn.Module, name: str) -> Iterator[Any]:
    """Numbers and switches, and what detectors are trained towards: a list of dicts of boxes and labels."""
    parameter = inspect.signature(model.forward).parameters.get(name)
    said = parameter.annotation if parameter is not None else None
    text = str(said.__name__ if isinstance(said, type) else said).lower().replace(" ", "")
    plain_type = text.removeprefix("optional[").removesuffix("]").removesuffix("|none")
    if plain_type in NUMBERS:
        yield NUMBERS[plain_type]
    elif "list[" in text and "dict[" in text:
        boxes, labels = torch.tensor([[4.0, 4.0, 24.0, 24.0]]), torch.ones(1, dtype=torch.int64)
        yield [{"boxes": boxes.clone(), "labels": labels.clone()} for _ in range(documented.BATCH)]


def beside(model: nn.Module, name: str, given: Given) -> Iterator[Tensor]:
    """What follows from another argument: a mask over its tokens or pixels, its grid, the kind of each token."""
    ids = next((given[key] for key in ("input_ids", "inputs_embeds") if isinstance(given.get(key), Tensor)), None)
    image = next((given[key] for key in IMAGES if isinstance(given.get(key), Tensor)), None)
    own = given.get(name.removesuffix("_attention_mask").removesuffix("_mask") + "_ids")
    if isinstance(own, Tensor) and name.endswith("mask"):
        yield torch.ones(own.shape[:2], dtype=torch.int64)
    elif name == "attention_mask" and ids is not None:
        yield torch.ones(ids.shape[:2], dtype=torch.int64)
    elif name.endswith("token_type_ids") and ids is not None:
        token = next(
            (value for what in library.MODALITIES if (value := library.token_for(model, what)) is not None), -1
        )
        yield (ids == token).long() if ids.dim() == 2 else torch.zeros(ids.shape[:2], dtype=torch.int64)
    elif "image" in name and "attention_mask" in name and ids is not None:  # which token sees which image
        count = image.shape[1] if image is not None and image.dim() == 5 else 1
        yield torch.ones(*ids.shape[:2], count, dtype=torch.int64)
    elif name.endswith("grid_thw") and image is not None:  # one image, as many patches as there are rows
        side = isqrt(image.shape[0])
        yield torch.tensor([[1, side, image.shape[0] // side]])
    elif image is not None and image.dim() >= 3:
        yield from of_image(name, image, library.patch_size(model))


def of_image(name: str, image: Tensor, patch: int) -> Iterator[Tensor]:
    if "mask" in name and image.dim() >= 4 and ("pixel" in name or "image" in name):
        yield torch.ones([*image.shape[:-3], *image.shape[-2:]], dtype=torch.int64)
    elif "mask" in name and "pixel" in name:
        yield torch.ones(image.shape[:2], dtype=torch.int64)
    elif name.endswith("_sizes") and image.dim() >= 4:
        height, width = image.shape[-2:]
        yield torch.tensor([[height, width]] * image.shape[0])
        yield torch.tensor([[height // patch, width // patch]] * image.shape[0])
    elif name.endswith("spatial_shapes") and image.dim() == 3:
        side = isqrt(image.shape[1])
        yield torch.tensor([[side, image.shape[1] // side]] * image.shape[0])


def of_series(model: nn.Module, name: str) -> dict[str, int]:
    """Of a series: as long as the config's context and its lags, with as many features as it counts."""
    context = documented.said_size(model, "context_length")
    if context is None:
        return {}
    lags = getattr(getattr(model, "config", None), "lags_sequence", None) or [0]
    known = (
        {"num_features": features} if (features := documented.said_size(model, "num_time_features")) is not None else {}
    )
    if name.startswith("past"):
        known.update(dict.fromkeys(("sequence_length", "seq_length", "seq_len"), min(context, 512) + max(lags)))
    return known


def known_sizes(model: nn.Module, name: str, given: Given) -> dict[str, int]:
    """What the sizes in a docstring come to with the arguments given; a series is as long as the config says."""
    known = of_series(model, name)
    first = next((value for value in given.values() if isinstance(value, Tensor) and value.dim()), None)
    if first is not None:
        known.update(batch_size=first.shape[0], batch=first.shape[0])
    ids = given.get("decoder_input_ids" if name.startswith("decoder") else "input_ids")
    if isinstance(ids, Tensor) and ids.dim() == 2:
        known.update(dict.fromkeys(("sequence_length", "seq_length", "seq_len", "text_length"), ids.shape[1]))
    image = next((given[key] for key in IMAGES if isinstance(given.get(key), Tensor)), None)
    if image is not None and image.dim() >= 4:
        height, width = image.shape[-2:]
        known.update(height=height, width=width, image_height=height, image_width=width, image_size=width)
    return known


def plain(model: nn.Module, name: str) -> Iterator[Tensor]:
    """By what arguments of any network are called."""
    lower = name.lower()
    if lower.endswith(("_ids", "ids", "tokens", "idx")):
        tables = [module.num_embeddings for module in model.modules() if isinstance(module, nn.Embedding)]
        yield random_tensor([documented.BATCH, documented.TOKENS], torch.int64, min(tables, default=16))
    elif "mask" in lower:
        yield torch.ones(documented.BATCH, documented.TOKENS, dtype=torch.int64)
    elif lower in ("t", "timestep", "timesteps", "time", "label", "labels", "target", "targets", "y", "class_labels"):
        yield random_tensor([documented.BATCH], torch.int64, 2)
    elif lower == "edge_index":
        yield random_tensor([2, documented.TOKENS], torch.int64, documented.BATCH)
    elif lower in ("lengths", "input_lengths", "seq_len", "seq_lens"):
        yield torch.full((documented.BATCH,), documented.TOKENS)
