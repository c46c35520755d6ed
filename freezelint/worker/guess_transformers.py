"""Example inputs for models of the transformers library, from what their config and signature say of themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .inputs import Inputs, random_tensor

TOKENS = 16
BESIDE: tuple[list[str], ...] = ([], ["decoder_input_ids"], ["bbox"], ["attention_mask"])
TOGETHER = (
    ["input_ids", "pixel_values"],
    ["input_ids", "input_values"],
    ["input_ids", "input_features"],
    ["input_ids", "bbox", "pixel_values"],
    ["pixel_values", "input_ids", "decoder_input_ids"],
)


def is_transformers(model: nn.Module) -> bool:
    return hasattr(model, "main_input_name") and hasattr(model, "config")


def candidates(model: nn.Module) -> Iterator[Inputs]:
    """Main input alone, with what a second tower or a decoder needs, then everything the signature names."""
    names = list(inspect.signature(model.forward).parameters)
    main = str(getattr(model, "main_input_name", "input_ids"))
    seen: list[list[str]] = []
    everything = [name for name in names if name in MAKERS]
    for wanted in (*([main, *more] for more in BESIDE), *TOGETHER, everything):
        chosen = [name for name in wanted if name in names or "kwargs" in names]
        if chosen and chosen not in seen:
            seen.append(chosen)
            yield from _filled(model, chosen)


def _filled(model: nn.Module, names: list[str]) -> Iterator[Inputs]:
    """The same names with every shape that the first tensor might have."""
    choices = [list(MAKERS[name](model)) if name in MAKERS else [] for name in names]
    if not all(choices):
        return
    longest = max(map(len, choices))
    for index in range(longest):
        made = {name: shapes[min(index, len(shapes) - 1)] for name, shapes in zip(names, choices)}
        yield Inputs((), made, "inferred")


def setting(model: nn.Module, *names: str, default: Any = None) -> Any:
    """The first of these entries that the config, or one of its parts, has."""
    config: Any = model.config
    parts = [config, *(part for part in vars(config).values() if hasattr(part, "to_dict"))]
    for name in names:
        for part in parts:
            value = vars(part).get(name)
            if value is not None and value is not False:
                return value
    return default


def _ids(model: nn.Module) -> Iterator[Tensor]:
    bound = int(setting(model, "vocab_size", default=0) or 0) or 16
    tables = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)]
    yield random_tensor([2, TOKENS], torch.int64, min([bound, *[size for size in tables if size > 16]]))


def _pixels(model: nn.Module) -> Iterator[Tensor]:
    size = setting(model, "image_size", "input_size", "img_size", default=224)
    height, width = (size, size) if isinstance(size, int) else (list(size) * 2)[-2:]
    channels = setting(model, "num_channels", "in_channels", "in_chans", default=3)
    frames = setting(model, "num_frames", "frames_per_clip", default=0)
    if isinstance(frames, int) and frames:
        yield torch.rand(2, frames, channels, height, width)
    yield torch.rand(2, channels, height, width)
    if (height, width) != (224, 224):
        yield torch.rand(2, channels, 224, 224)


def _samples(_model: nn.Module) -> Iterator[Tensor]:
    yield torch.rand(2, 16000)
    yield torch.rand(2, 1, 16000)
    yield torch.rand(2, 1024, 128)


def _features(model: nn.Module) -> Iterator[Tensor]:
    bins = setting(model, "num_mel_bins", "feature_size", "input_feat_per_channel", "input_dim", default=80)
    length = int(setting(model, "max_source_positions", default=1500))
    yield torch.rand(2, bins, 2 * length)
    yield torch.rand(2, 128, bins)
    yield torch.rand(2, 1, 1024, bins)


def _boxes(_model: nn.Module) -> Iterator[Tensor]:
    yield torch.arange(2 * TOKENS * 4).view(2, TOKENS, 4) % 4 * 10 + 1


MAKERS = {
    "input_ids": _ids,
    "decoder_input_ids": _ids,
    "attention_mask": lambda _model: iter([torch.ones(2, TOKENS, dtype=torch.int64)]),
    "pixel_values": _pixels,
    "pixel_values_videos": _pixels,
    "input_values": _samples,
    "input_features": _features,
    "bbox": _boxes,
}
