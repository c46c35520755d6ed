"""FRZ311: something is not registered."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ311",
    name="unregistered-parameters",
    message="`{target}` is not registered: `parameters()` does not know it, and no optimizer gets it",
    claim=ClaimKind.NOT_STEPPED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("unregistered"):
        message = (
            "`{subject}` is a plain `{text}`: `parameters()` does not know what it holds, and no optimizer gets it"
        )
        yield fact.report(RULE, message, "{parameters} trainable parameters in it were used and are in no optimizer")
