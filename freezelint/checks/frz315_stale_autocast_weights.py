"""FRZ315: one `autocast` region spans several steps."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ315",
    name="stale-autocast-weights",
    message="one `autocast` region spans several steps: later forwards use the cached casts of old weights",
    severity=Severity.WARNING,
    claim=ClaimKind.STARVED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("stale_autocast"):
        message = "this `autocast` region spans several steps: later forwards use cached casts of the old weights"
        yield fact.report(RULE, message, "two steps were made inside it")
