"""FRZ305: the loss that is trained on is computed without grad mode: a block, a decorator, a switch left off."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.gradient_map import GradientMap
from freezelint.rule import Rule
from freezelint.source import cst
from freezelint.source.loss_terms import all_without_grad, losses, lost_names, runs_alone, without_grad_mode
from freezelint.source.story import Backward, ModeChange, Spot, Story
from freezelint.source.switches import leaks, left_off_by_import
from freezelint.source.undo_block import undone

RULE = Rule(
    code="FRZ305",
    name="training-without-grad-mode",
    message="the training loss is computed under `{text}`: it has no graph, nothing trains",
    fix="leave `{text}` out of the training step",
    safety=Safety.UNSAFE,
    claim=ClaimKind.NO_GRAPH,
)
LEFT_OFF = "`{text}` switches autograd off for the whole process, and nothing restores it before the training step"


@RULE.on(GradientMap)
def check(map_: GradientMap, story: object = None) -> Iterator[Finding]:
    if not isinstance(story, Story):
        return
    told: set[object] = set()
    for event in story.of(Backward):
        for cut in all_without_grad(map_, story, event):
            if isinstance(cut.place, Spot) and cut.place not in told:
                told.add(cut.place)
                yield _report(cut.place, cut.text, event.spot)
    for row in losses(map_, story):
        place = row.cut.place
        ways = (node for event in story.of(Backward) if event.node == row.loss.id for node in event.reached)
        whole = row.whole and not any(node in story.of_node for node in ways) and runs_alone(map_, row, story)
        if isinstance(place, Spot) and place not in told and (whole or without_grad_mode(map_, row)):
            told.add(place)
            yield _report(place, row.cut.text, row.loss.place, lost_names(row, story))


def _report(place: Spot, text: str, backward: object, lost: str = "") -> Finding:
    related = ((backward, "trained on here"),) if isinstance(backward, Spot) else ()
    bare = text.lstrip("@")
    edits = undone(place)
    message = "" if edits or "set_grad_enabled" not in bare else LEFT_OFF
    return RULE.report(
        place, text=bare, message=message, edits=edits, related=related, subject=lost.replace("`", "") or "loss"
    )


@RULE.on(Story)
def check_imports(story: Story) -> Iterator[Finding]:
    """A file of the project that turns autograd off when it is imported."""
    if not story.of(Backward) or any(event.how == "switch" for event in story.of(ModeChange)):
        return
    for spot in left_off_by_import(story.file):
        yield RULE.report(spot, text=spot.text, message=LEFT_OFF, subject="loss")


@RULE.on(ModeChange)
def check_switch(event: ModeChange, story: Story) -> Iterator[Finding]:
    """Off and on again by bare calls, with a way out in between."""
    if event.how != "switch" or event.mode.flag is not False or not event.context.calls:
        return
    function = event.context.calls[-1].node
    way = leaks(function, event.spot.node) if isinstance(function, cst.FunctionDef) else None
    if way is not None:
        message = "`{text}` is not restored when the function is left early: autograd stays off for the whole process"
        out = Spot(event.spot.file, way)
        yield RULE.report(
            event.spot, text=event.spot.text, message=message, related=((out, "it is left here"),), subject="loss"
        )


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("no_grad_mode"):
        message = "`{text}` is still in force where the model trains: no loss has a graph"
        yield fact.report(
            RULE, message, "{operations} operations on {parameters} optimised parameters ran without grad mode"
        )
    for fact in facts.of("fragile_switch"):
        message = "a `{text}` leaves `{subject}` with grad mode switched off: training after it gets no gradient"
        yield fact.report(RULE, message, "the switch was made, and nothing restores it on that way")
