"""FRZ312: something is no leaf."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ312",
    name="non-leaf-parameter",
    message="`{target}` is no leaf: no optimizer moves it",
    claim=ClaimKind.NOT_STEPPED,
)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("replaced_parameter"):
        message = "`{subject}` is assigned anew after the optimizer took the old one: the new one never moves"
        yield fact.report(RULE, message, "the parameter in use is in no optimizer")
    for fact in facts.of("non_leaf_parameter"):
        message = "`{subject}` is the result of an operation on a parameter, no leaf: no optimizer moves it"
        yield fact.report(RULE, message, "the tensor in the place of the parameter has a graph")
