"""FRZ305: the training forward runs without grad mode."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ305",
    name="training-without-grad-mode",
    message="the training forward runs without grad mode: nothing trains",
    claim=ClaimKind.NO_GRAPH,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("no_grad_mode"):
        message = "`{text}` is still in force where the model trains: no loss has a graph"
        yield fact.report(
            RULE, message, "{operations} operations on {parameters} optimised parameters ran without grad mode"
        )
    for fact in facts.of("fragile_switch"):
        message = "a `{text}` leaves `{subject}` with grad mode switched off: training after it gets no gradient"
        yield fact.report(RULE, message, "the switch was made, and nothing restores it on that way")
