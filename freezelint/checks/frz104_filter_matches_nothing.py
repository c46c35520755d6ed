"""FRZ104: a freeze by name pattern that no parameter of the built model passes."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.model_report import ModelReport
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ104",
    name="filter-matches-nothing",
    message="no parameter of `{model}` passes `{test}`: nothing is frozen or unfrozen here; its names begin {names}",
    fix="match the names that `named_parameters()` gives, or freeze the submodule itself",
    claim=ClaimKind.STILL_TRAINS,
)


@RULE.on(ModelReport)
def check(report: ModelReport) -> Iterator[Finding]:
    beginnings = list(dict.fromkeys(row.name.split(".")[0] for row in report.parameters))
    names = ", ".join(f"`{name}`" for name in beginnings[:4]) + (", ..." if len(beginnings) > 4 else "")
    for test, place in report.idle_filters:
        yield RULE.report(place, model=report.name, test=test, names=names, subject=test)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("idle_filter"):
        message = f"no parameter passes `{{text}}`: nothing is frozen or unfrozen here; the names begin {fact.subject}"
        detail = "none of {names} names passed the test"
        if "same" in fact.numbers:
            message = f"`{{text}}` is the same for every parameter; the names begin {fact.subject}"
            detail = "{same} parameters were given one and the same flag"
        elif "group" in fact.numbers:
            message, detail = (
                "no parameter passes `{text}`: this group of the optimizer is empty",
                "group {group} is empty",
            )
        yield fact.report(RULE, message, detail)
