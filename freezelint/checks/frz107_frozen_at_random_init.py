"""FRZ107: something is frozen at its random initialisation."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ107",
    name="frozen-at-random-init",
    message="`{target}` is frozen at its random initialisation: no weights are ever given to it",
    severity=Severity.WARNING,
    claim=ClaimKind.STARVED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("random_frozen"):
        message = "`{subject}` is frozen at its random initialisation: no weights are ever given to it"
        yield fact.report(RULE, message, "{parameters} parameters were drawn, frozen and used, and never loaded")
