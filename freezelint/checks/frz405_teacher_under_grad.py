"""FRZ405: a network that only gives targets runs inside autograd, and no optimizer holds its parameters."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.rule import Rule
from freezelint.source.edits import statement_of, under_no_grad
from freezelint.source.left_out import LeftOut, fixed, groups_left_out, use_of
from freezelint.source.story import ModuleCall, Spot, Story
from freezelint.source.values import submodules

RULE = Rule(
    code="FRZ405",
    name="teacher-under-grad",
    message="{target} gives targets only, yet runs inside autograd: its gradients are computed and thrown away",
    fix="run it under `torch.no_grad()`",
    safety=Safety.UNSAFE,
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)


@RULE.on(Story)
def targets_with_a_graph(story: Story) -> Iterator[Finding]:
    for group in groups_left_out(story):
        place = use_of(story, group) if group.target and fixed(story, group) else None
        if place is not None:
            subject = group.names.replace("`", "")
            yield RULE.report(
                place, target=group.names, subject=subject, edits=under_no_grad(place, alone(story, place, group))
            )


def alone(story: Story, place: Spot, group: LeftOut) -> bool:
    """Whether the statement calls no other module than these."""
    parts = [part for module in group.modules for part in submodules(module)]
    statement = statement_of(place)
    others = [call for call in story.of(ModuleCall) if call.module not in parts and call.spot.file is place.file]
    return statement is not None and not any(statement_of(call.spot) is statement for call in others)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("teacher_under_grad"):
        message = "`{subject}` is in no optimizer, yet runs inside autograd: its gradients are computed and thrown away"
        yield fact.report(
            RULE, message, "weight gradients of {parameters} parameters ({elements} elements) in {passes} passes"
        )
