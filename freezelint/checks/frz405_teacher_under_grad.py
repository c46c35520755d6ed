"""FRZ405: something gives targets only, yet runs inside autograd."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ405",
    name="teacher-under-grad",
    message="`{target}` gives targets only, yet runs inside autograd: its gradients are computed and thrown away",
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("teacher_under_grad"):
        message = "`{subject}` is in no optimizer, yet runs inside autograd: its gradients are computed and thrown away"
        yield fact.report(
            RULE, message, "weight gradients of {parameters} parameters ({elements} elements) in {passes} passes"
        )
