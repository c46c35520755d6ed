"""FRZ101: `target.requires_grad = value` sets an attribute on the module."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ101",
    name="module-attribute-freeze",
    message="`{target}.requires_grad = {value}` sets an attribute on the module: its parameters keep training",
    claim=ClaimKind.STILL_TRAINS,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("module_attribute"):
        message = "`{text}` sets an attribute on the module `{subject}`: its parameters keep training"
        yield fact.report(
            RULE,
            message,
            "{parameters} parameters of it kept the other value, {trained} of them got a gradient",
            severity=None if fact.numbers["parameters"] else Severity.HINT,
        )
