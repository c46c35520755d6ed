"""FRZ301: a block or decorator without grad mode stands between trainable parameters and the loss.

Freezing is a matter of `requires_grad`: autograd goes back through a frozen network to what feeds it. Without grad mode
nothing is recorded, so the gradient ends at the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.flow import Loss
from freezelint.gradient_map import Cause, GradientMap
from freezelint.rule import Rule, locate
from freezelint.source.loss_terms import losses, lost_names, never_trains, runs_alone, without_grad_mode
from freezelint.source.story import Story
from freezelint.source.undo_block import undone
from freezelint.source.unreached import only_without_grad

RULE = Rule(
    code="FRZ301",
    name="no-grad-around-frozen",
    message="`{block}` ends the gradient on its way to {lost}: {effect}",
    fix="drop `{block}`; freeze a network by `requires_grad_(False)`",
    safety=Safety.UNSAFE,
    claim=ClaimKind.STARVED,
)
CAUSES = (Cause.NO_GRAD, Cause.INFERENCE_MODE)


@RULE.on(GradientMap)
def check(map_: GradientMap, subject: Any = None) -> Iterator[Finding]:
    told: set[tuple[Any, ...]] = set()
    for row in losses(map_, subject):
        if row.cut.cause not in CAUSES or row.cut.place is None:
            continue
        branch = row.cut.scope if isinstance(subject, Story) and _inside(row) else None  # of two, a trace sees one
        key = (row.cut.place, branch, row.term is None, *sorted(node.id for node in row.lost))
        if key not in told and not without_grad_mode(map_, row) and not runs_alone(map_, row, subject):
            told.add(key)
            yield _report(row, subject)


@RULE.on(Story)
def check_own_layers(story: Story) -> Iterator[Finding]:
    """A layer of a module's own that its forward reads only in such a block, wherever the module is trained."""
    told: dict[Any, list[str]] = {}
    for row, cut in only_without_grad(story):
        told.setdefault(cut.place, []).append(row.name)
    for place, names in told.items():
        lost = " and ".join(f"`{name}`" for name in names)
        yield RULE.report(
            place, block=place.text, lost=lost, effect=never_trains(lost), subject=names[0], edits=undone(place)
        )


def _report(row: Loss, subject: Any) -> Finding:
    place, scope = row.cut.place, row.cut.scope
    assert place is not None
    inside = scope is not None and _inside(row)
    lost = lost_names(row, subject)
    effect = "the term is a constant for it" if row.term else never_trains(lost)
    at = scope if inside and scope is not None else place
    other = (place, f"under `{row.cut.text}`") if inside else (scope, "the gradient is lost here")
    return RULE.report(
        at,
        block=row.cut.text.lstrip("@"),
        lost=lost,
        effect=effect,
        subject=lost.replace("`", ""),
        related=((other[0], other[1]),) if other[0] is not None else (),
        edits=() if inside else undone(place),
    )


def _inside(row: Loss) -> bool:
    """Whether a trainable layer itself is called in a block, as its last step, so that the call is what to move."""
    if row.cut.text.startswith("@") or row.cut.scope is None or row.cut.place is None or not row.direct:
        return False
    block, call = locate(row.cut.place), locate(row.cut.scope)
    return row.last and block.path == call.path and call.line > block.line
