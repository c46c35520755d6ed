"""FRZ501: a parameter that the project's settings declare frozen trains."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Location
from freezelint.model_report import ModelReport
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ501",
    name="contract-not-frozen",
    message="`{pattern}` is to be frozen in `{model}`, but {count} of its parameters {verb}, `{name}` among them",
    claim=ClaimKind.STILL_TRAINS,
)
IDLE = "`{pattern}` is to be frozen in `{model}`, but it matches none of its parameters"


@RULE.on(ModelReport)
def check(report: ModelReport) -> Iterator[Finding]:
    for pattern in report.frozen:
        matched = [row for row in report.parameters if fnmatchcase(row.name, pattern)]
        if not matched:
            yield _report(report.place, IDLE, pattern, report.name)
        wrong = [row for row in matched if row.trainable]
        if wrong:
            place = next((row.place for row in wrong if row.place), report.place)
            yield _report(place, "", pattern, report.name, [row.name for row in wrong], "require a gradient")


@RULE.on(Facts)
def check_run(facts: Facts) -> Iterator[Finding]:
    for pattern in facts.contract[0]:
        matched = [row for row in facts.parameters if fnmatchcase(row.name, pattern)]
        wrong = [row for row in matched if row.steps_with_gradient or row.moved_while_frozen]
        if wrong:
            place = next((row.place for row in wrong if row.place), None)
            yield _report(place, "", pattern, facts.name, [row.name for row in wrong], "trained or moved")


def _report(
    place: Location | None, message: str, pattern: str, model: str, names: list[str] | None = None, verb: str = ""
) -> Finding:
    names = names or [""]
    at = place or Location(".", 1)
    return RULE.report(
        at, message=message, pattern=pattern, model=model, count=len(names), name=names[0], verb=verb, subject=pattern
    )
