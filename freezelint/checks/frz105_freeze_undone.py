"""FRZ105: the freeze of something is undone before training."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ105",
    name="freeze-undone",
    message="the freeze of `{target}` is undone before training",
    claim=ClaimKind.STILL_TRAINS,
)

HOW = {
    "set back": "`requires_grad` is set back to True",
    "drawn anew": "its loaded weights are drawn anew",
    "inverted": "it is told to train where it says freeze",
}


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("freeze_undone"):
        message = "the freeze of `{subject}` is undone before training: {how}"
        yield fact.report(RULE, message, "{how}", how=HOW[fact.text])
