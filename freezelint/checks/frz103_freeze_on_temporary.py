"""FRZ103: `requires_grad` is set on a temporary."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ103",
    name="freeze-on-temporary",
    message="`requires_grad` is set on a temporary: `{target}` keeps training",
    claim=ClaimKind.STILL_TRAINS,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("temporary"):
        message = "`requires_grad` is set on the temporary that `{text}` returns: `{subject}` keeps its own"
        yield fact.report(RULE, message, "the parameter kept the other value")
