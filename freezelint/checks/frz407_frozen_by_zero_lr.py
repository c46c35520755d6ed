"""FRZ407: a part is held still by a learning rate of zero."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.rule import Rule
from freezelint.source import cst
from freezelint.source.edits import freeze_before
from freezelint.source.left_out import largest_of, listed, names_of, root_of
from freezelint.source.story import Called, OptimizerBuilt, Spot, Step, Story
from freezelint.source.values import Const, Dict, Param, ParamIter, Seq, Value

RULE = Rule(
    code="FRZ407",
    name="frozen-by-zero-lr",
    message="{target} is held still by a learning rate of 0: its gradients are computed and thrown away",
    fix="freeze it by `requires_grad_(False)`",
    safety=Safety.UNSAFE,
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)
KEEP_ZERO = re.compile(r"\.(StepLR|MultiStepLR|ExponentialLR|LambdaLR|MultiplicativeLR|ConstantLR|LinearLR)$")


@RULE.on(OptimizerBuilt)
def held_still(event: OptimizerBuilt, story: Story) -> Iterator[Finding]:
    if raised_later(story, event) or not any(step.optimizer is event.optimizer for step in story.of(Step)):
        return
    rows: dict[Spot, list[Param]] = {}
    for group in groups(event):
        if zero(group.items.get("lr"), event.optimizer.kwargs.get("lr")):
            rows.setdefault(place(event, group), []).extend(parameters(group.items.get("params")))
    for spot, params in rows.items():
        training = [param for param in params if story.flag_at(param, event)]
        if not training:
            continue
        root = root_of(story, training[0])
        modules = largest_of(training, root)
        names = listed(names_of(root, modules, training))
        edits = freeze_before(event, root, modules)
        yield RULE.report(spot, target=names, subject=names.replace("`", ""), edits=edits)


def groups(event: OptimizerBuilt) -> list[Dict]:
    """The parameter groups an optimizer was given; one for a plain list of parameters."""
    given = event.optimizer.groups[0] if event.optimizer.groups else None
    inner = [one for one in given.items if isinstance(one, Dict)] if isinstance(given, Seq) else []
    return inner or ([Dict({"params": given})] if given is not None else [])


def zero(own: Value | None, general: Value | None) -> bool:
    rate = own if own is not None else general
    return isinstance(rate, Const) and isinstance(rate.value, (int, float)) and rate.value == 0


def place(event: OptimizerBuilt, group: Dict) -> Spot:
    """The group where it says so itself, else where the optimizer is built."""
    node = group.spot.node if group.spot else None
    for element in node.elements if isinstance(node, cst.Dict) else ():
        key = getattr(element, "key", None)
        if (
            isinstance(key, cst.SimpleString)
            and key.value == "lr"
            and isinstance(element.value, (cst.Float, cst.Integer))
        ):
            assert group.spot is not None
            return group.spot
    return event.spot


def parameters(value: Value | None) -> list[Param]:
    if isinstance(value, Param):
        return [value]
    inner = value.items if isinstance(value, (Seq, ParamIter)) else []
    return [param for item in inner for param in parameters(item)]


def raised_later(story: Story, event: OptimizerBuilt) -> bool:
    """Whether a scheduler or a line of its own may raise the rate."""
    steps = [step for step in story.of(Step) if step.optimizer is event.optimizer]
    files = {event.spot.file, story.file, *(step.spot.file for step in steps)}
    if any(".param_groups" in file.text or ".add_param_group" in file.text for file in files):
        return True
    schedulers = [call for call in story.of(Called) if "lr_scheduler" in call.name or "scheduler" in call.name.lower()]
    return any(event.optimizer in call.args and not KEEP_ZERO.search(call.name) for call in schedulers)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("zero_lr"):
        message = "`{subject}` is held still by a learning rate of 0: its gradients are computed and thrown away"
        yield fact.report(RULE, message, "{parameters} parameters had gradients and a learning rate of 0")
