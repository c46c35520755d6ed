"""Facts about freezes that did not last: set back before training or at each pass, or frozen weights drawn anew."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from .ledger import Flag, Leaf, Ledger
from .observed import Fact, everything, fact, frozen_at
from .places import Place

Site = tuple["Place | None", ...]  # the line that sets a flag, then the calls that led there, outwards


def undone(ledger: Ledger) -> Iterator[Fact]:
    """A freeze that was reversed before anything was trained: set back, or the frozen weights drawn anew."""
    start = training_begins(ledger)
    frozen: dict[Site, set[int]] = {}
    opened: dict[Site, set[int]] = {}
    pairs: dict[tuple[Site, Site], Leaf] = {}
    for leaf in parameters(ledger):
        before = [flag for flag in leaf.flags if flag.seq < start]
        for flag in before:
            (opened if flag.value else frozen).setdefault(flag.site, set()).add(id(leaf))
        again = any(flag.seq >= start and not flag.value for flag in leaf.flags)  # a toggle, which closes it as well
        if leaf.wanted and not again and len(before) > 1 and before[-1].value and not before[-2].value:
            pairs.setdefault((before[-2].site, before[-1].site), leaf)
        if not leaf.wanted and leaf.reached == 0 and frozen_at(leaf) and leaf.writes:
            yield from redrawn(leaf)
    for (freeze, undo), leaf in pairs.items():
        if frozen[freeze] <= opened[undo]:
            yield from set_back(leaf, freeze, undo)


def reopened(ledger: Ledger) -> Iterator[Fact]:
    """A toggle of a whole network, made at each pass, opens a part that was closed once, before training."""
    start = training_begins(ledger)
    flags = [(flag, leaf) for leaf in parameters(ledger) for flag in leaf.flags]
    reach: dict[Site, set[int]] = {}
    for flag, leaf in flags:
        reach.setdefault(flag.site, set()).add(id(leaf))
    told: set[tuple[Site, Site]] = set()
    networks = [{id(leaf) for leaf in everything(module)} for module in ledger.modules.values()]
    for leaf in parameters(ledger):
        own = min((opt.first_step for opt in ledger.optimizers if opt.first_step and leaf in opt.leaves), default=0)
        last = next((flag for flag in reversed(leaf.flags) if flag.seq < own), None)
        if last is None or not last.value or last.seq < start or len(set_by(leaf, last.site)) < 2:
            continue
        for freeze in (flag for flag in leaf.flags if flag.seq < start and not flag.value):
            pair = (freeze.site, last.site)
            part = reach[freeze.site] < reach[last.site] and reach[last.site] in networks
            between = (flag for flag in leaf.flags if freeze.seq < flag.seq < last.seq and not flag.value)
            part = part and any(reach[flag.site] == reach[last.site] for flag in between)
            if part and len(set_by(leaf, freeze.site)) == 1 and pair not in told:
                told.add(pair)
                yield from set_back(leaf, *pair)


def training_begins(ledger: Ledger) -> int:
    """When the first pass or step was made; 0 where none was."""
    steps = [opt.first_step for opt in ledger.optimizers if opt.first_step]
    return min([*steps, *(one.seq for one in ledger.backwards)]) if steps else 0


def parameters(ledger: Ledger) -> list[Leaf]:
    return [leaf for leaf in ledger.leaves.values() if leaf.is_parameter and leaf.ref() is not None]


def set_by(leaf: Leaf, site: Site) -> list[Flag]:
    return [flag for flag in leaf.flags if flag.site == site]


def set_back(leaf: Leaf, freeze: Site, undo: Site) -> Iterator[Fact]:
    """Told where the two ways part: a helper that sets any flag is called from two lines."""
    for closed, at in zip_longest(freeze, undo):
        if at and closed != at:
            related = [(closed or freeze[0], "frozen here")]
            yield fact("freeze_undone", at, leaf.name, text="set back", related=related)
            return


def redrawn(leaf: Leaf) -> Iterator[Fact]:
    loads = [write for write in leaf.writes if write.value == "load" and write.via in ("copy_", "data")]
    last = leaf.writes[-1]
    if last.value == "init" and loads and loads[-1].seq < last.seq and not leaf.requires_grad:
        yield fact(
            "freeze_undone",
            last.place,
            leaf.name,
            text="drawn anew",
            related=[(loads[-1].place, "its weights were loaded here")],
        )
