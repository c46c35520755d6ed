"""One fact of a run: what was seen, at which line of the user's, about what, with numbers."""

from __future__ import annotations

from typing import Any

from .ledger import Leaf, Mod
from .places import Place

Fact = dict[str, Any]


def fact(
    kind: str,
    place: Place | None,
    subject: str,
    text: str = "",
    related: list[tuple[Place | None, str]] | None = None,
    leaves: list[Leaf] | None = None,
    pass_at: Place | None = None,
    **numbers: float,
) -> Fact:
    """Of a waste: the `leaves` that need no gradient, and the only pass that wastes it, where others do not."""
    return {
        "kind": kind,
        "place": list(place) if place else None,
        "subject": subject,
        "text": text,
        "related": [[list(at), note] for at, note in related or [] if at],
        "numbers": numbers,
        "leaves": leaves or [],
        "pass_at": pass_at,
    }


def named(leaves: list[Leaf], top: Mod | None = None) -> str:
    """What a group of leaves is called: its module, or its first parameter and how many follow."""
    if top is not None and top.name:
        return top.name
    first = leaves[0].name or "a parameter"
    return first if len(leaves) == 1 else f"{first} and {len(leaves) - 1} more"


def size(leaves: list[Leaf]) -> int:
    return sum(leaf.numel for leaf in leaves)


def below(entry: Mod) -> list[Leaf]:
    """Every leaf of a module and of the modules below it."""
    return [leaf for part in entry.parts for leaf in part.own]


def everything(entry: Mod, depth: int = 40) -> list[Leaf]:
    """Every parameter registered in a module or below, whether or not it was ever called."""
    found = list(entry.own)
    for flag in entry.children.values():
        if isinstance(flag.was, Mod) and depth and flag.was is not entry:
            found.extend(everything(flag.was, depth - 1))
    return found


def frozen_at(leaf: Leaf) -> Place | None:
    return next((flag.place for flag in reversed(leaf.flags) if flag.value is False), None)


def unique(facts: list[Fact]) -> list[Fact]:
    """One fact a place and kind: the first, which says how many more there were."""
    kept: dict[tuple[Any, ...], Fact] = {}
    for item in facts:
        key = (item["kind"], tuple(item["place"] or ()), item["subject"] if item["place"] is None else "")
        if key in kept:
            kept[key]["numbers"]["times"] = kept[key]["numbers"].get("times", 1) + 1
        else:
            kept[key] = item
    return [item for item in kept.values() if item["place"]]
