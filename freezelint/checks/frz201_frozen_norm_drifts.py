"""FRZ201: something is frozen, but stays in train mode."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ201",
    name="frozen-norm-drifts",
    message="`{target}` is frozen, but stays in train mode: its running statistics drift",
    claim=ClaimKind.FROZEN_MOVES,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("norm_drift"):
        message = "`{subject}` is frozen, but in train mode: its running statistics drift"
        yield fact.report(RULE, message, "its running mean moved by {moved:.3g} in {forwards} forwards")
