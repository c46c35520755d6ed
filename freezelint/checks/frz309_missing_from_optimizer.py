"""FRZ309: something gets gradients, but no optimizer holds it."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ309",
    name="missing-from-optimizer",
    message="`{target}` gets gradients, but no optimizer holds it: it never moves",
    claim=ClaimKind.NOT_STEPPED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("missing_from_optimizer"):
        message = "`{subject}` gets a gradient, but no optimizer holds it: it never moves"
        yield fact.report(
            RULE, message, "{parameters} parameters had a gradient in {passes} passes and are in no optimizer"
        )
