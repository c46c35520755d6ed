"""FRZ402: something requires grad, but no optimizer holds it."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ402",
    name="unfrozen-but-not-optimized",
    message="`{target}` requires grad, but no optimizer holds it: its weight gradients are computed and thrown away",
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("not_optimized"):
        message = (
            "`{subject}` requires grad, but no optimizer holds it: its weight gradients are computed and thrown away"
        )
        yield fact.report(
            RULE, message, "weight gradients of {parameters} parameters ({elements} elements) in {passes} passes"
        )
