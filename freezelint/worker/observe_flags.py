"""Facts about freezes: flags set on the wrong thing, undone, or not honoured by what the run did."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator
from typing import Any

from .ledger import Leaf, Ledger, Mod
from .monitor import Monitor
from .observe_undone import reopened, undone
from .observed import Fact, below, everything, fact, frozen_at, named, size
from .places import Place
from .source_text import call_at, filename, function_at, lines_above, loop_around, span


def flags(monitor: Monitor) -> Iterator[Fact]:
    ledger = monitor.ledger
    yield from attributes(monitor)
    yield from temporaries(monitor)
    yield from undone(ledger)
    yield from reopened(ledger)
    yield from rebuilt(monitor)
    yield from renormed(ledger)
    yield from misaligned(ledger)
    yield from comparisons(monitor)
    yield from inverted(monitor)


def attributes(monitor: Monitor) -> Iterator[Fact]:
    for event in monitor.events:
        if event["kind"] == "attribute":
            entry: Mod = event["module"]
            kind = "module_attribute" if event["name"] == "requires_grad" else "misspelt"
            harmed = [leaf for leaf in below(entry) if leaf.requires_grad != bool(event["value"])]
            yield fact(
                kind,
                event["place"],
                entry.name or entry.type,
                text=f"{event['name']} = {event['value']}",
                parameters=len(harmed),
                elements=size(harmed),
                trained=sum(leaf.had_gradient > 0 for leaf in harmed),
            )
        elif event["kind"] == "misspelt":
            leaf: Leaf | None = event["leaf"]
            missed = leaf is not None and leaf.requires_grad != bool(event["value"])
            yield fact(
                "misspelt",
                event["place"],
                (leaf.name if leaf else "") or "a tensor",
                text=f"{event['name']} = {event['value']}",
                parameters=int(missed),
                trained=int(missed and leaf is not None and leaf.had_gradient > 0),
            )


def temporaries(monitor: Monitor) -> Iterator[Fact]:
    for event in monitor.events:
        if event["kind"] != "temporary" or event["node"].used:
            continue
        leaf: Leaf | None = event["leaf"]
        if leaf is not None and leaf.requires_grad != bool(event["value"]):
            yield fact(
                "temporary",
                event["place"],
                leaf.name or "a parameter",
                text=event["text"],
                trained=int(leaf.had_gradient > 0),
            )


def rebuilt(monitor: Monitor) -> Iterator[Fact]:
    """A frozen module or parameter replaced by a fresh one that trains, before the first step.

    A new head on a network that was frozen as a whole is none: the freeze was not about the old head.
    """
    start = min((opt.first_step for opt in monitor.ledger.optimizers if opt.first_step), default=0)
    for event in monitor.events:
        if event["kind"] != "replaced" or event["seq"] > start:
            continue
        gone, fresh, around = taken_out(event) if event["parameter"] else exchanged(event)
        if not gone or not fresh or not all(map(frozen_at, gone)) or not all(leaf.wanted for leaf in fresh):
            continue
        same = len(gone) > 2 and [leaf.shape for leaf in gone] == [leaf.shape for leaf in fresh]
        if same or frozen_with(gone, monitor.ledger) <= {id(leaf) for leaf in around}:
            new, freeze = event["new"], frozen_at(gone[0])
            name = new.name if isinstance(new, Mod) else fresh[0].name
            yield fact("freeze_undone", event["place"], name, text="replaced", related=[(freeze, "frozen here")])


def exchanged(event: dict[str, Any]) -> tuple[list[Leaf], list[Leaf], list[Leaf]]:
    """The parameters of the module that went, of the one that came, and all that a freeze of the old one is about."""
    old, new = event["old"], event["new"]
    gone = everything(old) if isinstance(old, Mod) else []
    return gone, everything(new) if isinstance(new, Mod) else [], gone


def taken_out(event: dict[str, Any]) -> tuple[list[Leaf], list[Leaf], list[Leaf]]:
    entry: Mod = event["module"]
    new = entry.current.get(event["name"])
    gone = [leaf for leaf in entry.own if leaf is not new and leaf.attribute == event["name"]]
    return gone, [new] if new is not None else [], everything(entry)


def frozen_with(leaves: list[Leaf], ledger: Ledger) -> set[int]:
    """All that the same lines froze."""
    places = {frozen_at(leaf) for leaf in leaves}
    return {id(leaf) for leaf in ledger.leaves.values() if leaf.is_parameter and frozen_at(leaf) in places}


def renormed(ledger: Ledger) -> Iterator[Fact]:
    """`weight_norm` of a frozen layer: two parameters that train stand in for the frozen one."""
    for leaf in ledger.leaves.values():
        module = leaf.owner.ref() if leaf.owner is not None and leaf.is_parameter and frozen_at(leaf) else None
        if module is None or leaf.owner is None or leaf.attribute in module._parameters:
            continue
        parts = [leaf.owner.current.get(f"{leaf.attribute}{end}") for end in ("_g", "_v", "_orig")]
        fresh = [part for part in parts if part is not None and part.wanted]
        if fresh:
            related = [(frozen_at(leaf), "frozen here")]
            yield fact("freeze_undone", fresh[0].place, leaf.owner.name, text="renormed", related=related)


def misaligned(ledger: Ledger) -> Iterator[Fact]:
    """A freeze inside a loop that pairs modules with parameters: they are not in step."""
    places: dict[Any, list[Leaf]] = {}
    for leaf in ledger.leaves.values():
        for flag in leaf.flags if leaf.is_parameter else ():
            if flag.place is not None and not flag.value:
                places.setdefault(flag.place, []).append(leaf)
    for place, leaves in places.items():
        loop = loop_around(place)
        if loop is not None and pairs_modules_with_parameters(loop):
            yield fact(
                "misaligned",
                span(place, loop.iter),
                named(leaves),
                related=[(place, "frozen here")],
                parameters=len(leaves),
            )


def pairs_modules_with_parameters(loop: ast.For) -> bool:
    call = loop.iter
    if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "enumerate" and call.args:
        call = call.args[0]
    if not isinstance(call, ast.Call) or getattr(call.func, "id", "") != "zip":
        return False
    names = {arg.func.attr for arg in call.args if isinstance(arg, ast.Call) and isinstance(arg.func, ast.Attribute)}
    return bool(names & {"modules", "named_modules", "children", "named_children"}) and bool(
        names & {"parameters", "named_parameters"}
    )


def comparisons(monitor: Monitor) -> Iterator[Fact]:
    """`p.requires_grad == False` as a statement of its own."""
    for event in monitor.events:
        if event["kind"] == "comparison":
            leaf = event["leaf"]
            missed = leaf is not None and leaf.requires_grad
            yield fact(
                "misspelt",
                event["place"],
                (leaf.name if leaf else "") or "a tensor",
                text=event["text"],
                parameters=int(missed),
                trained=int(missed and leaf.had_gradient > 0),
            )


_TRAIN_WORDS = ("train", "update", "tune", "tuning", "learn", "requires_grad", "non_static", "dynamic")


def inverted(monitor: Monitor) -> Iterator[Fact]:
    for event in monitor.events:
        if event["kind"] == "from_pretrained":
            given = call_at(event["place"], "from_pretrained")
            words = keyword_names(given, "freeze")
            if words and any(word in name.lower() for name in words for word in _TRAIN_WORDS):
                yield fact("freeze_undone", event["place"], event["name"] or "embedding", text="inverted")
    for leaf in monitor.ledger.leaves.values():
        if leaf.is_parameter and leaf.wanted and leaf.flags and all(flag.value for flag in leaf.flags):
            flag = leaf.flags[0]
            says = flag.place and flag.was and says_freeze(lines_above(flag.place, 2))
            if flag.place and says and not freezes_below(flag.place):
                yield fact("freeze_undone", flag.place, leaf.name, text="inverted")


def says_freeze(lines: list[str]) -> bool:
    text = " ".join(line.split("#", 1)[1] for line in lines if "#" in line).lower()
    return "freez" in text and "unfreez" not in text and "not freez" not in text and "defreez" not in text


_CLOSES = re.compile(r"requires_grad(\s*=\s*False\b|_\(\s*(requires_grad=)?False)|(?<!def )\bfreeze\w*\(")


def freezes_below(place: Place) -> bool:
    """Whether the same function freezes something after the line: it opens all, then closes a part."""
    around = function_at(place)
    if not isinstance(around, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    end = around.end_lineno or place[3]
    return any(_CLOSES.search(linecache.getline(filename(place), line)) for line in range(place[3] + 1, end + 1))


def keyword_names(call: ast.Call | None, keyword: str) -> list[str]:
    value = next((item.value for item in call.keywords if item.arg == keyword), None) if call else None
    if value is None or isinstance(value, ast.UnaryOp):
        return []
    if isinstance(value, ast.Name):
        return [value.id]
    return [value.attr] if isinstance(value, ast.Attribute) else []
