"""FRZ404: frozen parameters of something are handed to the optimizer."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ404",
    name="frozen-in-optimizer",
    message="frozen parameters of `{target}` are handed to the optimizer: it never steps them",
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("frozen_in_optimizer"):
        message = "frozen parameters of `{subject}` are handed to the optimizer: it never steps them"
        yield fact.report(RULE, message, "{parameters} of its parameters never had a gradient")
