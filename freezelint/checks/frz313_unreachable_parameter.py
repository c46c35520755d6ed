"""FRZ313: parameters are trained from which no way leads to the loss: a module built and not used, a result dropped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezelint.findings import ClaimKind, Finding
from freezelint.gradient_map import GradientMap, Node
from freezelint.rule import Rule, locate
from freezelint.source.story import Story
from freezelint.source.unreached import unreached

RULE = Rule(
    code="FRZ313",
    name="unreachable-parameter",
    message="no loss depends on `{name}`: {why}, it stays at its initial values",
    claim=ClaimKind.STARVED,
)


@RULE.on(Story)
def check(story: Story) -> Iterator[Finding]:
    for row in unreached(story):
        if row.call is None:
            yield RULE.report(row.place, name=row.name, why="it is built and never used", subject=row.name)
        else:
            built = ((row.place, "built here"),)
            why = "its result is not used"
            yield RULE.report(row.call, name=row.name, why=why, subject=row.name, related=built)


@RULE.on(GradientMap)
def check_map(map_: GradientMap, subject: Any = None) -> Iterator[Finding]:
    """A traced or a real step: the whole way is known."""
    if isinstance(subject, Story) or not map_.losses():
        return
    rows: dict[Any, list[Node]] = {}
    for node in map_.unreachable(loss.id for loss in map_.losses()):
        if node.place is not None:
            rows.setdefault(locate(node.place), []).append(node)
    for place, nodes in rows.items():
        name = nodes[0].module or nodes[0].name
        yield RULE.report(place, name=name, why=f"{len(nodes)} parameters get no gradient", subject=name)
