"""FRZ406: the discriminator step goes back through the generator."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ406",
    name="generator-not-detached",
    message="the discriminator step goes back through the generator: its gradients are thrown away",
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("other_network"):
        message = (
            "this pass goes back through `{subject}`, which its step does not move: those gradients are thrown away"
        )
        yield fact.report(
            RULE, message, "gradients of {parameters} parameters ({elements} elements) of the other network"
        )
