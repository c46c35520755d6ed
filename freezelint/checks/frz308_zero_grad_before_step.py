"""FRZ308: the gradients are zeroed between `backward()` and `step()`."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ308",
    name="zero-grad-before-step",
    message="the gradients are zeroed between `backward()` and `step()`: the step has nothing to step",
    claim=ClaimKind.NOT_STEPPED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("zeroed_before_step"):
        message = "the gradients are zeroed between `backward()` and the step of `{subject}`: it steps nothing"
        yield fact.report(RULE, message, "{empty_steps} of {steps} steps found no gradient")
    for fact in facts.of("zeroed_each_time"):
        message = "the gradients are zeroed before every pass: only the last one reaches the step of `{subject}`"
        yield fact.report(RULE, message, "{kept} of {backwards} backward passes reached a step")
