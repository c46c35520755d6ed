"""FRZ202: something is frozen, but the optimizer still moves it."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ202",
    name="frozen-but-still-stepped",
    message="`{target}` is frozen, but the optimizer still moves it",
    claim=ClaimKind.FROZEN_MOVES,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("frozen_stepped"):
        message = "`{subject}` is frozen after it had a gradient, and `{text}` still moves it"
        yield fact.report(RULE, message, "it moved by {moved:.3g} in one step")
    for fact in facts.of("mask_stepped"):
        message = "the gradient of `{subject}` is zeroed here, and `{text}` still moves what was zeroed"
        yield fact.report(RULE, message, "elements with a zero gradient moved by {moved:.3g} in one step")
