"""FRZ202: what is frozen after it had a gradient, or by zeroing its gradient, is stepped on by the optimizer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.rule import Rule
from freezelint.source import cst
from freezelint.source.edits import ancestors, without_argument
from freezelint.source.histories import freezes
from freezelint.source.idle_steps import decay, masks_by_hook, moves
from freezelint.source.left_out import listed, names_of, root_of
from freezelint.source.story import AttributeSet, Backward, Called, Event, GradRead, Spot, Step, Story, ZeroGrad
from freezelint.source.values import NONE, Const, Grad, Optimizer, Param, Value

RULE = Rule(
    code="FRZ202",
    name="frozen-but-still-stepped",
    message="freezing {target} leaves gradients behind, so `{optimizer}` goes on moving what is frozen: {cause}",
    fix="let `zero_grad()` set gradients to None",
    safety=Safety.UNSAFE,
    claim=ClaimKind.FROZEN_MOVES,
)
MASKED = "the gradient of {target} is zeroed here, but `{optimizer}` goes on moving it: {cause}"
MASK = re.compile(r"mask|frozen|freeze|keep|zeros|== ?0|!= ?0", re.IGNORECASE)
AGAIN = "its last gradient is applied at every step"
CLEAR = "set its gradients to None when it is frozen"
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
    frozen = [
        p
        for p in optimizer.params
        if any(had_gradient(story, p, entry[0]) for entry, _ in freezes(p, event)) and not dropped(story, p)
    ]
    if frozen:
        names = listed(names_of(root_of(story, frozen[0]), [], frozen))
        edits = without_argument(zeroed[0].spot, "set_to_none")
        name = optimizer.external.split(".")[-1]
        freeze = freezes(frozen[0], event)[0][0][3]
        told = zeroed[0].spot if isinstance(zeroed[0], ZeroGrad) else freeze
        yield RULE.report(
            told,
            edits=edits,
            related=((freeze, "frozen here"),) if told != freeze else (),
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


@RULE.on(Step)
def last_gradient(event: Step, story: Story) -> Iterator[Finding]:
    """Nothing clears the gradient of the pass before the freeze: every later step applies it again."""
    optimizer = event.optimizer
    if not isinstance(optimizer, Optimizer) or ".step(" not in event.spot.text or story.incomplete:
        return
    for param in optimizer.params:
        entry = next((entry for entry, _ in freezes(param, event)), None)
        if entry is not None and not (param.owner and param.owner.escaped) and keeps(story, param, entry[0], event):
            names = listed(names_of(root_of(story, param), [], [param]))
            name = optimizer.external.split(".")[-1]
            yield RULE.report(
                entry[3], subject=names.replace("`", ""), target=names, optimizer=name, cause=AGAIN, fix=CLEAR
            )
            return


def keeps(story: Story, param: Param, freeze: int, step: Step) -> bool:
    """Whether the gradient a parameter had when it was frozen is still there at a step."""
    passes = [one.seq for one in story.of(Backward) if one.seq < freeze and param.node in one.reached]
    return bool(passes) and not any(clears(one, param, step.optimizer) for one in story.events[passes[-1] : step.seq])


def clears(event: Event, param: Param, optimizer: Value) -> bool:
    if isinstance(event, ZeroGrad):
        return event.target is optimizer or any(param is one for one in event.params)
    if isinstance(event, AttributeSet):
        return event.name == "grad" and event.target is param
    return isinstance(event, Called) and isinstance(event.owner, Grad) and event.owner.param is param


def dropped(story: Story, param: Param) -> bool:
    """Whether the gradient of a parameter is set to None by hand."""
    return any(one.name == "grad" and one.target is param and one.value == NONE for one in story.of(AttributeSet))


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


@RULE.on(GradRead)
def masked_by_hook(event: GradRead, story: Story) -> Iterator[Finding]:
    param = event.target
    if isinstance(param, Param) and masks_by_hook(event, MASK) and not repaired(event):
        stepping = {id(step.optimizer) for step in story.of(Step)}
        holding = (one for one in story.optimizers if id(one) in stepping and any(param is own for own in one.params))
        optimizer = next(holding, None)
        if optimizer is not None and decay(optimizer):
            yield masked_at(event, event.spot.text.partition(".register_hook")[0], optimizer, decay(optimizer))


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
        yield masked_at(event, written if grad else param.label or param.name, optimizer, cause)


def masked_at(event: Event, target: str, optimizer: Optimizer, cause: str) -> Finding:
    title, name = "keep what is frozen in a tensor of its own, or write it back after the step", optimizer.external
    return RULE.report(
        event.spot,
        message=MASKED,
        fix=title,
        subject=target,
        target=f"`{target}`",
        optimizer=name.split(".")[-1],
        cause=cause,
    )


def repaired(event: Event) -> bool:
    """Whether this only takes out what is not finite, or the values are written back."""
    written = re.escape(re.split(r"\.grad|\.register_hook", event.spot.text)[0])
    back = rf"{written}(\.data)?(\s*\[[^\n]*\])?(\.data)?(\s*=[^=]|\.copy_\()"
    loops = [node for node in ancestors(event.spot) if isinstance(node, (cst.For, cst.While))]
    lines, line = event.spot.file.text.splitlines(), event.spot.locate().line
    around = next((node for node in ancestors(event.spot) if isinstance(node, cst.FunctionDef)), None)
    if loops:
        lines = lines[Spot(event.spot.file, loops[0]).locate().line - 1 :]
    elif around is not None:  # what the function wrote before is how the values were made
        del lines[Spot(event.spot.file, around).locate().line - 1 : line - 1]
    again = "\n".join(lines)
    return bool(re.search(r"nan|inf|finite", event.spot.text) or re.search(back, again))


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
