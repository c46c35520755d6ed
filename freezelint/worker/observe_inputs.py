"""Facts about leaves that are no parameters: losses forced to require grad, and input gradients nobody reads."""

from __future__ import annotations

from collections.abc import Iterator

from .flow_map import behind
from .ledger import Leaf
from .monitor import Monitor
from .observed import Fact, fact


def inputs(monitor: Monitor) -> Iterator[Fact]:
    ledger = monitor.ledger
    wanted = {id(leaf) for opt in ledger.optimizers for leaf in opt.leaves if leaf.wanted or not opt.steps}
    forced: set[int] = set()
    hidden = {id(leaf) for _, _, _, leaves in ledger.hidden for leaf in leaves}
    for event in monitor.events:
        if event["kind"] != "forced" or not event["effect"]:
            continue
        leaf: Leaf = event["node"].detail
        lost = behind(event["node"], live=False) & wanted
        if lost and not leaf.read_by:
            forced.add(id(leaf))
            yield fact("forced_loss", event["place"], event["text"], parameters=len(lost), reached=leaf.reached)
    for leaf in ledger.leaves.values():
        if leaf.is_parameter or leaf.optimizers or not leaf.reached or leaf.read_by or id(leaf) in forced:
            continue
        if leaf.numel == 1 or leaf.needed or leaf.place is None or id(leaf) in hidden:
            continue
        yield fact(
            "wasted_input",
            leaf.place,
            leaf.name or "input",
            text=leaf.via,
            leaves=[leaf],
            passes=leaf.reached,
            elements=leaf.numel,
        )
