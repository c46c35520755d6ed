"""Single changes to the freeze that save work, ranked by what they save; the best ones recorded again to be sure."""

from __future__ import annotations

from dataclasses import asdict
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
    return [{key: value for key, value in change.items() if key not in ("leaf", "line")} for change in chosen]


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
    """Freezing one more module, or one more of the model's own parameters, in a model that is partly frozen already."""
    groups: dict[str, list[str]] = {}
    trainable = [name for name in recording.parameters if name in recording.trainable]
    for name in trainable:
        parts = name.split(".")[:-1] or [name]
        for depth in range(1, min(len(parts), 4) + 1):
            groups.setdefault(".".join(parts[:depth]), []).append(name)
    changes = []
    seen: set[frozenset[str]] = set()
    for path, names in groups.items():
        members = frozenset(names)
        if members in seen or len(seen) > 64 or len(trainable) == len(recording.parameters):
            continue
        seen.add(members)
        left = costs.without([recording.parameters[name] for name in names])
        if left.dgrad_flops < now.dgrad_flops:
            changes.append(_change("freeze", f"freeze `{path}` too", names, now, left, None))
    return changes


def _change(kind: str, title: str, names: list[str], now: Bill, left: Bill, at: Any) -> Json:
    return {
        "kind": kind, "title": title, "names": names, "place": at, "left": asdict(left),
        "saved_flops": now.backward_flops - left.backward_flops, "saved_bytes": None, "confirmed": False,
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
