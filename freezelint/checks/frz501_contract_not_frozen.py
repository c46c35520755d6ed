"""FRZ501: a parameter that the project's settings declare frozen trains."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.contract import Breach, breaches, idle
from freezelint.facts import Facts, Parameter
from freezelint.findings import ClaimKind, Finding
from freezelint.model_report import ModelReport, ParameterRow
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ501",
    name="contract-not-frozen",
    message="`{pattern}` is to be frozen in `{model}`, but {count} of its parameters {why}, `{name}` among them",
    claim=ClaimKind.STILL_TRAINS,
)
IDLE = "`{pattern}` is to be frozen in `{model}`, but it matches none of its parameters"


@RULE.on(ModelReport)
def check(report: ModelReport) -> Iterator[Finding]:
    def judge(row: ParameterRow) -> Breach:
        return "require a gradient" if row.trainable else "", row.place

    yield from idle(RULE, report.frozen, report.parameters, report.name, report.place, IDLE)
    yield from breaches(RULE, report.frozen, report.parameters, report.name, judge, report.place)


@RULE.on(Facts)
def check_run(facts: Facts) -> Iterator[Finding]:
    def judge(row: Parameter) -> Breach:
        return "trained or moved" if row.steps_with_gradient or row.moved_while_frozen else "", row.place

    yield from breaches(RULE, facts.contract[0], facts.parameters, facts.name, judge)
