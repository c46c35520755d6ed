"""FRZ304: `text` silences the missing graph of the loss."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ304",
    name="loss-forced-to-require-grad",
    message="`{text}` silences the missing graph of the loss: nothing behind it trains",
    claim=ClaimKind.NO_GRAPH,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("forced_loss"):
        message = "`{text}` makes a value without a graph require grad: nothing behind it gets a gradient"
        yield fact.report(
            RULE, message, "{parameters} parameters lie behind it, none of them got a gradient through it"
        )
