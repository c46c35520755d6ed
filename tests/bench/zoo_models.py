"""The models of the zoo: timm's families, smallest first, and transformers' architectures from shallow configs.

timm does not import without torchvision; where that is missing, a private stand-in takes its place while timm is
imported, and is taken away again. It has names only: nothing in it computes.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

SHALLOW = {  # config entries that are lowered: depths, widths of the inner layers, vocabulary
    "num_hidden_layers": 2, "encoder_layers": 2, "decoder_layers": 2, "num_layers": 2, "n_layer": 2, "n_layers": 2,
    "num_decoder_layers": 2, "num_encoder_layers": 2, "vocab_size": 1024, "bos_token_id": 0, "eos_token_id": 1,
    "pad_token_id": 2, "intermediate_size": 512, "ffn_dim": 512, "d_ff": 512, "encoder_ffn_dim": 512,
    "decoder_ffn_dim": 512, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
    "moe_intermediate_size": 256, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
}  # fmt: skip
NARROW = {  # what is lowered beside that in a model that is still large: widths, heads, experts
    "hidden_size": 128, "d_model": 128, "n_embd": 128, "dim": 128, "embed_dim": 128, "num_attention_heads": 4,
    "n_head": 4, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_heads": 4, "num_key_value_heads": 2,
    "head_dim": 32, "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 32, "qk_rope_head_dim": 32,
    "v_head_dim": 32, "moe_num_experts": 4, "num_routed_experts": 4, "intermediate_size": 256, "out_hidden_size": 128,
}  # fmt: skip
LARGE = 120_000_000  # parameters from which on a model is narrowed, where that gives one that can be built
SMALL = "atto femto pico nano tiny xxs _xs mini small 18 _s0 _b0 _a0 050 026 lite".split()  # of each family, first
Maker = Callable[[], nn.Module]


class Name(type):
    """A class that has every attribute one asks for."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds torchvision and all below it; each module holds an empty class for every name."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: types.ModuleType) -> None:
        def missing(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return Name(name, (), {})

        module.__getattr__ = missing  # type: ignore[method-assign]


@contextmanager
def torchvision_stand_in() -> Iterator[bool]:
    """True where a stand-in was needed."""
    if importlib.util.find_spec("torchvision") is not None:
        yield False
        return
    finder = StandIn()
    sys.meta_path.append(finder)
    try:
        yield True
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]


def timm_models() -> Iterator[tuple[str, Maker]]:
    """One of each family, then the second of each, and so on."""
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
                yield f"timm:{name}", lambda name=name: timm.create_model(name, pretrained=False)


def transformers_models() -> Iterator[tuple[str, Maker]]:
    """Every fourth architecture, then the next of each four, and so on."""
    import transformers

    names = sorted(transformers.models.auto.modeling_auto.MODEL_MAPPING_NAMES)
    for start in range(4):
        for name in names[start::4]:
            yield f"transformers:{name}", lambda name=name: shallow(transformers, name)


def shallow(transformers: Any, kind: str) -> nn.Module:
    """A model of this type with its config's depths and inner widths lowered, all widths where it is still large."""

    def build(*entries: dict[str, int]) -> nn.Module:
        config = transformers.AutoConfig.for_model(kind)
        for chosen in entries:
            lower(config, chosen)
        model: nn.Module = transformers.AutoModel.from_config(config)
        return model

    with torch.device("meta"):
        try:
            if size(build(SHALLOW)) < LARGE or size(build(SHALLOW, NARROW)) > LARGE:
                chosen = [SHALLOW]
            else:
                chosen = [SHALLOW, NARROW]
        except Exception:  # what does not fit together is left as it is
            chosen = [SHALLOW]
    return build(*chosen)


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def lower(config: Any, limits: dict[str, int]) -> None:
    entries = vars(config)
    for name, most in limits.items():
        if isinstance(entries.get(name), int) and not isinstance(entries[name], bool):
            setattr(config, name, min(most, entries[name]))
    for part in list(entries.values()):
        if hasattr(part, "to_dict") and part is not config:
            lower(part, limits)
