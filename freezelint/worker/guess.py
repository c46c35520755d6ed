"""Example inputs without settings: candidates from the model's own structure, tried on fake tensors until one runs."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from . import guess_transformers
from .capture import silence
from .fake import device_of, fake_inputs, fake_model
from .inputs import Inputs, from_settings, random_tensor
from .protocol import UnsupportedError
from .shadow import Shadowing, Shadows
from .targets import Built

LARGE = 500_000_000  # parameters from which on a model is not run for real to find its inputs


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
    tried = list(candidates(model))
    reasons = []
    for inputs in tried:
        error = trial(model, inputs)
        if error is None:
            return inputs
        reasons.append(error)
    for inputs in tried[:2]:  # operations that refuse fake tensors may take real ones
        if real_trial(model, inputs):
            return inputs
    why = f"{len(tried)} tried; the first: {reasons[0]}" if reasons else "its forward takes no tensor that is known"
    raise UnsupportedError(f"no example inputs found ({why}); name them in the settings")


def trial(model: nn.Module, inputs: Inputs) -> str | None:
    """None when a fake forward runs, else why not."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    shadows = Shadows(mode)
    try:
        copied = fake_model(model, mode, shadows)
        args, kwargs = fake_inputs((inputs.args, inputs.kwargs), mode, shadows, device_of(model))
        with silence(), mode, Shadowing(shadows), torch.enable_grad():
            copied(*args, **kwargs)
    except Exception as error:
        text = " ".join(str(error).split())
        if "data-dependent" in text.lower() or "DataDependent" in type(error).__name__:
            return None  # the shapes fit; values are the recorder's business
        return f"{type(error).__name__}: {text[:120]}"
    return None


def real_trial(model: nn.Module, inputs: Inputs) -> bool:
    """Whether a real forward of a copy runs; not asked of models that are large."""
    if sum(p.numel() for p in model.parameters()) > LARGE:
        return False
    try:
        copied = with_values(copy.deepcopy(model))
        with silence(), torch.no_grad():
            copied(*inputs.args, **inputs.kwargs)
    except Exception:
        return False
    return True


def with_values(model: nn.Module) -> nn.Module:
    """The model itself, with random weights where it was built without memory; what has values keeps them."""
    for tensor in {id(t): t for t in (*model.parameters(), *model.buffers()) if t.device.type == "meta"}.values():
        real = torch.zeros(tensor.shape, dtype=tensor.dtype)
        if isinstance(tensor, nn.Parameter):
            real = nn.Parameter(nn.init.normal_(real, std=0.02), requires_grad=tensor.requires_grad)
        torch.utils.swap_tensors(tensor, real)  # type: ignore[no-untyped-call]  # identity is what others know it by
    return model


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
