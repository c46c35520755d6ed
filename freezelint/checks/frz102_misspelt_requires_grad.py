"""FRZ102: a line that looks like setting `requires_grad` and does not: misspelt, compared, not called, overwritten."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.rule import Place, Rule
from freezelint.source import cst
from freezelint.source.flags import (
    already,
    assignment,
    code,
    flag_of,
    handed,
    held,
    misspelt,
    own_parameters,
    owner_text,
    owns,
    shown,
)
from freezelint.source.story import AttributeSet, Spot, Statement, Story, Tested
from freezelint.source.values import Data, Instance, Method, Param, Tensor, Value

RULE = Rule(
    code="FRZ102",
    name="misspelt-requires-grad",
    message="`{name}` sets a new attribute: `requires_grad` of `{target}` stays as it was",
    fix="set `requires_grad`",
    safety=Safety.SAFE,
    claim=ClaimKind.STILL_TRAINS,
)
OVERWRITTEN = "`{name} = …` replaces the method on `{target}`: its `requires_grad` stays as it was"
COMPARED = "`{text}` compares and throws the answer away: `requires_grad` of `{target}` stays as it was"
UNCALLED = "`{text}` is not called: `requires_grad` stays as it was"
ALWAYS = "`{text}` is the method, not the flag: as a test it is always true"
WEIGHT = re.compile(r"weight(_\w+)?|bias(_\w+)?")


@RULE.on(AttributeSet)
def new_attribute(event: AttributeSet, story: Story) -> Iterator[Finding]:
    """A name close to `requires_grad` set on a parameter, tensor or module that knows no such name."""
    targets = held(event.target)
    if not misspelt(event.name) or not targets or not all(has_flag(target, event.name) for target in targets):
        return
    params = [param for target in targets for param in own_parameters(target)]
    flag, owner = flag_of(event.value), owner_text(event)
    plain = flag is False and all(isinstance(target, (Tensor, Data)) for target in targets)
    inert = plain or already(story, params, flag, event)
    yield RULE.report(
        event.spot,
        edits=corrected(event, owner, any(isinstance(target, Instance) for target in targets)),
        related=handed(story, params) if flag is False and not inert else (),
        subject=owner,
        severity=Severity.HINT if inert else Severity.ERROR,
        message=OVERWRITTEN if event.name == "requires_grad_" else "",
        name=event.name,
        target=owner,
    )


def has_flag(value: Value, name: str) -> bool:
    """A parameter, a tensor, or a module whose class does not define `name` itself."""
    if isinstance(value, Instance):
        return value.is_module and not owns(value, name)
    if isinstance(value, Method):
        return bool(WEIGHT.fullmatch(value.name))
    return isinstance(value, (Param, Tensor, Data))


def corrected(event: AttributeSet, target: str, module: bool) -> tuple[tuple[Place, str], ...]:
    """A call where the target is a module or the method was overwritten; otherwise the name alone."""
    node = event.node
    if module or event.name == "requires_grad_":
        whole = assignment(event)
        if whole is None or event.value_node is None:
            return ()
        return ((whole, f"{target}.requires_grad_({code(event, event.value_node)})"),)
    if isinstance(node, cst.Attribute):
        return ((Spot(event.spot.file, node.attr), "requires_grad"),)
    return ((Spot(event.spot.file, node.args[1].value), '"requires_grad"'),) if isinstance(node, cst.Call) else ()


@RULE.on(Statement)
def without_effect(event: Statement, _story: Story) -> Iterator[Finding]:
    """`x.requires_grad == value` and `x.requires_grad_` as statements."""
    node = event.node
    if shown(event):
        return
    if isinstance(node, cst.Comparison) and len(node.comparisons) == 1 and isinstance(node.left, cst.Attribute):
        target = node.comparisons[0]
        if target.operator == "Equal" and node.left.attr.value.rstrip("_") == "requires_grad":
            owner, text = code(event, node.left.value), event.spot.text
            right = f"{owner}.requires_grad = {code(event, target.comparator)}"
            edits: tuple[tuple[Place, str], ...] = ((event.spot, right),)
            yield RULE.report(event.spot, edits=edits, subject=owner, message=COMPARED, text=text, target=owner)
    elif isinstance(node, cst.Attribute) and node.attr.value == "requires_grad_":
        subject, text = code(event, node.value), event.spot.text
        yield RULE.report(event.spot, subject=subject, message=UNCALLED, fix="call it with the flag", text=text)


@RULE.on(Tested)
def always_true(event: Tested, _story: Story) -> Iterator[Finding]:
    """The method `requires_grad_` where the flag was meant to be asked for."""
    node = event.node
    if isinstance(node, cst.Attribute) and node.attr.value == "requires_grad_":
        yield RULE.report(
            event.spot,
            edits=((Spot(event.spot.file, node.attr), "requires_grad"),),
            subject=code(event, node.value),
            message=ALWAYS,
            fix="ask for `requires_grad`",
            text=event.spot.text,
        )


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("misspelt"):
        message = "`{text}` sets a new attribute: `requires_grad` of `{subject}` stays as it was"
        yield fact.report(
            RULE,
            message,
            "{parameters} parameters kept the other value, {trained} of them got a gradient",
            severity=None if fact.numbers["parameters"] else Severity.HINT,
        )
    for fact in facts.of("uncalled"):
        yield fact.report(RULE, UNCALLED, "its loop ran, and nothing was set")
    for fact in facts.of("always_true"):
        detail = "the line ran, and {frozen} frozen parameters are in an optimizer"
        yield fact.report(RULE, ALWAYS, detail, severity=None if fact.numbers["frozen"] else Severity.HINT)
