"""FRZ502: a parameter that the project's settings declare trainable gets no gradient, or no optimizer steps it."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Location
from freezelint.model_report import ModelReport, ParameterRow
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ502",
    name="contract-not-trained",
    message="`{pattern}` is to train in `{model}`, but {count} of its parameters {why}, `{name}` among them",
    claim=ClaimKind.STARVED,
)
IDLE = "`{pattern}` is to train in `{model}`, but it matches none of its parameters"


@RULE.on(ModelReport)
def check(report: ModelReport) -> Iterator[Finding]:
    for pattern in report.trainable:
        matched = [row for row in report.parameters if fnmatchcase(row.name, pattern)]
        if not matched:
            yield _report(report.place, IDLE, pattern, report.name)
        for why in WHY:
            wrong = [row for row in matched if reason(row) == why]
            if wrong:
                place = next((row.frozen_at or row.place for row in wrong if row.frozen_at or row.place), report.place)
                yield _report(place, "", pattern, report.name, [row.name for row in wrong], why)


WHY = ("do not require a gradient", "get no gradient", "are in no optimizer")


def reason(row: ParameterRow) -> str:
    if not row.trainable:
        return WHY[0]
    if not row.reached:
        return WHY[1]
    return WHY[2] if row.in_optimizer is False else ""


@RULE.on(Facts)
def check_run(facts: Facts) -> Iterator[Finding]:
    for pattern in facts.contract[1]:
        matched = [row for row in facts.parameters if fnmatchcase(row.name, pattern)]
        wrong = [row for row in matched if not row.steps_with_gradient]
        if wrong and facts.steps:
            place = next((row.place for row in wrong if row.place), None)
            yield _report(place, "", pattern, facts.name, [row.name for row in wrong], "got no gradient in any step")


def _report(
    place: Location | None, message: str, pattern: str, model: str, names: list[str] | None = None, why: str = ""
) -> Finding:
    names = names or [""]
    at = place or Location(".", 1)
    return RULE.report(
        at, message=message, pattern=pattern, model=model, count=len(names), name=names[0], why=why, subject=pattern
    )
