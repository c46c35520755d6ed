"""FRZ310: an iterator of parameters is walked a second time, and gives nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Location, Safety
from freezelint.rule import Place, Rule
from freezelint.source import cst
from freezelint.source.late import ordered
from freezelint.source.story import Consumed, Event, Spot, Story
from freezelint.source.syntax import parents
from freezelint.source.values import ParamIter

RULE = Rule(
    code="FRZ310",
    name="exhausted-parameters",
    message="`{target}` was used up {when}: {effect}",
    fix="make a list of it: `list({made})`",
    safety=Safety.SAFE,
    claim=ClaimKind.NO_EFFECT,
)

EFFECT = {
    "optimizer": "the optimizer gets no parameters",
    "clip": "no gradient is clipped",
    "loop": "nothing is left to loop over",
}
WALKS = re.compile(r"Adam|SGD|Optim|RMSprop|Lion|Lamb|Adafactor|Shampoo|EMA|MovingAverage|(^|_)(list|tuple|set|ema)$")
PLAIN = (cst.Name, cst.Attribute, cst.Subscript)
LOOKS = re.compile(r"^(print|type|id|repr|str|isinstance|debug|info|warning|log|hasattr|callable)$")


@RULE.on(Consumed)
def walked_twice(event: Consumed, story: Story) -> Iterator[Finding]:
    before = event.before
    iterator = event.iterator
    if not isinstance(before, Consumed) or not isinstance(iterator, ParamIter) or iterator.spot is None:
        return
    if not event.context.implies(before.context) or not _surely_empties(before) or not _wants_elements(event):
        return
    if not ordered(story, before, event):
        return
    made = iterator.spot.text
    expression = isinstance(iterator.spot.node, cst.BaseExpression)
    place = handed_at(event, before)
    nameless = expression and not iterator.name and (event.handed or not isinstance(place.node, PLAIN))
    place = iterator.spot if nameless else place
    first = handed_at(before) if before.handed else before.spot
    yield RULE.report(
        place,
        edits=((brackets_of(iterator.spot), f"list({made})"),) if expression else (),
        related=((before.spot, "used up here"), *(((event.spot, "empty here"),) if nameless else ())),
        subject=iterator.name or made,
        target=place.text if isinstance(place.node, PLAIN) else iterator.name or made,
        when="by the pass before" if before.spot == event.spot else line_of(first, place),
        effect=EFFECT.get(event.purpose, "no parameters are left in it"),
        made=made if expression else "…",
    )


def handed_at(event: Consumed, before: Consumed | None = None) -> Spot:
    """Where a helper was handed what had been used up before that; the use itself where both are in one call."""
    passes = dict(before.context.loops) if before else {}
    again = any(passes.get(loop, number) != number for loop, number in event.context.loops)
    elsewhere = before is None or again or before.context.sites != event.context.sites
    return event.context.sites[-1] if event.handed and elsewhere else event.spot


def line_of(spot: Spot, seen: Spot) -> str:
    """The line of a place, with its file where that is another than the one it is seen from."""
    other = "" if spot.file is seen.file else f" of {Path(spot.file.path).name}"
    return f"at line {spot.locate().line}{other}"


def brackets_of(spot: Spot) -> Place:
    """The place of an expression; of a generator expression with its brackets, unless they are those of a call."""
    holders = parents(spot.file)
    call = holders.get(id(holders.get(id(spot.node))))
    inside, outside = spot.file.positions.of(spot.node), spot.file.positions.with_brackets(spot.node)
    if outside is None or inside == outside:
        return spot
    shared = isinstance(call, cst.Call) and spot.file.positions.with_brackets(call)
    return spot if shared and shared[2:] == outside[2:] else Location(spot.file.path, *outside)


def _called(event: Event) -> str:
    node = event.spot.node
    if not isinstance(node, cst.Call):
        return ""
    return event.spot.file.code(node.func).split(".")[-1]


def _surely_empties(event: Consumed) -> bool:
    """Code that cannot be read may keep the iterator for later."""
    return event.purpose != "call" or bool(WALKS.search(_called(event)))


def _wants_elements(event: Consumed) -> bool:
    return event.purpose != "call" or not LOOKS.match(_called(event))


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("exhausted"):
        message = "`{subject}` gets an iterator that was used up before: no parameters are left in it"
        yield fact.report(RULE, message, "the iterator had ended before this use")
