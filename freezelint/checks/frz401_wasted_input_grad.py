"""FRZ401: something requires grad, but nobody reads its gradient."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ401",
    name="wasted-input-grad",
    message="`{target}` requires grad, but nobody reads its gradient: backward goes on to the input for nothing",
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("wasted_input"):
        message = "this tensor requires grad, but nobody reads its gradient: backward goes on to it for nothing"
        yield fact.report(RULE, message, "its gradient was computed in {passes} passes and never read")
