"""FRZ106: something is only put in `eval()`."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ106",
    name="not-a-freeze",
    message="`{target}` is only put in `eval()`: its parameters keep training",
    claim=ClaimKind.STILL_TRAINS,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("not_a_freeze"):
        message = "`{text}` is the only freeze of `{subject}`: its parameters keep training"
        yield fact.report(
            RULE,
            message,
            "{parameters} parameters of it got a gradient and were stepped",
            text={"eval": "eval()", "no_grad": "torch.no_grad()"}[fact.text],
        )
