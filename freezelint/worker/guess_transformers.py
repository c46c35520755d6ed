"""Example inputs for models of the transformers library, from what their config and signature say of themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from .inputs import Inputs, random_tensor

TOKENS = 16
MOST_PARTS = 16  # of a config that are looked at
MODALITIES = ("image", "video", "audio")
TOWERS = {"image": "pixel_values", "audio": "input_features"}
MEL_BINS = ("num_mel_bins", "feature_size", "input_feat_per_channel", "input_feat_size", "input_dim", "n_mels")
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
    """Main input alone, with what a second tower or a decoder needs, what has no default, all that the signature names.

    Where the signature takes a grid of patches, images come as the rows of patches it counts.
    """
    signature = inspect.signature(model.forward).parameters
    names = [p.name for p in signature.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    main = str(getattr(model, "main_input_name", "input_ids"))
    required = [p.name for p in signature.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    masks = [name for name in names if name.endswith("features_mask")]
    everything = [name for name in names if name in MAKERS]
    seen: list[list[str]] = []
    if required and any(name.endswith("grid_thw") for name in required):
        yield from _patched(model, required)
    together = [[main, *masks]]
    if required:
        together = [required, [*required, *masks], [*required, main], [*required, "input_ids"], *together]
    for wanted in (*([main, *more] for more in BESIDE), *TOGETHER, *together, everything):
        chosen = list(dict.fromkeys(name for name in wanted if name in names or not names))
        if chosen and chosen not in seen and set(required) <= set(chosen):
            seen.append(chosen)
            yield from _filled(model, chosen)


def with_towers(model: nn.Module) -> Iterator[Inputs]:
    """Text and images, or text and sounds, where the config names the token that stands for these in the text."""
    names = inspect.signature(model.forward).parameters
    tables = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)]
    for what, name in TOWERS.items():
        token = token_for(model, what)
        if token is None or not tables or token >= max(tables) or name not in names or "input_ids" not in names:
            continue
        if "image_grid_thw" in names and what == "image":
            (ids,) = _ids(model)
            for inputs in islice(_patched(model, [name, "image_grid_thw"]), 2):
                yield Inputs((), {"input_ids": ids, **inputs.kwargs}, "inferred")
        else:
            yield from islice(_filled(model, ["input_ids", name]), 1)


def _filled(model: nn.Module, names: list[str]) -> Iterator[Inputs]:
    """The same names with every shape that the first tensor might have."""
    choices = [list(maker(model)) if (maker := maker_of(name)) else [] for name in names]
    if not all(choices):
        return
    longest = max(map(len, choices))
    for index in range(longest):
        made = {name: shapes[min(index, len(shapes) - 1)] for name, shapes in zip(names, choices)}
        yield Inputs((), made, "inferred")


def maker_of(name: str) -> Callable[[nn.Module], Iterator[Tensor]] | None:
    """By the argument's whole name, else by what it ends in."""
    return MAKERS.get(name) or next((maker for end, maker in ENDINGS.items() if name.endswith(end)), None)


def patch_size(model: nn.Module) -> int:
    patch = setting(model, "patch_size", default=14) if is_transformers(model) else 16
    return int(patch if isinstance(patch, int) else patch[-1])


def _patched(model: nn.Module, names: list[str]) -> Iterator[Inputs]:
    """One image as rows of flattened patches, and the grid that says how many they are."""
    patch = patch_size(model)
    time = setting(model, "temporal_patch_size", default=1)
    channels = setting(model, "in_channels", "num_channels", "in_chans", default=3)
    merge = setting(model, "spatial_merge_size", default=2)
    side = 2 * (merge if isinstance(merge, int) else merge[-1])
    rows = side * side
    widths = [(rows, width) for width in _first_width(model)]
    for shape in (
        *widths, (rows, channels * time * patch * patch), (rows, channels * patch * patch),
        (rows, channels, patch, patch), (rows, channels, time, patch, patch), (1, rows, channels * patch * patch),
    ):  # fmt: skip
        made: dict[str, Tensor] = {}
        for name in names:
            made[name] = torch.tensor([[1, side, side]]) if name.endswith("grid_thw") else torch.rand(shape)
        yield Inputs((), made, "inferred")


