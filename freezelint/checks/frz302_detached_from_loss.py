"""FRZ302: a value leaves the graph between trainable parameters and the loss: detached, copied or made a number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.flow import Loss
from freezelint.gradient_map import Cause, GradientMap
from freezelint.rule import Place, Rule, locate
from freezelint.source.edits import Edits
from freezelint.source.loss_terms import at_first_cut, effect_of, losses, lost_names
from freezelint.source.undo_block import without_call

RULE = Rule(
    code="FRZ302",
    name="detached-from-loss",
    message="{text} ends the gradient on its way to {lost}: {effect}",
    fix="leave {text} out",
    safety=Safety.UNSAFE,
    claim=ClaimKind.STARVED,
)
CAUSES = (Cause.DETACH, Cause.DATA, Cause.ITEM, Cause.NUMPY, Cause.COPY)
STEPS = (Cause.NON_DIFFERENTIABLE, Cause.ZERO_GRADIENT)


@RULE.on(GradientMap)
def check(map_: GradientMap, subject: Any = None) -> Iterator[Finding]:
    for row, others in at_first_cut(row for row in losses(map_, subject) if row.cut.cause in CAUSES):
        if row.cut.place is not None and not beside_a_step(row, losses(map_, subject)):
            fed = [loss for loss in map_.losses() if row.edge.target in map_.reached([loss.id])]
            yield _report(row, others, subject, edits=without_call(row.cut.place) if len(fed) < 2 else ())


def beside_a_step(row: Loss, rows: list[Loss]) -> bool:
    """Whether the same line takes the same gradient by a step without a derivative: that is told as the mistake."""
    place, lost = row.cut.place, {node.id for node in row.lost}
    steps = (one for one in rows if one.cut.cause in STEPS and one.loss is row.loss and one.cut.place is not None)
    return any(
        lost == {node.id for node in one.lost} and place and one.cut.place and at(one.cut.place) == at(place)
        for one in steps
    )


def at(place: Place) -> tuple[str, int]:
    found = locate(place)
    return found.path, found.line


def _report(row: Loss, others: list[Loss], subject: Any, edits: Edits) -> Finding:
    """`edits` cut nothing where several losses would go back through the same graph: the second would raise."""
    place = row.cut.place
    assert place is not None
    lost = lost_names(row, subject)
    return RULE.report(
        place,
        text=row.cut.text if row.cut.text.startswith("`") else f"`{row.cut.text}`",
        lost=lost,
        effect=effect_of(row, lost),
        subject=lost.replace("`", ""),
        related=tuple((other.cut.place, "and here") for other in others if other.cut.place is not None),
        edits=edits,
    )
