"""FRZ103: `requires_grad` is set on a temporary."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.rule import Place, Rule
from freezelint.source.flags import code, held, origin, temporary
from freezelint.source.story import AttributeSet, Event, Spot, Statement, Story, TensorFlag
from freezelint.source.values import Param, Tensor

RULE = Rule(
    code="FRZ103",
    name="freeze-on-temporary",
    message="`requires_grad` is set on the temporary `{text}`: `{target}` keeps its own",
    fix="set it on `{target}` itself",
    safety=Safety.SAFE,
    claim=ClaimKind.STILL_TRAINS,
)


@RULE.on(AttributeSet)
def assigned(event: AttributeSet, story: Story) -> Iterator[Finding]:
    """`p.data.requires_grad = value`: nothing holds the temporary after this line."""
    if event.name != "requires_grad" or not isinstance(event.node, cst.Attribute):
        return
    if all(isinstance(target, Tensor) for target in held(event.target)) and held(event.target):
        yield from on_temporary(event, event.node.value, story)


@RULE.on(Statement)
def called(event: Statement, story: Story) -> Iterator[Finding]:
    """`p.detach().requires_grad_(value)` whose result is thrown away."""
    node: cst.BaseExpression = event.node
    if isinstance(node, (cst.ListComp, cst.GeneratorExp)):
        node = node.elt
    if not (isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute)):
        return
    if node.func.attr.value == "requires_grad_" and any(flag.spot.node is node for flag in story.of(TensorFlag)):
        yield from on_temporary(event, node.func.value, story, Spot(event.spot.file, node))


def on_temporary(event: Event, node: cst.BaseExpression, story: Story, place: Spot | None = None) -> Iterator[Finding]:
    base = temporary(node)
    if base is None:
        return
    source = origin(story, event, node)
    if source is None:
        return
    target = code(event, base)
    fixable = isinstance(source, Param) and not any(part in target for part in "()")
    edits: tuple[tuple[Place, str], ...] = ((Spot(event.spot.file, node), target),) if fixable else ()
    yield RULE.report(
        place or event.spot,
        edits=edits,
        subject=target,
        severity=Severity.ERROR if isinstance(source, Param) else Severity.WARNING,
        text=code(event, node),
        target=target,
    )


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("temporary"):
        message = "`requires_grad` is set on the temporary that `{text}` returns: `{subject}` keeps its own"
        yield fact.report(RULE, message, "the parameter kept the other value")
