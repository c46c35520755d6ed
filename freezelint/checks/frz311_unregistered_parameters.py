"""FRZ311: modules and parameters that `nn.Module` does not know: in a plain container, or made anew in `forward`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.model_report import ModelReport
from freezelint.rule import Rule
from freezelint.source import cst
from freezelint.source.edits import call_without
from freezelint.source.hidden import Hidden, hidden_in, made_in_forward, params_made_in_forward
from freezelint.source.story import AttributeSet, Spot, Story
from freezelint.source.syntax import torch_nn
from freezelint.source.values import Dict, Tensor

RULE = Rule(
    code="FRZ311",
    name="unregistered-parameters",
    message="`{target}` is a plain {kind}: `parameters()` does not know what it holds, and no optimizer gets it",
    fix="register it: `{new}`",
    safety=Safety.SAFE,
    claim=ClaimKind.NOT_STEPPED,
)
TENSOR = "`{target}` is a plain tensor: `parameters()` does not know it, and no optimizer gets it"
IN_FORWARD = "module made in forward"
ANEW = "`{target}` is made anew in each forward: no optimizer ever gets it"


@RULE.on(Story)
def kept_in_container(story: Story) -> Iterator[Finding]:
    for event in story.of(AttributeSet):
        hidden = hidden_in(event, story)
        if hidden is None:
            continue
        target = f"self.{event.name}" if event.spot.text.startswith("self.") else event.spot.text
        edits, new = _registered(event, hidden)
        yield RULE.report(
            event.spot,
            edits=edits,
            subject=target,
            safety=Safety.UNSAFE if isinstance(hidden.value, Dict) else None,
            message=TENSOR if isinstance(hidden.value, Tensor) else "",
            target=target,
            kind="dict" if isinstance(hidden.value, Dict) else getattr(hidden.value, "kind", "list"),
            new=new,
        )


@RULE.on(Story)
def made_anew(story: Story) -> Iterator[Finding]:
    modules = [event.spot for event in made_in_forward(story)]
    for spot in [*modules, *(param.spot for param in params_made_in_forward(story) if param.spot is not None)]:
        text = " ".join(spot.text.split())
        yield RULE.report(spot, subject=text, message=ANEW, fix="make it in `__init__`", target=text, new="")


def _registered(event: AttributeSet, hidden: Hidden) -> tuple[tuple[tuple[Spot, str], ...], str]:
    """The edit that registers what the attribute holds, and its new value."""
    node, file = event.value_node, event.spot.file
    nn = torch_nn(file)
    if node is None or not nn or not hidden.flat:
        return (), f"nn.{hidden.container}(...)"
    spot = Spot(file, node)
    if isinstance(hidden.value, Tensor):
        new = f"{nn}.Parameter({_without_flag(spot)})"
    elif isinstance(node, cst.Tuple) and len(node.elements) == 1:
        new = file.code(node.elements[0].value)
    elif (isinstance(node, (cst.List, cst.Tuple)) and not node.elements) or _is_empty(file.code(node)):
        new = f"{nn}.{hidden.container}()"
    elif isinstance(node, (cst.List, cst.ListComp, cst.Dict, cst.DictComp, cst.Name, cst.Tuple, cst.Call)):
        new = f"{nn}.{hidden.container}({file.code(node)})"
    else:
        return (), f"{nn}.{hidden.container}(...)"
    return ((spot, new),), " ".join(new.split())


def _is_empty(text: str) -> bool:
    return bool(re.fullmatch(r"\[\s*\]|\{\s*\}|list\(\)|dict\(\)|\(\)", text))


def _without_flag(spot: Spot) -> str:
    """The tensor's text without its `requires_grad=True`, `Variable(...)` or `.requires_grad_()`."""
    node = spot.node
    if not isinstance(node, cst.Call):
        return spot.text
    if isinstance(node.func, cst.Attribute) and node.func.attr.value == "requires_grad_":
        return spot.file.code(node.func.value)
    args = [arg for arg in node.args if not (arg.keyword and arg.keyword.value == "requires_grad")]
    if spot.file.code(node.func).split(".")[-1] == "Variable" and args:
        return spot.file.code(args[0].value)
    return call_without(spot, "requires_grad") if args else spot.text


@RULE.on(Facts, ModelReport)
def seen_in_step(facts: Facts | ModelReport) -> Iterator[Finding]:
    for fact in facts.of("unregistered"):
        message = (
            "`{subject}` is a plain `{text}`: `parameters()` does not know what it holds, and no optimizer gets it"
        )
        if fact.text == IN_FORWARD:
            message = ANEW.format(target=fact.subject)
        yield fact.report(RULE, message, "{parameters} trainable parameters in it were used and are in no optimizer")
