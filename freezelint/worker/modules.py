"""The rows of a report: every module with its state and costs, every parameter with what became of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import nn

from .bill import Bill
from .capture import Recording
from .cost import Costs
from .frames import Line
from .mapping import place
from .setup_log import SetupLog

Json = dict[str, Any]


def module_rows(recording: Recording, costs: Costs, whole: Costs, zeroed: set[str]) -> list[Json]:
    """One row a module, in the order of the model, plus one for each path that costs came from outside of it."""
    graded = recording.graded - {id(recording.parameters[name]) for name in zeroed}
    known = dict(recording.model.named_modules(remove_duplicate=False))
    switched = {id(recording.parameters[name]) for name in recording.trainable}  # a tied one has a name only once
    rows = [_row(path, module, graded, switched, costs, whole) for path, module in known.items()]
    others = sorted({*costs.by_path, *whole.by_path} - set(known))
    return rows + [{"path": p, "class": "", "state": "", **_bills(p, costs, whole), **NO_PARAMETERS} for p in others]


NO_PARAMETERS = {"own_parameters": 0, "own_elements": 0, "trainable_elements": 0, "reached_elements": 0}


def _row(path: str, module: nn.Module, graded: frozenset[int], switched: set[int], costs: Costs, whole: Costs) -> Json:
    own = {f"{path}.{name}" if path else name: p for name, p in module.named_parameters(recurse=False)}
    elements = {name: p.numel() for name, p in own.items()}
    trainable = [name for name, p in own.items() if id(p) in switched]
    got = [name for name in trainable if id(own[name]) in graded]
    return {
        "path": path,
        "class": type(module).__name__,
        "state": _state(path, own, trainable, got, costs),
        "training": module.training,
        "own_parameters": len(own),
        "own_elements": sum(elements.values()),
        "trainable_elements": sum(elements[name] for name in trainable),
        "reached_elements": sum(elements[name] for name in got),
        **_bills(path, costs, whole),
    }


def _state(path: str, own: Json, trainable: list[str], got: list[str], costs: Costs) -> str:
    """trains, starved (some trainable parameter without a gradient, or with zeros alone), passes (frozen, a gradient
    goes through), frozen, through and idle (no parameters of its own, with and without a gradient passing)."""
    passed = path in costs.passed
    if trainable:
        return "trains" if len(got) == len(trainable) else "starved"
    if own:
        return "passes" if passed else "frozen"
    return "through" if passed else "idle"


def _bills(path: str, costs: Costs, whole: Costs) -> Json:
    return {
        "present": asdict(costs.by_path.get(path, Bill())),
        "whole": asdict(whole.by_path.get(path, Bill())),
    }


def parameter_rows(
    recording: Recording,
    model: nn.Module,
    stepped: set[int] | None,
    log: SetupLog,
    places: dict[str, Line],
    otherwise: dict[str, str],
    zeroed: set[str],
) -> list[Json]:
    """Every parameter of the user's model, by name; `otherwise`: the output that reaches it where no loss does."""
    originals = dict(model.named_parameters())
    return [
        {
            "name": name,
            "shape": list(parameter.shape),
            "trainable": name in recording.trainable,
            "reached": id(parameter) in recording.graded,
            "zero": name in zeroed,
            "output": otherwise.get(name, ""),
            "in_optimizer": None if stepped is None else id(originals[name]) in stepped,
            "place": place(places.get(name)),
            "frozen_at": place(log.frozen.get(id(originals[name]))),
        }
        for name, parameter in recording.parameters.items()
    ]
