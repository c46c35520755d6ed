"""Tensors of the shape that a docstring of `forward` states: "states (`Tensor` of shape `(batch_size, 16, dim)`)".

Names of sizes are looked up in the model's config, else taken for what the words mean.
"""

from __future__ import annotations

import ast
import inspect
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .inputs import random_tensor

BATCH, TOKENS = 2, 16
STATED = re.compile(
    r"^[ \t]*`{0,2}(?P<name>\w+)`{0,2}\s*\(?:?(?P<kind>[^()\n]{0,60}?)\b(?:of|with)?\s*shape:?\s*"
    r"`*[\(\[](?P<shape>[^)\]\n]+)[\)\]](?P<rest>(?:[^\n]|(?<=\bor)\n)*)",
    re.MULTILINE,
)
OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv, ast.Pow: operator.pow,
}  # fmt: skip
WHOLE = ("_ids", "_index", "_indices", "timestep", "timesteps", "time_steps")  # whole numbers, whatever is said
BATCHES = frozenset("batch batch_size bs bsz b n".split())
SIDES = frozenset("height width h w image_height image_width image_size".split())
WIDTHS = frozenset("hidden_size hidden_dim embed_dim d_model dim width d embedding_dim".split())
CHANNELS = frozenset("num_channels channels num_input_channels in_channels c".split())


@dataclass
class Stated:
    """One argument as the docstring has it."""

    name: str
    kind: str
    shapes: list[tuple[str, ...]]  # "of shape A or B"
    optional: bool


def stated(model: nn.Module) -> dict[str, Stated]:
    """The arguments of `forward` whose shape its docstring, or the class's, states."""
    found: dict[str, Stated] = {}
    try:
        names = set(inspect.signature(model.forward).parameters)
    except (TypeError, ValueError):
        return found
    for text in (model.forward.__doc__ or "", type(model).__doc__ or ""):
        for match in STATED.finditer(text.partition("Returns:")[0]):
            said = [match["shape"], *re.findall(r"\bor\s+`?\(([\w\s,.*+]+)\)", match["rest"])]
            shapes = [tuple(size.strip(" `'\"") for size in one.split(",") if size.strip()) for one in said]
            if match["name"] in names and match["name"] not in found and all(shapes):
                found[match["name"]] = Stated(match["name"], match["kind"], shapes, "optional" in match["rest"])
    return found


def tensors(model: nn.Module, one: Stated, sizes: dict[str, int] | None = None) -> Iterator[Tensor]:
    """Tensors as stated, where their sizes can be read. `sizes` says what is known of names beforehand."""
    for stated_shape in one.shapes:
        shape = [size_of(model, text, sizes or {}) for text in stated_shape]
        if all(size is not None and 0 <= size < 1 << 16 for size in shape):
            yield filled(one.name, one.kind, [size for size in shape if size is not None])


def filled(name: str, kind: str, shape: list[int]) -> Tensor:
    """By the name: ones for masks, places in order, small numbers for what indexes, else random."""
    if "mask" in name or "padding" in name:
        return torch.ones(shape, dtype=torch.bool if "Bool" in kind else torch.int64)
    if "position" in name and "embed" not in name:
        return torch.arange(shape[-1]).expand(shape).clone()
    if "Long" in kind or "Int" in kind or name.endswith(WHOLE):
        return random_tensor(shape, torch.int64, 2)
    if "Bool" in kind:
        return torch.zeros(shape, dtype=torch.bool)
    return random_tensor(shape, torch.float32)


def size_of(model: nn.Module, text: str, sizes: dict[str, int]) -> int | None:
    try:
        words = text.strip().replace("number of ", "num_").replace(" ", "_") if " of " in text else text.strip()
        return _value(ast.parse(words, mode="eval").body, model, sizes)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None


def _value(node: ast.expr, model: nn.Module, sizes: dict[str, int]) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_value(node.left, model, sizes), _value(node.right, model, sizes))
    if isinstance(node, (ast.Name, ast.Attribute)):
        return named_size(model, node.id if isinstance(node, ast.Name) else node.attr, sizes)
    raise ValueError("not a size")


def named_size(model: nn.Module, name: str, sizes: dict[str, int]) -> int:
    """What `sizes` knows, what the config or a part of the model says, else what the word means."""
    lower = name.lower()
    if lower in sizes:
        return sizes[lower]
    if lower in BATCHES or lower.endswith("batch_size"):
        return BATCH
    for names in ([lower], WIDTHS, CHANNELS, SIDES):
        if lower in names:
            said = next((value for key in names if (value := said_size(model, key)) is not None), None)
            if said is not None:
                return said
    return next((size for words, size in MEANINGS if any(word in lower for word in words)), BATCH)


MEANINGS = (
    (("len", "seq", "token", "time", "patches"), TOKENS), (tuple(SIDES - {"h", "w"}), 64), (("channel",), 3),
    (("frames",), 4), (("dim", "hidden", "width"), 64),
)  # fmt: skip


def said_size(model: nn.Module, name: str) -> int | None:
    """The first entry of this name in the config, its parts, or the model and its direct children."""
    config = getattr(model, "config", None)
    parts = (
        [config, *(part for part in vars(config).values() if hasattr(part, "to_dict"))] if config is not None else []
    )
    for holder in (*parts, model, *model.children()):
        value: Any = getattr(holder, "__dict__", {}).get(name)
        if isinstance(value, (list, tuple)) and value:
            value = value[-1]
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def everything(model: nn.Module, *, needed: bool) -> Iterator[dict[str, Tensor]]:
    """All stated arguments at once, or those that the docstring does not call optional."""
    made = {
        one.name: next(tensors(model, one), None) for one in stated(model).values() if not (needed and one.optional)
    }
    if made and all(value is not None for value in made.values()):
        yield {name: value for name, value in made.items() if value is not None}
