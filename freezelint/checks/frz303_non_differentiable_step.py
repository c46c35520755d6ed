"""FRZ303: an operation without a derivative, or with a derivative of zero, stands between parameters and the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from freezelint.findings import ClaimKind, Finding
from freezelint.gradient_map import Cause, GradientMap, Kind
from freezelint.rule import Rule
from freezelint.source.loss_terms import at_first_cut, effect_of, losses, lost_names, never_trains
from freezelint.source.starved import named, reached_anywhere, stepped_after
from freezelint.source.story import Backward, Decided, GradRead, Story

RULE = Rule(
    code="FRZ303",
    name="non-differentiable-step",
    message="{text} has {what}: {lost} gets no gradient through it, {effect}",
    claim=ClaimKind.STARVED,
)
DECIDES = "`{text}` only decides which way the program goes: {lost} gets no gradient through it, {effect}"
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


@RULE.on(Backward)
def by_control_flow(event: Backward, story: Story) -> Iterator[Finding]:
    """A loss of numbers alone that was made to require grad: what the network gives was only tested on the way."""
    if event.node is None or event.via != "backward" or story.incomplete or not made_of_numbers(event, story):
        return
    stepped, reached = stepped_after(story, event), reached_anywhere(story)
    for test in story.of(Decided):
        behind = [story.of_node[i] for i in sorted(story.map.behind([test.node])) if i in story.of_node]
        params = [param for param in behind if id(param) in stepped and story.flag_at(param, event)]
        same = test.context.loops[:1] == event.context.loops[:1] or not test.context.loops
        if params and same and test.seq < event.seq and not any(param.node in reached for param in params):
            lost = named(story, params)
            subject, effect = lost.replace("`", ""), never_trains(lost)
            text = " ".join(test.spot.text.split())
            yield RULE.report(test.spot, message=DECIDES, text=text, lost=lost, effect=effect, subject=subject)
            return


def made_of_numbers(event: Backward, story: Story) -> bool:
    """Whether a loss has a graph only because a value without one was told to require grad, and nobody wants that."""
    assert event.node is not None
    graph = story.map
    behind = graph.behind([event.node])
    leaves = [i for i in behind if graph.nodes[i].kind is Kind.INPUT and graph.nodes[i].trainable]
    if not leaves or any(graph.nodes[i].kind in (Kind.PARAMETER, Kind.UNKNOWN) for i in behind):
        return False
    wanted = {read.node for read in story.of(GradRead)}
    wanted |= {tensor.node for one in story.optimizers for tensor in one.tensors}
    return not any(i in wanted for i in leaves)
