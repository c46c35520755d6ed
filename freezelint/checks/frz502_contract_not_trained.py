"""FRZ502: a parameter that the project's settings declare trainable gets no gradient, or no optimizer steps it."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.contract import Breach, breaches, idle
from freezelint.facts import Facts, Parameter
from freezelint.findings import ClaimKind, Finding
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
    def judge(row: ParameterRow) -> Breach:
        return reason(row), row.frozen_at or row.place

    yield from idle(RULE, report.trainable, report.parameters, report.name, report.place, IDLE)
    yield from breaches(RULE, report.trainable, report.parameters, report.name, judge, report.place)


def reason(row: ParameterRow) -> str:
    if not row.trainable:
        return "do not require a gradient"
    if not row.reached:
        return f"get no gradient from `loss`, only from the output `{row.output}`" if row.output else "get no gradient"
    if row.zero:
        return "get a gradient of zeros"
    return "are in no optimizer" if row.in_optimizer is False else ""


@RULE.on(Facts)
def check_run(facts: Facts) -> Iterator[Finding]:
    def judge(row: Parameter) -> Breach:
        return "" if row.steps_with_gradient else "got no gradient in any step", row.place

    if facts.steps:
        yield from breaches(RULE, facts.contract[1], facts.parameters, facts.name, judge)
