"""FRZ402: loaded weights that no optimizer holds still require grad, so backward computes gradients for nothing."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.rule import Rule
from freezelint.source.edits import freeze_before
from freezelint.source.late import came_late, missing
from freezelint.source.left_out import LeftOut, groups_left_out, root_of, use_of
from freezelint.source.story import OptimizerBuilt, Story
from freezelint.source.values import parameters_of

RULE = Rule(
    code="FRZ402",
    name="unfrozen-but-not-optimized",
    message="no optimizer holds {target}, but backward still computes the weight gradients and throws them away",
    fix="freeze {target} by `requires_grad_(False)`",
    safety=Safety.UNSAFE,
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)


@RULE.on(Story)
def left_out_of_the_optimizer(story: Story) -> Iterator[Finding]:
    for group in groups_left_out(story):
        if group.target or not any(param.owner and param.owner.pretrained for param in group.params):
            continue
        if missing(story, group) or came_late(story, group):
            continue  # forgotten, not left alone on purpose: told as such
        subject = group.names.replace("`", "")
        built = optimizer_of(story, group)
        place = use_of(story, group) if group.upstream and not group.inside else None
        if place is not None:
            yield RULE.report(place, target=group.names, subject=subject)
        elif built is not None:
            edits = freeze_before(built, root_of(story, group.params[0]), group.modules)
            yield RULE.report(built.spot, target=group.names, subject=subject, edits=edits)


def optimizer_of(story: Story, group: LeftOut) -> OptimizerBuilt | None:
    """Where the optimizer is built that should have been given these parameters, or less to train."""
    built = story.of(OptimizerBuilt)
    root = root_of(story, group.params[0])
    own = parameters_of(root) if root else []
    sharing = [event for event in built if any(param in own for param in event.optimizer.params)]
    return next(iter([*sharing, *built]), None)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("not_optimized"):
        message = (
            "`{subject}` requires grad, but no optimizer holds it: its weight gradients are computed and thrown away"
        )
        yield fact.report(
            RULE, message, "weight gradients of {parameters} parameters ({elements} elements) in {passes} passes"
        )
