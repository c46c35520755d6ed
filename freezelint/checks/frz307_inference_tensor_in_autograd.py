"""FRZ307: a tensor made under `inference_mode` is saved for backward."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ307",
    name="inference-tensor-in-autograd",
    message="a tensor made under `inference_mode` is saved for backward: the step raises",
    claim=ClaimKind.RAISES,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("inference_saved"):
        message = "`{subject}` gets a tensor made under `inference_mode` that autograd must save: the step raises"
        yield fact.report(RULE, message, "raised in the run")
