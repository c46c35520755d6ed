"""FRZ202: what is frozen after it had a gradient, or by zeroing its gradient, is stepped on by the optimizer."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.rule import Rule
from freezelint.source.edits import ancestors, without_argument
from freezelint.source.histories import freezes
from freezelint.source.idle_steps import decay, moves
from freezelint.source.left_out import listed, names_of, root_of
from freezelint.source.story import AttributeSet, Backward, Called, Event, Spot, Step, Story, ZeroGrad
from freezelint.source.values import NONE, Const, Grad, Optimizer, Param

RULE = Rule(
    code="FRZ202",
    name="frozen-but-still-stepped",
    message="{target} is frozen while its gradients stay, so `{optimizer}` goes on moving it: {cause}",
    fix="let `zero_grad()` set gradients to None",
    safety=Safety.UNSAFE,
    claim=ClaimKind.FROZEN_MOVES,
)
MASKED = "the gradient of {target} is zeroed here, but `{optimizer}` goes on moving it: {cause}"
MASK = re.compile(r"mask|frozen|freeze|keep|zeros|== ?0|!= ?0", re.IGNORECASE)
ZEROING = frozenset("set item,zero_,fill_,masked_fill_,index_fill_,mul_".split(","))


@RULE.on(Step)
def stale_gradients(event: Step, story: Story) -> Iterator[Finding]:
    optimizer = event.optimizer
    cause = moves(optimizer) if isinstance(optimizer, Optimizer) else ""
    if not cause or not isinstance(optimizer, Optimizer):
        return
    zeroed = zeroings(story, optimizer)
    if not zeroed or any(isinstance(one, ZeroGrad) and one.set_to_none is not False for one in zeroed):
        return
    frozen = [p for p in optimizer.params if any(had_gradient(story, p, entry[0]) for entry, _ in freezes(p, event))]
    if frozen:
        names = listed(names_of(root_of(story, frozen[0]), [], frozen))
        edits = without_argument(zeroed[0].spot, "set_to_none")
        name = optimizer.external.split(".")[-1]
        yield RULE.report(
            zeroed[0].spot,
            edits=edits,
            related=((freezes(frozen[0], event)[0][0][3], "frozen here"),),
            subject=names.replace("`", ""),
            target=names,
            optimizer=name,
            cause=cause,
        )


def zeroings(story: Story, optimizer: Optimizer) -> list[ZeroGrad | Called]:
    """Where gradients of an optimizer's parameters are cleared, by `zero_grad()` or by hand."""
    own = {id(param) for param in optimizer.params}
    found: list[ZeroGrad | Called] = [
        one for one in story.of(ZeroGrad) if one.target is optimizer or own & {id(param) for param in one.params}
    ]
    by_hand = [one for one in story.of(Called) if one.name == "zero_" and isinstance(one.owner, Grad)]
    return found + [one for one in by_hand if isinstance(one.owner, Grad) and id(one.owner.param) in own]


def had_gradient(story: Story, param: Param, freeze: int) -> bool:
    """Whether a parameter had got a gradient when it was frozen: earlier, or in an earlier pass of the same loop."""
    frozen = story.events[freeze]
    loops = {loop for loop, _ in frozen.context.loops}
    passes = [one for one in story.of(Backward) if param.node in one.reached]
    return any(one.seq < freeze or loops & {loop for loop, _ in one.context.loops} for one in passes)


@RULE.on(Called)
def masked_gradient(event: Called, story: Story) -> Iterator[Finding]:
    if isinstance(event.owner, Grad) and event.name in ZEROING and zeroes(event):
        yield from masked(event, event.owner.param, story)


@RULE.on(AttributeSet)
def replaced_gradient(event: AttributeSet, story: Story) -> Iterator[Finding]:
    text = event.spot.file.code(event.value_node) if event.value_node is not None else ""
    if event.name == "grad" and isinstance(event.target, Param) and event.value != NONE and MASK.search(text):
        yield from masked(event, event.target, story)


def zeroes(event: Called) -> bool:
    """Whether a call writes zeros into a gradient; multiplying is scaling unless it is by a mask."""
    if event.name == "zero_":
        return True
    if event.name == "mul_":
        return MASK.search(event.spot.text) is not None
    value = event.args[-1] if event.args else None
    return isinstance(value, Const) and isinstance(value.value, (int, float)) and value.value == 0


def masked(event: Called | AttributeSet, param: Param, story: Story) -> Iterator[Finding]:
    optimizer = next((one for one in story.optimizers if any(param is own for own in one.params)), None)
    if optimizer is None or not before_step(story, event, optimizer) or repaired(event):
        return
    cause = decay(optimizer) or (moves(optimizer) if varies(event) else "")
    if cause:
        written, grad, _ = event.spot.text.partition(".grad")
        target, name = f"`{written if grad else param.label or param.name}`", optimizer.external.split(".")[-1]
        title = "keep what is frozen in a tensor of its own, or write it back after the step"
        yield RULE.report(
            event.spot, message=MASKED, fix=title, subject=target.strip("`"), target=target, optimizer=name, cause=cause
        )


def repaired(event: Event) -> bool:
    """Whether this only takes out what is not finite, or the values are written back."""
    written = re.escape(event.spot.text.partition(".grad")[0])
    back = rf"{written}(\.data)?(\s*\[[^\n]*\])?(\.data)?(\s*=[^=]|\.copy_\()"
    return bool(re.search(r"nan|inf|finite", event.spot.text) or re.search(back, event.spot.file.text))


def before_step(story: Story, event: Event, optimizer: Optimizer) -> bool:
    """Whether this happens after a backward pass and before the step that uses its gradients."""
    marks = [one for one in story.events if isinstance(one, (Backward, Step))]
    earlier = [one for one in marks if one.seq < event.seq]
    later = [one for one in marks if one.seq > event.seq]
    if not earlier or not later or not isinstance(earlier[-1], Backward):
        return False
    return isinstance(later[0], Step) and later[0].optimizer is optimizer


def varies(event: Event) -> bool:
    """Whether what is masked changes from pass to pass: it depends on the counter of a loop."""
    for spot in (event.spot, *event.context.sites):
        loops = [node for node in ancestors(spot) if isinstance(node, cst.For)]
        counters = [node.target.value for node in loops if counts(spot, node) and isinstance(node.target, cst.Name)]
        given = spot.text[spot.text.find("[" if spot is event.spot else "(") :]
        if any(re.search(rf"\b{name}\b", given) for name in counters):
            return True
    return False


def counts(spot: Spot, node: cst.For) -> bool:
    return spot.file.code(node.iter).startswith(("range", "enumerate", "tqdm(range", "trange"))


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("frozen_stepped"):
        message = "`{subject}` is frozen after it had a gradient, and `{text}` still moves it"
        yield fact.report(RULE, message, "it moved by {moved:.3g} in one step")
    for fact in facts.of("mask_stepped"):
        message = "the gradient of `{subject}` is zeroed here, and `{text}` still moves what was zeroed"
        yield fact.report(RULE, message, "elements with a zero gradient moved by {moved:.3g} in one step")
