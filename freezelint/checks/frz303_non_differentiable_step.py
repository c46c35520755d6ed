"""FRZ303: an operation without a derivative, or with a derivative of zero, stands between parameters and the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezelint.findings import ClaimKind, Finding
from freezelint.gradient_map import Cause, GradientMap
from freezelint.rule import Rule
from freezelint.source.loss_terms import at_first_cut, effect_of, losses, lost_names

RULE = Rule(
    code="FRZ303",
    name="non-differentiable-step",
    message="{text} has {what}: {lost} gets no gradient through it, {effect}",
    claim=ClaimKind.STARVED,
)
CAUSES = {
    Cause.NON_DIFFERENTIABLE: "no derivative",
    Cause.ZERO_GRADIENT: "a derivative of zero",
}


@RULE.on(GradientMap)
def check(map_: GradientMap, subject: Any = None) -> Iterator[Finding]:
    for row, others in at_first_cut(row for row in losses(map_, subject) if row.cut.cause in CAUSES):
        place = row.cut.place
        if place is None:
            continue
        lost = lost_names(row, subject)
        yield RULE.report(
            place,
            text=row.cut.text if row.cut.text.startswith("`") else f"`{row.cut.text}`",
            what=CAUSES[row.cut.cause],
            lost=lost,
            effect=effect_of(row, lost),
            subject=lost.replace("`", ""),
            related=tuple((other.cut.place, "and here") for other in others if other.cut.place is not None),
        )
