"""FRZ407: something is held still by a zero learning rate."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ407",
    name="frozen-by-zero-lr",
    message="`{target}` is held still by a zero learning rate: its gradients are computed and thrown away",
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("zero_lr"):
        message = "`{subject}` is held still by a learning rate of 0: its gradients are computed and thrown away"
        yield fact.report(RULE, message, "{parameters} parameters had gradients and a learning rate of 0")
