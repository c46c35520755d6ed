"""The models of the zoo: timm's families, smallest first, and transformers' architectures from shallow configs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from freezelint.worker.guess import example_inputs
from freezelint.worker.inputs import Inputs
from freezelint.worker.protocol import UnsupportedError
from freezelint.worker.stand_in import torchvision_stand_in
from freezelint.worker.targets import Built

DEPTHS = "num_hidden_layers encoder_layers decoder_layers num_layers n_layer n_layers num_decoder_layers".split()
DEPTHS += ["num_encoder_layers"]  # lowered to two layers, or as many as show every kind that the config lists
KINDS = ("layer_types", "layers_block_type", "block_types")
SHALLOW = {  # other config entries that are lowered: widths of the inner layers, vocabulary
    "vocab_size": 1024, "bos_token_id": 0, "eos_token_id": 1,
    "pad_token_id": 2, "intermediate_size": 512, "ffn_dim": 512, "d_ff": 512, "encoder_ffn_dim": 512,
    "decoder_ffn_dim": 512, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
    "moe_intermediate_size": 256, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
    "encoder_hash_byte_group_vocab": 1024, "num_self_attends_per_block": 2, "num_blocks": 2,
    "moe_num_experts": 4, "moe_k": 2, "num_queries": 50,
    "num_expert_group": 1, "n_groups": 4, "num_experts_per_token": 2,
    "image_token_id": 3, "image_token_index": 3, "video_token_id": 4, "video_token_index": 4, "audio_token_id": 5,
}  # fmt: skip
WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "embed_dim")
HEADS = ("num_attention_heads", "encoder_attention_heads", "decoder_attention_heads", "n_head", "num_heads", "n_heads")
LARGE = 30_000_000  # parameters from which on a model is narrowed, where that gives one that can be built
SMALL = "atto femto pico nano tiny xxs _xs mini small 18 _s0 _b0 _a0 050 026 lite".split()  # of each family, first
HUGE = 100_000_000  # parameters from which on a model of timm counts as large; so do those that want large images
Maker = Callable[[], nn.Module]


def timm_models(light: bool = False) -> Iterator[tuple[str, Maker]]:
    """One of each family, then the second of each, and so on; where `light`, the large ones four blocks deep."""
    with torchvision_stand_in() as needed:
        import timm
    if needed:
        print("timm: torchvision is not installed; an empty stand-in took its place while timm was imported")
    families: dict[str, list[str]] = {}
    for name in timm.list_models():
        families.setdefault(timm.models.model_entrypoint(name).__module__, []).append(name)
    for names in families.values():
        names.sort(key=lambda name: not any(size in name for size in SMALL))
    for index in range(max(map(len, families.values()))):
        for names in families.values():
            if index < len(names):
                name = names[index]
                yield f"timm:{name}", lambda name=name: timm_model(timm, name, light)


def timm_model(timm: Any, name: str, light: bool) -> nn.Module:
    make: Callable[..., nn.Module] = timm.create_model
    stated = timm.models.get_pretrained_cfg(name)
    if light:
        with torch.device("meta"):
            whole = size(make(name, pretrained=False))
        if whole > HUGE or (stated.fixed_input_size and stated.input_size[-1] > 256):
            for less in ({"depth": 4, "img_size": 128}, {"depth": 4}, {"img_size": 128}):
                try:
                    return make(name, pretrained=False, **less)
                except Exception:  # its depth or image cannot be given
                    continue
    return make(name, pretrained=False)


def smaller(model: nn.Module, inputs: Inputs) -> Inputs:
    """The same with the smallest images that the model takes: a quarter or a half as high and wide, but 64 pixels."""
    for part in (4, 2):
        scaled = tree_map_only(Tensor, lambda tensor: scaled_image(tensor, part), (inputs.args, inputs.kwargs))  # noqa: B023
        try:
            with torch.no_grad():
                copy.deepcopy(model)(*scaled[0], **scaled[1])
        except Exception:
            continue
        return Inputs(*scaled, inputs.how)
    return inputs


def scaled_image(tensor: Tensor, part: int) -> Tensor:
    if tensor.dim() != 4 or not tensor.is_floating_point() or min(tensor.shape[2:]) < 128:
        return tensor
    height, width = (max(64, length // part // 32 * 32) for length in tensor.shape[2:])
    return tensor[:, :, :height, :width].contiguous()


def transformers_models(light: bool = False) -> Iterator[tuple[str, Maker]]:
    """Every fourth architecture, then the next of each four, and so on; where `light`, with smaller images."""
    import transformers
    import transformers.modeling_utils  # once, and not by each model that is forked

    names = sorted(transformers.models.auto.modeling_auto.MODEL_MAPPING_NAMES)
    for start in range(4):
        for name in names[start::4]:
            yield f"transformers:{name}", lambda name=name: transformers_model(transformers, name, light)


def transformers_model(transformers: Any, kind: str, light: bool) -> nn.Module:
    if light:
        try:
            model = shallow(transformers, kind, 128)
            example_inputs(Built(model))
        except Exception:  # what does not fit together is left as it is
            pass
        else:
            return model
    return shallow(transformers, kind)


def shallow(transformers: Any, kind: str, image: int | None = None) -> nn.Module:
    """A model of this type with its config's depths and inner widths lowered; with fewer heads where still large."""

    def build(narrowed: bool) -> nn.Module:
        config = transformers.AutoConfig.for_model(kind)
        lower(config)
        for part in parts(config):
            if image is not None and isinstance(vars(part).get("image_size"), int):
                part.image_size = min(image, part.image_size)
        if narrowed:
            narrow(config)
        model: nn.Module = transformers.AutoModel.from_config(config)
        return model

    with torch.device("meta"):
        try:
            narrowed = size(build(False)) > LARGE > size(build(True))
        except Exception:  # what does not fit together is left as it is
            narrowed = False
    if narrowed:
        try:
            example_inputs(Built(slim := build(True)))
            return slim
        except UnsupportedError:  # or does not run so
            pass
    return build(False)


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def parts(config: Any) -> Iterator[Any]:
    yield config
    for part in list(vars(config).values()):
        if hasattr(part, "to_dict"):
            yield from parts(part)


