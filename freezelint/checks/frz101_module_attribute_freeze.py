"""FRZ101: `target.requires_grad = value` sets an attribute on the module."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.model_report import ModelReport
from freezelint.rule import Rule
from freezelint.source import cst
from freezelint.source.flags import (
    after_module_failed,
    already,
    assignment,
    code,
    flag_of,
    handed,
    held,
    own_parameters,
    owner_text,
    owns,
    used_as_module,
)
from freezelint.source.story import AttributeSet, Story
from freezelint.source.values import Instance, Value

RULE = Rule(
    code="FRZ101",
    name="module-attribute-freeze",
    message="`{target}.requires_grad = {value}` sets an attribute on the module: {what}",
    fix="call `{target}.requires_grad_({value})`",
    safety=Safety.SAFE,
    claim=ClaimKind.STILL_TRAINS,
)
WHAT = {
    False: "its parameters keep training",
    True: "what is frozen in it stays frozen",
    None: "its parameters keep the flag they have",
}


@RULE.on(AttributeSet)
def set_on_a_module(event: AttributeSet, story: Story) -> Iterator[Finding]:
    """Every object the target may be is a module, and none has a flag of that name of its own."""
    targets = held(event.target)
    if event.name != "requires_grad" or not targets:
        return
    if not all(is_plain_module(target) for target in targets) and not used_as_module(event):
        return
    if after_module_failed(event):
        return
    literal = isinstance(event.value_node, cst.Name) and event.value_node.value in ("True", "False")
    flag = flag_of(event.value) if literal else None
    params = [param for target in targets for param in own_parameters(target)]
    what, severity = WHAT[flag], Severity.ERROR
    if not params and all(isinstance(t, Instance) and not t.opaque and not t.cls for t in targets):
        what, severity = "it has no parameters, nothing changes", Severity.HINT
    elif already(story, params, flag, event):
        what, severity = f"its parameters have `requires_grad={flag}` anyway", Severity.HINT
    target, value = owner_text(event), code(event, event.value_node) if event.value_node is not None else "…"
    whole = assignment(event)
    yield RULE.report(
        event.spot,
        edits=((whole, f"{target}.requires_grad_({value})"),) if whole else (),
        related=handed(story, params) if severity is Severity.ERROR and flag is not True else (),
        subject=target,
        severity=severity,
        target=target,
        value=value,
        what=what,
    )


def is_plain_module(value: Value) -> bool:
    return isinstance(value, Instance) and value.is_module and not owns(value, "requires_grad")


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("module_attribute"):
        message = "`{text}` sets an attribute on the module `{subject}`: its parameters keep training"
        yield fact.report(
            RULE,
            message,
            "{parameters} parameters of it kept the other value, {trained} of them got a gradient",
            severity=None if fact.numbers["parameters"] else Severity.HINT,
        )


@RULE.on(ModelReport)
def seen_in_trace(report: ModelReport) -> Iterator[Finding]:
    for freeze in report.attribute_freezes:
        what = f"{freeze.parameters} of its parameters keep training"
        yield RULE.report(freeze.place, target=freeze.text, value=False, what=what, subject=freeze.path or freeze.text)
