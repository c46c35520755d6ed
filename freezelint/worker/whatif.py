"""Single changes to the freeze that save work, ranked by what they save; the best ones recorded again to be sure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import takewhile
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from .bill import Bill
from .capture import Loss, Recording, record
from .cost import Costs
from .inputs import Inputs
from .mapping import place, receiver

Json = dict[str, Any]
WORTH = 0.05  # share of backward that a change must save
MOST = 4
TRIED = 64  # parts
FRONT = 6  # parts, the first that the forward uses, that are also tried together
NEARLY, HALF = 0.9, 0.5  # shares of dgrad
OWN = ("leaf", "line", "spared")  # what is not told
SHORT = 4000  # operations up to which a step is recorded again for each suggestion


def suggestions(recording: Recording, costs: Costs, model: nn.Module, inputs: Inputs, loss: Loss | None) -> list[Json]:
    """What one change would leave of backward, most saved first."""
    now = costs.total()
    found = [*_input_changes(recording, costs, now), *_freezes(recording, costs, now)]
    found = [change for change in found if change["saved_flops"] > WORTH * now.backward_flops]
    found.sort(key=lambda change: -change["saved_flops"])
    chosen = found[:MOST]
    for change in chosen:
        if len(recording.recorder.ops) < SHORT:
            _confirm(change, now, recording, model, inputs, loss)
    return [{key: value for key, value in change.items() if key not in OWN} for change in chosen]


def _input_changes(recording: Recording, costs: Costs, now: Bill) -> list[Json]:
    changes = []
    names = {id(tensor): name for name, tensor in recording.inputs}
    leaves: dict[int, tuple[Tensor, Any]] = {
        id(spot.tensor): (spot.tensor, spot) for spot in recording.watch.hidden_leaves
    }
    for _, tensor in recording.inputs:
        if tensor.requires_grad:
            leaves.setdefault(id(tensor), (tensor, None))
    for key, (tensor, spot) in leaves.items():
        if key in recording.watch.read_grads:
            continue
        name = names.get(key) or receiver(spot)
        title = f"drop `requires_grad` on `{name}`" + (f" in `{spot.path}`" if spot and spot.path else "")
        change = _change("input", title, [name], now, costs.without([tensor]), place(spot.line) if spot else None)
        changes.append({**change, "leaf": tensor, "line": spot.line if spot else None})
    return changes


def _freezes(recording: Recording, costs: Costs, now: Bill) -> list[Json]:
    """Freezing one more part of a model that is partly frozen already."""
    trainable = [name for name in recording.parameters if name in recording.trainable]
    if len(trainable) == len(recording.parameters):
        return []
    changes: list[Json] = []
    seen: set[frozenset[str]] = set()
    for path, names in _modules(trainable).items():
        if len(seen) <= TRIED:
            changes += _freeze(_shared(names) or path, names, recording, costs, now, seen)
    together: list[Json] = []
    for paths, names in _first_used(trainable, recording):
        together += _freeze("`, `".join(paths), names, recording, costs, now, seen)
    most = max((change["spared"] for change in together), default=0)
    if most < HALF * now.dgrad_flops:  # adapters all over the model, say: the first few of them are nothing to freeze
        return changes
    enough = next((change for change in together if change["spared"] > NEARLY * most), None)
    parts = [change for change in changes if enough and set(change["names"]) < set(enough["names"])]
    if enough is not None and all(change["spared"] < NEARLY * enough["spared"] for change in parts):
        changes.append(enough)
    return changes


def _modules(trainable: list[str]) -> dict[str, list[str]]:
    """The trainable parameters below each module, and each of the model's own, by path."""
    groups: dict[str, list[str]] = {}
    for name in trainable:
        parts = name.split(".")[:-1] or [name]
        for depth in range(1, min(len(parts), 4) + 1):
            groups.setdefault(".".join(parts[:depth]), []).append(name)
    return groups


def _shared(names: list[str]) -> str:
    """The path of the innermost module that holds all of these parameters."""
    levels = zip(*(name.split(".")[:-1] for name in names))
    return ".".join(parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, levels))


def _first_used(trainable: list[str], recording: Recording) -> Iterator[tuple[list[str], list[str]]]:
    """The parts the forward uses first, one more each time, as paths and parameters: any one of them alone may keep
    backward going through all that is frozen behind it."""
    uses: dict[int, int] = {}
    for position, op in enumerate(recording.recorder.ops):
        for tensor, _, _ in op.inputs:
            uses.setdefault(id(tensor), position)
    parts: dict[str, list[str]] = {}
    for name in sorted(trainable, key=lambda name: uses.get(id(recording.parameters[name]), len(uses))):
        parts.setdefault(name.rpartition(".")[0] or name, []).append(name)
    front = list(parts.items())[:FRONT]
    for count in range(2, len(front) + 1):
        yield [path for path, _ in front[:count]], [name for _, names in front[:count] for name in names]


def _freeze(
    path: str, names: list[str], recording: Recording, costs: Costs, now: Bill, seen: set[frozenset[str]]
) -> list[Json]:
    """The change, if it is new and makes backward shorter."""
    members = frozenset(names)
    if members in seen:
        return []
    seen.add(members)
    left = costs.without([recording.parameters[name] for name in names])
    shorter = left.dgrad_flops < now.dgrad_flops
    return [_change("freeze", f"freeze `{path}` too", names, now, left, None)] if shorter else []


def _change(kind: str, title: str, names: list[str], now: Bill, left: Bill, at: Any) -> Json:
    return {
        "kind": kind, "title": title, "names": names, "place": at, "left": asdict(left),
        "saved_flops": now.backward_flops - left.backward_flops, "saved_bytes": None, "confirmed": False,
        "spared": now.dgrad_flops - left.dgrad_flops,
    }  # fmt: skip


def _confirm(
    change: Json, now: Bill, recording: Recording, model: nn.Module, inputs: Inputs, loss: Loss | None
) -> None:
    """Record the step again with the change made; its bytes are known only so."""
    from .flow import Flow

    names = set(change["names"]) if change["kind"] == "freeze" else set()
    if change["kind"] == "input":
        inputs = without_flag(inputs, change["names"][0], recording, change["leaf"])
    again = Costs(Flow(record(
        model, inputs, loss, real=recording.real, freeze=lambda name, on: on and name not in names,
        ignored=change.get("line"), hookless=recording.hookless,
    )))  # fmt: skip
    total = again.total()
    change.update(
        left=asdict(total),
        saved_flops=now.backward_flops - total.backward_flops,
        saved_bytes=now.saved_bytes - total.saved_bytes,
        confirmed=True,
    )


def without_flag(inputs: Inputs, name: str, recording: Recording, leaf: Tensor) -> Inputs:
    """The same inputs where the one that became `leaf` does not require grad."""
    position = next((i for i, (known, tensor) in enumerate(recording.inputs) if known == name and tensor is leaf), None)
    if position is None:
        return inputs
    args, kwargs = tree_map_only(Tensor, Tensor.detach, (inputs.args, inputs.kwargs))
    flags = [tensor.requires_grad and i != position for i, (_, tensor) in enumerate(recording.inputs)]
    for tensor, flag in zip((t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)), flags):
        tensor.requires_grad_(flag)
    return Inputs(args, kwargs, inputs.how)
