"""What a run is boiled down to: JSON facts for the host."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch

from .flow_map import MapBuilder
from .ledger import Leaf
from .monitor import Monitor
from .observe_filters import filters
from .observe_flags import flags
from .observe_frozen import frozen
from .observe_inputs import inputs
from .observe_owners import owners
from .observe_steps import course
from .observed import Fact, unique
from .trials import KINDS


def digest(monitor: Monitor, measure: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """`measure` is called when all is known, to make the trials that are still open."""
    monitor.survey(always=True)
    ledger = monitor.ledger
    facts = told(monitor)
    monitor.safely(monitor.trials.propose, facts)
    monitor.safely(measure)
    monitor.safely(monitor.trials.settle, facts)
    return {
        "torch": torch.__version__,
        "device": device(monitor),
        "steps": monitor.steps,
        "backwards": sum(event.kind == "backward" for event in ledger.backwards),
        "map": monitor.safely(MapBuilder(monitor).build) or {"witness": "run", "notes": [], "nodes": [], "edges": []},
        "facts": facts,
        "parameters": monitor.safely(parameters, monitor) or [],
        "modules": monitor.safely(modules, monitor) or [],
        "troubles": [f"{error} ({at.filename}:{at.lineno})" for error, at in monitor.flow.troubles.items()],
        "seen": [[path, cell, sorted(lines)] for (path, cell), lines in monitor.places.seen.items()],
    }


CAUSES = {
    "forced_loss", "no_grad_mode", "zeroed_before_step", "zeroed_each_time", "inference_saved", "exhausted",
    "idle_filter",
}  # fmt: skip


def told(monitor: Monitor) -> list[Fact]:
    """Every fact; that nothing trains only where no other fact says why."""
    found: list[Fact] = []
    for observe in (filters, flags, frozen, course, owners, inputs):
        found.extend(monitor.safely(list, observe(monitor)) or [])
    found = unique(found)
    if any(item["kind"] in CAUSES for item in found):
        found = [item for item in found if item["kind"] != "nothing_trains"]
    return found


def propose(monitor: Monitor, kinds: Collection[str] = KINDS) -> None:
    """What looks wasted so far, to be measured at the next pass."""
    for observe in (frozen, owners, inputs):
        found = unique(monitor.safely(list, observe(monitor)) or [])
        monitor.trials.propose(item for item in found if item["kind"] in kinds)


def device(monitor: Monitor) -> str:
    for opt in monitor.ledger.optimizers:
        for leaf in opt.leaves:
            tensor = leaf.ref()
            if tensor is not None:
                return str(tensor.device)
    return "cpu"


def parameters(monitor: Monitor) -> list[dict[str, Any]]:
    """Every named parameter, and what became of it over the steps."""
    return [
        {
            "name": leaf.name,
            "elements": leaf.numel,
            "trainable": leaf.wanted,
            "optimizers": len(leaf.optimizers),
            "steps_with_gradient": leaf.had_gradient,
            "steps_with_zero_gradient": leaf.zero_gradient,
            "steps_without_gradient": leaf.no_gradient,
            "moved_while_frozen": leaf.moved_frozen,
            "place": list(leaf.place) if leaf.place else None,
            "passes": leaf.reached,
            "loaded": not leaf.writes or any(write.value == "load" for write in leaf.writes),
        }
        for leaf in named_leaves(monitor)
    ]


def modules(monitor: Monitor) -> list[dict[str, Any]]:
    """Every named module that was called, and in which modes."""
    return [
        {
            "name": entry.name,
            "type": entry.type,
            "calls": entry.calls,
            "calls_in_train_mode": entry.calls_training,
            "calls_without_grad": entry.calls_without_grad,
            "place": list(entry.called_at) if entry.called_at else None,
        }
        for entry in monitor.ledger.modules.values()
        if entry.name and entry.calls
    ]


def named_leaves(monitor: Monitor) -> list[Leaf]:
    return [leaf for leaf in monitor.ledger.leaves.values() if leaf.is_parameter and leaf.name]