def setting(model: nn.Module, *names: str, default: Any = None) -> Any:
    """The first of these entries that the config, or one of its parts, has; the outer ones first."""
    parts: list[Any] = [model.config]
    for part in parts:
        parts += [inner for inner in vars(part).values() if hasattr(inner, "to_dict") and len(parts) < MOST_PARTS]
    for name in names:
        for part in parts:
            value = vars(part).get(name)
            if value is not None and value is not False:
                return value
    return default


def token_for(model: nn.Module, what: str) -> int | None:
    """The token that stands for a part of an image, a video or a sound."""
    config = getattr(model, "config", None)
    for name in (f"{what}_token_id", f"{what}_token_index", f"{what}_token"):
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return None


def _ids(model: nn.Module) -> Iterator[Tensor]:
    bound = int(setting(model, "vocab_size", default=0) or 0) or 16
    tables = [m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding)]
    yield random_tensor([2, TOKENS], torch.int64, min([bound, *[size for size in tables if size > 16]]))


def _pixels(model: nn.Module) -> Iterator[Tensor]:
    size = setting(model, "image_size", "input_size", "img_size", "max_img_size", "image_resolution", default=224)
    height, width = (size, size) if isinstance(size, int) else (list(size) * 2)[-2:]
    channels = setting(model, "num_channels", "in_channels", "in_chans", default=3)
    frames = setting(model, "num_frames", "frames_per_clip", default=0)
    if isinstance(frames, int) and frames:
        yield torch.rand(2, frames, channels, height, width)
    yield torch.rand(2, channels, height, width)
    if (height, width) != (224, 224):
        yield torch.rand(2, channels, 224, 224)
    yield torch.rand(2, 2, channels, 64, 64)  # pairs
    yield torch.rand(2, 1, channels, height, width)  # images of a text
    patch = setting(model, "patch_size", default=16)
    if isinstance(patch, int):
        yield torch.rand(2, TOKENS, channels * patch * patch)


def _samples(_model: nn.Module) -> Iterator[Tensor]:
    yield torch.rand(2, 16000)
    yield torch.rand(2, 1, 16000)
    yield torch.rand(2, 1024, 128)


def _features(model: nn.Module) -> Iterator[Tensor]:
    bins = setting(model, *MEL_BINS, default=80)
    length = int(setting(model, "max_source_positions", default=1500))
    yield torch.rand(2, bins, 2 * length)
    yield torch.rand(2, 128, bins)
    yield torch.rand(2, 1, 1024, bins)
    for width in dict.fromkeys((128, *_first_width(model))):
        yield torch.rand(2, 128, width)


def _first_width(model: nn.Module) -> Iterator[int]:
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.LayerNorm)):
            yield module.in_features if isinstance(module, nn.Linear) else int(module.normalized_shape[-1])
            return


def _feature_mask(model: nn.Module) -> Iterator[Tensor]:
    """One entry a frame of `_features`."""
    length = int(setting(model, "max_source_positions", default=1500))
    for frames in (2 * length, 128, 1024, 128):
        yield torch.ones(2, frames, dtype=torch.bool)


def _embedded(model: nn.Module) -> Iterator[Tensor]:
    for width in dict.fromkeys(
        (setting(model, "d_model", "hidden_size", default=64), setting(model, "d_latents", default=64))
    ):
        yield torch.rand(2, TOKENS, int(width))


def _positions(_model: nn.Module) -> Iterator[Tensor]:
    """Rows and columns of a square of patches."""
    side = int(TOKENS**0.5)
    grid = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"), dim=-1)
    yield grid.reshape(1, TOKENS, 2).expand(2, -1, -1).clone()


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
ENDINGS: dict[str, Callable[[nn.Module], Iterator[Tensor]]] = {
    "input_ids": _ids,
    "position_ids": _positions,
    "features_mask": _feature_mask,
    "mel_mask": _feature_mask,
    "attention_mask": MAKERS["attention_mask"],
    "_mel": _features,
    "embeds": _embedded,
    "hidden_states": _embedded,
    "inputs": _embedded,
    "latents": _embedded,
}
