"""FRZ103: `requires_grad` is set on a temporary."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.rule import Place, Rule
from freezelint.source import cst
from freezelint.source.flags import code, flag_of, handed, held, loop_around, method_name, origin, scope, temporary
from freezelint.source.project import dotted
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


METHOD = "requires_grad_"
STATE = "`requires_grad` is set on the tensors that `state_dict()` returns: the parameters keep theirs"


@RULE.on(AttributeSet)
def assigned(event: AttributeSet, story: Story) -> Iterator[Finding]:
    """`p.data.requires_grad = value`: nothing holds the temporary after this line."""
    targets = held(event.target)
    if event.name != "requires_grad" or not isinstance(event.node, cst.Attribute) or not targets:
        return
    if all(isinstance(target, Tensor) for target in targets):
        target = targets[0]
        assert isinstance(target, Tensor)
        if story.map.nodes[target.node].name == "state_dict":
            yield from on_state(event, event.node.value, flag_of(event.value))
        else:
            yield from on_temporary(event, event.node.value, target, story)


@RULE.on(Statement)
def called(event: Statement, story: Story) -> Iterator[Finding]:
    """`p.detach().requires_grad_(value)` whose result is thrown away."""
    node: cst.BaseExpression = event.node
    if isinstance(node, (cst.ListComp, cst.GeneratorExp)):
        node = node.elt
    if not (isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and method_name(node) == METHOD):
        return
    flags = (flag for flag in story.of(TensorFlag) if flag.spot.node is node and isinstance(flag.target, Tensor))
    for flag in flags:
        assert isinstance(flag.target, Tensor)
        if story.map.nodes[flag.target.node].name == "state_dict":
            if not frozen_besides(flag.target, story):
                yield from on_state(flag, node.func.value, flag.flag)
        else:
            yield from on_temporary(flag, node.func.value, flag.target, story)


def on_temporary(event: Event, node: cst.BaseExpression, made: Tensor, story: Story) -> Iterator[Finding]:
    """A temporary without a name, or with one that is never used again."""
    base, source = temporary(node), origin(story, made)
    if base is not None and (made.spot is None or made.spot.node is not node):
        return
    if base is None and not (isinstance(source, Param) and dropped(event, node)):
        return
    if base is None and (made.leaf or story.map.nodes[made.node].name not in ("data", "detach", "clone")):
        return
    target = code(event, base) if base is not None else source.label if isinstance(source, Param) else ""
    whole = "[" not in code(event, node)[len(target) :]
    fixable = base is not None and isinstance(source, Param) and whole and not any(part in target for part in "()")
    edits: tuple[tuple[Place, str], ...] = ((Spot(event.spot.file, node), target),) if fixable else ()
    yield RULE.report(
        event.spot,
        edits=edits,
        related=handed(story, [source]) if isinstance(source, Param) else (),
        subject=target,
        severity=Severity.ERROR if isinstance(source, Param) else Severity.WARNING,
        text=code(event, node),
        target=target,
    )


def dropped(event: Event, node: cst.BaseExpression) -> bool:
    """Whether a name is written twice in its scope: where it is bound, and here."""
    if not isinstance(node, cst.Name):
        return False
    return len(re.findall(rf"\b{node.value}\b", event.spot.file.code(scope(event)))) == 2


def frozen_besides(state: Tensor, story: Story) -> bool:
    """Whether all the parameters behind a state dict are frozen in the right way too: then nothing is lost."""
    params = [story.of_node[edge.source] for edge in story.map.into(state.node) if edge.source in story.of_node]
    return bool(params) and all(story.flag_at(param) is False for param in params)


def on_state(event: Event, node: cst.BaseExpression, flag: bool | None) -> Iterator[Finding]:
    """`for … in model.state_dict().items()` and `model.state_dict()[name]`: aliases nobody keeps."""
    target: cst.CSTNode | None = node
    if isinstance(target, cst.Name):
        loop = loop_around(Spot(event.spot.file, event.spot.node))
        target = loop.iter if loop else None
        if isinstance(target, cst.Call) and isinstance(target.func, cst.Attribute):
            target = target.func.value
    elif isinstance(target, cst.Subscript):
        target = target.value
    if isinstance(target, cst.Call) and dotted(target.func).endswith("state_dict") and flag is False:
        yield RULE.report(event.spot, subject=code(event, target), message=STATE, fix="walk `named_parameters()`")


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("temporary"):
        message = "`requires_grad` is set on the temporary that `{text}` returns: `{subject}` keeps its own"
        yield fact.report(RULE, message, "the parameter kept the other value")