def lower(config: Any) -> None:
    for part in parts(config):
        kinds = next((vars(part)[name] for name in KINDS if isinstance(vars(part).get(name), list)), [])
        depth = max((kinds.index(kind) + 1 for kind in kinds if isinstance(kind, str)), default=2)
        for name in KINDS:
            if isinstance(vars(part).get(name), list):
                setattr(part, name, kinds[: max(depth, 2)])
        for name, most in {**SHALLOW, **dict.fromkeys(DEPTHS, max(depth, 2))}.items():
            if isinstance(vars(part).get(name), int) and not isinstance(vars(part)[name], bool):
                setattr(part, name, min(most, vars(part)[name]))


def narrow(config: Any) -> None:
    """Four heads where there are more, each as wide as it was, and widths that speak of another part's in step."""
    changed: dict[int, int] = {}
    for part in parts(config):
        entries = vars(part)
        width = next((name for name in WIDTHS if isinstance(entries.get(name), int)), None)
        heads = [name for name in HEADS if isinstance(entries.get(name), int)]
        if width is None or not heads or entries[heads[0]] <= 4 or entries[width] % entries[heads[0]]:
            continue
        new = entries[width] // entries[heads[0]] * 4
        changed[entries[width]] = new
        setattr(part, width, new)
        for name in heads:
            setattr(part, name, 4)
        if isinstance(entries.get("num_key_value_heads"), int):
            part.num_key_value_heads = 4 if entries["num_key_value_heads"] > 4 else entries["num_key_value_heads"]
    for part in parts(config):
        for name, value in list(vars(part).items()):
            if isinstance(value, int) and value in changed and name.startswith(("out_", "proj", "text_", "vision_")):
                setattr(part, name, changed[value])
