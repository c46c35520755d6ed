"""FRZ310: something was used up before."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ310",
    name="exhausted-parameters",
    message="`{target}` was used up before: this use gets no parameters",
    claim=ClaimKind.NO_EFFECT,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("exhausted"):
        message = "`{subject}` gets an iterator that was used up before: no parameters are left in it"
        yield fact.report(RULE, message, "the iterator had ended before this use")
