"""FRZ310: an iterator of parameters is walked a second time, and gives nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.rule import Rule
from freezelint.source import cst
from freezelint.source.late import ordered
from freezelint.source.story import Consumed, Event, Spot, Story
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
    nameless = expression and not iterator.name
    yield RULE.report(
        iterator.spot if nameless else handed_at(event, before),
        edits=((iterator.spot, f"list({made})"),) if expression else (),
        related=((before.spot, "used up here"), *(((event.spot, "empty here"),) if nameless else ())),
        subject=iterator.name or made,
        target=iterator.name or made,
        when="by the pass before" if before.spot == event.spot else f"at line {before.spot.locate().line}",
        effect=EFFECT.get(event.purpose, "no parameters are left in it"),
        made=made if expression else "…",
    )


def handed_at(event: Consumed, before: Consumed) -> Spot:
    """Where a helper was handed what had been used up before that; the use itself where both are in one call."""
    helper = event.context.calls[-1] if event.context.calls else None
    passes = dict(before.context.loops)
    again = any(passes.get(loop, number) != number for loop, number in event.context.loops)
    if helper is None or not event.context.sites or not isinstance(helper.node, cst.FunctionDef):
        return event.spot
    params = helper.node.params
    names = [param.name.value for param in (*params.posonly_params, *params.params, *params.kwonly_params)]
    given = any(re.search(rf"(?<![\w.]){name}\b", event.spot.text) for name in names if name not in ("self", "cls"))
    return event.context.sites[-1] if given and (again or before.context.sites != event.context.sites) else event.spot


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
