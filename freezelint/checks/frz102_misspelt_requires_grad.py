"""FRZ102: `name` sets a new attribute."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ102",
    name="misspelt-requires-grad",
    message="`{name}` sets a new attribute: `requires_grad` of `{target}` stays as it was",
    claim=ClaimKind.STILL_TRAINS,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("misspelt"):
        message = "`{text}` sets a new attribute: `requires_grad` of `{subject}` stays as it was"
        yield fact.report(
            RULE,
            message,
            "{parameters} parameters kept the other value, {trained} of them got a gradient",
            severity=None if fact.numbers["parameters"] else Severity.HINT,
        )
