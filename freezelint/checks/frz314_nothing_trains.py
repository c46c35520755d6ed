"""FRZ314: no parameter gets a gradient."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ314",
    name="nothing-trains",
    message="no parameter gets a gradient: the steps change nothing",
    claim=ClaimKind.STARVED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("nothing_trains"):
        message = "`{subject}` steps without a single gradient: nothing trains"
        yield fact.report(RULE, message, "{steps} steps, none with a gradient")
