"""What a failed try asks for: arguments that its error names or found to be None, keys of a batch, image tokens.

What it says of sizes: `guess_sizes`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from itertools import chain, islice

import torch
from torch import Tensor, nn

from . import guess_documented as documented
from . import guess_sizes
from . import guess_transformers as library
from .guess_try import Failure
from .guess_values import Given, values_of
from .inputs import Inputs

COUNTS = re.compile(
    r"(?P<what>\w+) features and \w+ tokens do not match.*?tokens\b.*?features\D*(?P<features>\d+)", re.IGNORECASE
)
EXCLUSIVE = re.compile(r"exactly (?:one|1)|only one|cannot specify|at the same time|both|mutually exclusive", re.I)
OF_TOKENS = ("attention_mask", "token_type_ids", "mm_token_type_ids", "position_ids", "labels")
FAULTS = ("None", "must be provided", "missing")


def repairs(model: nn.Module, inputs: Inputs, failure: Failure) -> Iterator[Inputs]:
    """Other inputs that this failure suggests, most telling first."""
    given = named(model, inputs)
    if given is None:
        return
    counted = COUNTS.search(failure.text)
    ways = (tokens_to_fit,) if counted else (arguments, keys, guess_sizes.resized, anything)
    for made in chain(*(way(model, given, failure) for way in ways)):
        yield Inputs((), made, "inferred")


def named(model: nn.Module, inputs: Inputs) -> Given | None:
    """The same by name; None where a positional one has none."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
        names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    except (TypeError, ValueError):
        return None
    if len(inputs.args) > len(names):
        return None
    return {**dict(zip(names, inputs.args)), **inputs.kwargs}


def takes(model: nn.Module) -> list[str]:
    parameters = inspect.signature(model.forward).parameters.values()
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def arguments(model: nn.Module, given: Given, failure: Failure) -> Iterator[Given]:
    """With what is missing: an argument that the error names, one that a failing line found to be None."""
    names = takes(model)
    exclusive = bool(EXCLUSIVE.search(failure.text))
    said = [name for name in names if re.search(rf"\b{name}\b", failure.text)]
    yield from of_a_kind(model, names, given, failure)
    for name in said if exclusive else ():
        if name in given and len(given) > 1:
            yield {key: value for key, value in given.items() if key != name}
    wanted = [name for name in (*said, *none_of(failure)) if name in names and name not in given]
    for name in dict.fromkeys(wanted):
        for value in values_of(model, name, given):
            yield {**given, name: value}
    if not wanted and any(word in failure.text for word in FAULTS):
        yield from anything(model, given, failure)


def anything(model: nn.Module, given: Given, _failure: Failure) -> Iterator[Given]:
    """With one more argument of those that the docstring describes: which, the error does not say."""
    stated = documented.stated(model)
    for name in takes(model):
        if name in stated and name not in given and not name.endswith("embeds"):
            for value in islice(values_of(model, name, given), 1):
                yield {**given, name: value}


def of_a_kind(model: nn.Module, names: list[str], given: Given, failure: Failure) -> Iterator[Given]:
    """ "All labels must be provided": everything that is called so."""
    for kind in ("labels", "values", "features", "states", "embeds"):
        more = [name for name in names if name.endswith(kind) and name not in given]
        if more and re.search(rf"(?<!_)\b{kind}\b", failure.text):
            made = dict(given)
            for name in more:
                value = next(values_of(model, name, made), None)
                if value is not None:
                    made[name] = value
            yield made


def none_of(failure: Failure) -> Iterator[str]:
    """Names on the failing lines whose value is None, innermost first."""
    if "None" not in failure.text:
        return
    for frame in reversed(failure.frames):
        for word in re.findall(r"\w+", frame.line):
            if word in frame.names and frame.names[word] is None:
                yield word


def keys(model: nn.Module, given: Given, failure: Failure) -> Iterator[Given]:
    """A batch is a dict: with the key that was asked for."""
    names = takes(model)
    key = failure.text.strip("'\"")
    if failure.error.startswith("KeyError") and key.isidentifier():
        for name, value in given.items():
            if isinstance(value, dict):
                for part in values_of(model, key, value):
                    yield {**given, name: {**value, key: part}}
    elif names and isinstance(given.get(names[0]), Tensor):
        asked = keys_of(failure, names[0])
        for part in values_of(model, asked, {}) if asked else ():
            yield {**given, names[0]: {asked: part}}


def keys_of(failure: Failure, name: str) -> str | None:
    """`batch["image"]` on a failing line."""
    for frame in failure.frames:
        found = re.search(rf"\b{name}(?:\[|\.get\(|\.pop\()['\"](\w+)['\"]", frame.line)
        if found:
            return found[1]
    return None


def tokens_to_fit(model: nn.Module, given: Given, failure: Failure) -> Iterator[Given]:
    """As many of the tokens that stand for images, videos or sounds as there are features for them."""
    match = COUNTS.search(failure.text)
    ids = given.get("input_ids")
    if match is None or not isinstance(ids, Tensor) or ids.dim() != 2:
        return
    token = library.token_for(model, match["what"].lower())
    features = int(match["features"])
    if token is None:
        return
    rows = ids.shape[0]
    for count in dict.fromkeys((features, *widths_within(features, failure))):
        if count % rows:
            continue
        each = count // rows
        kept = ids[:, -documented.TOKENS :].clone()
        kept[kept == token] = 0 if token != 0 else 1
        placed = torch.cat([torch.full((rows, each), token, dtype=ids.dtype), kept], dim=1)
        yield with_ids(given, placed)


def widths_within(features: int, failure: Failure) -> Iterator[int]:
    """Where all their elements were counted: rows of the features that the failing function holds."""
    for frame in reversed(failure.frames):
        for name, value in frame.names.items():
            if name.endswith("features") and isinstance(value, Tensor) and value.dim() > 1 and value.shape[-1]:
                yield features // value.shape[-1]
                yield value.numel() // value.shape[-1]


def with_ids(given: Given, ids: Tensor) -> Given:
    """With these ids; what had a row an id has one again."""
    before = given["input_ids"].shape[1]
    made = {**given, "input_ids": ids}
    for name, value in given.items():
        if name in OF_TOKENS and isinstance(value, Tensor) and tuple(value.shape) == (ids.shape[0], before):
            made[name] = torch.ones_like(ids) if "mask" in name else torch.zeros_like(ids)
    return made
