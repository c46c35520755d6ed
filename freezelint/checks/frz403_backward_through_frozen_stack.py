"""FRZ403: a small trainable part early on makes backward cross a long frozen stack. Right, but it has its price."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.model_report import ModelReport, WhatIf, flop
from freezelint.rule import Rule

RULE = Rule(
    code="FRZ403",
    name="backward-through-frozen-stack",
    message=(
        "{parts} in front of frozen layers: backward still does {share:.3f} of the work it does with "
        "everything trainable"
    ),
    fix="freezing {part} too would take backward from {before} to {after}",
    severity=Severity.HINT,
    claim=ClaimKind.WASTED,
)


@RULE.on(ModelReport)
def check(report: ModelReport) -> Iterator[Finding]:
    crossed = [row for row in report.modules if row.state == "passes"]
    dgrad = sum(row.present.dgrad_flops for row in crossed)
    if not report.whole.backward_flops or dgrad < report.dgrad_threshold * report.whole.backward_flops:
        return
    part = early_part(report, sum(row.own_elements for row in crossed))
    frozen = next((row.frozen_at for row in report.parameters if row.frozen_at), None)
    place = frozen or report.place
    if part is None or place is None:
        return
    subject = part.parts.split("`")[1]
    made = next((row.place for row in report.parameters if row.name in part.names and row.place), None)
    yield RULE.report(
        place,
        part=part.parts,
        parts=f"{part.parts} {'train' if '`, `' in part.parts else 'trains'}",
        share=report.share_of_backward(),
        before=flop(report.present.backward_flops),
        after=flop(part.left.backward_flops),
        subject=subject,
        related=((made, f"`{subject}` is made here"),) if made else (),
    )


def early_part(report: ModelReport, crossed: int) -> WhatIf | None:
    """The smallest trainable part, smaller than what is crossed for it, without which the crossing would end."""
    sizes = {row.name: row.elements for row in report.parameters}
    worth = [
        change
        for change in report.what_if
        if change.kind == "freeze"
        and sum(sizes[name] for name in change.names) < crossed
        and change.saved_flops > report.dgrad_threshold * report.whole.backward_flops
    ]
    return min(worth, key=lambda change: sum(sizes[name] for name in change.names), default=None)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("frozen_stack"):
        if fact.numbers["crossed_share"] >= facts.dgrad_threshold:
            message = "`{subject}` trains in front of frozen layers: backward crosses all of them for it"
            detail = "{frozen_elements} frozen elements crossed for {trainable_elements} trainable ones"
            yield fact.report(RULE, message, detail)
