"""FRZ312: what stands in the place of a parameter is computed, or the optimizer never saw it."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.gradient_map import Kind
from freezelint.model_report import ModelReport
from freezelint.rule import Rule
from freezelint.source import cst
from freezelint.source.late import ordered
from freezelint.source.project import dotted
from freezelint.source.story import AttributeSet, OptimizerBuilt, Replaced, Spot, Step, Story
from freezelint.source.tree import holds
from freezelint.source.values import Instance, Param, Tensor, Value, options

RULE = Rule(
    code="FRZ312",
    name="non-leaf-parameter",
    message="`{target}` becomes the result of an operation on the parameter, no leaf: it is registered nowhere",
    fix="operate inside the parentheses: `{new}`",
    safety=Safety.SAFE,
    claim=ClaimKind.NOT_STEPPED,
)
REPLACED = "`{target}` is assigned anew after the optimizer took the old parameter: the new one never moves"
EACH_FORWARD = (
    "`{target}` is assigned anew in the forward: the optimizer holds the old parameter, the new one never moves"
)
COPY = "copy the values into it: `{target}.data.copy_(...)`, or build the optimizer afterwards"
REFUSED = "`{target}` is computed from a tensor that requires grad, no leaf: the optimizer refuses it"
LEAF = "compute first, then `.requires_grad_()`"
ATOMS = (cst.Name, cst.Attribute, cst.Call, cst.Subscript, cst.Integer, cst.Float)


@RULE.on(AttributeSet)
def computed(event: AttributeSet, story: Story) -> Iterator[Finding]:
    if not any(isinstance(owner, Instance) and owner.is_module for owner in options(event.target)):
        return
    value, made = next((pair for value in options(event.value) for pair in _computed_from(value, story)), (None, None))
    if made is None or made.spot is None or value is None:
        return
    inner = isinstance(event.value_node, cst.CSTNode) and holds(event.value_node, made.spot.node)
    edits, new = _inside(event, made) if inner else ((), "nn.Parameter(...)")
    place = event.spot if inner or value.spot is None else value.spot
    yield RULE.report(
        place,
        edits=edits,
        related=() if place is event.spot else ((event.spot, "assigned here"),),
        subject=_target(event),
        target=_target(event),
        new=" ".join(new.split()),
    )


@RULE.on(Replaced)
def replaced(event: Replaced, story: Story) -> Iterator[Finding]:
    old, new = event.old, event.new
    if not isinstance(old, Param) or not isinstance(new, Param) or story.optimised(new) or story.incomplete:
        return
    if old is new or story.flag_at(old, event) is False or story.flag_at(new) is False:
        return
    taken = [e for e in story.of(OptimizerBuilt) if e.seq < event.seq and any(p is old for p in e.optimizer.params)]
    if not taken or event.context.excludes(taken[0].context) or not ordered(story, taken[0], event):
        return
    if not any(e.seq > event.seq and any(e.optimizer is t.optimizer for t in taken) for e in story.of(Step)):
        return
    target = event.spot.text
    related = ((taken[0].spot, "the optimizer takes the old one"),)
    yield RULE.report(event.spot, related=related, subject=target, message=REPLACED, fix=COPY, target=target)


@RULE.on(AttributeSet)
def replaced_each_forward(event: AttributeSet, story: Story) -> Iterator[Finding]:
    if not isinstance(event.value, Param) or event.value_node is None or event.context.mode.flag is False:
        return
    if not any(call.name == "forward" and call.owner and call.owner.is_module for call in event.context.calls):
        return
    target = event.spot.text
    if "." in target and f"{target}." in event.spot.file.code(event.value_node) and story.flag_at(event.value, event):
        yield RULE.report(event.spot, subject=target, message=EACH_FORWARD, fix=COPY, target=target)


@RULE.on(OptimizerBuilt)
def handed_over(event: OptimizerBuilt, story: Story) -> Iterator[Finding]:
    """`Adam([torch.randn(3, requires_grad=True) * c])`: the product is no leaf."""
    for tensor in event.optimizer.tensors:
        made = story.map.nodes[tensor.node]
        if made.kind is not Kind.VALUE or made.name == "join" or tensor.leaf or tensor.spot is None:
            continue
        behind = [story.map.nodes[i] for i in story.map.surely_reached([tensor.node])]
        fresh = [param for param in (story.of_node.get(node.id) for node in behind) if param and param.owner is None]
        if any(node.kind is Kind.INPUT and node.trainable for node in behind) or fresh:
            text = tensor.spot.text
            related = ((event.spot, "handed to the optimizer here"),)
            yield RULE.report(tensor.spot, related=related, subject=text, message=REFUSED, fix=LEAF, target=text)


def _computed_from(value: Value, story: Story) -> Iterator[tuple[Tensor, Param]]:
    """The parameters nobody registers that a tensor was surely computed from."""
    if not isinstance(value, Tensor) or value.leaf:
        return
    for i in sorted(story.map.surely_reached([value.node])):
        param = story.of_node.get(i)
        if param is None or param.owner is not None or not param.born or story.optimised(param):
            continue
        if _made_here(param):
            yield value, param


def _made_here(param: Param) -> bool:
    node = param.spot.node if param.spot else None
    return isinstance(node, cst.Call) and dotted(node.func).endswith("Parameter")


def _target(event: AttributeSet) -> str:
    node = event.spot.node
    if isinstance(node, cst.Call) and node.args:  # setattr(self, "scale", ...)
        return f"{event.spot.file.code(node.args[0].value)}.{event.name}"
    return event.spot.text


def _inside(event: AttributeSet, made: Param) -> tuple[tuple[tuple[Spot, str], ...], str]:
    """`nn.Parameter(x).to(d)` as `nn.Parameter(x.to(d))`."""
    file, outer = event.spot.file, event.value_node
    call = made.spot.node if made.spot else None
    if not isinstance(call, cst.Call) or outer is None or not call.args or call.args[0].keyword:
        return (), "nn.Parameter(...)"
    data = call.args[0].value
    inner = file.code(data) if isinstance(data, ATOMS) else f"({file.code(data)})"
    whole, part = file.positions.offsets(outer), file.positions.offsets(call)
    if whole is None or part is None:
        return (), "nn.Parameter(...)"
    text = file.text[whole[0] : part[0]] + inner + file.text[part[1] : whole[1]]
    more = "".join(f", {file.code(arg).rstrip(' ,')}" for arg in call.args[1:])
    new = f"{file.code(call.func)}({text}{more})"
    return ((Spot(file, outer), new),), new


@RULE.on(Facts, ModelReport)
def seen_in_step(facts: Facts | ModelReport) -> Iterator[Finding]:
    for fact in facts.of("replaced_parameter"):
        message = "`{subject}` is assigned anew after the optimizer took the old one: the new one never moves"
        yield fact.report(RULE, message, "the parameter in use is in no optimizer")
    for fact in facts.of("non_leaf_parameter"):
        message = "`{subject}` is the result of an operation on a parameter, no leaf: no optimizer moves it"
        yield fact.report(RULE, message, "the tensor in the place of the parameter has a graph")
