"""FRZ308: the gradients are thrown away before the step that was to use them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.rule import Rule
from freezelint.source.story import AttributeSet, Backward, Called, Event, GradRead, Step, Story, ZeroGrad
from freezelint.source.syntax import move_behind, resolved, tests_over
from freezelint.source.values import Optimizer

RULE = Rule(
    code="FRZ308",
    name="zero-grad-before-step",
    message="`{zero}` throws the gradients of this `backward()` away: `{step}` finds none and moves nothing",
    fix="zero the gradients after `{step}`",
    safety=Safety.SAFE,
    claim=ClaimKind.NOT_STEPPED,
)
EACH_TIME = (
    "`{zero}` runs on every pass, but `{step}` waits for `{test}`: of each window only the last gradient is left"
)
INSIDE = "`{zero}` runs on every pass of the loop, `{step}` after the loop: only the last gradient is left"
STEP_FIRST = "`{step}` comes before `backward()`: it never sees the gradient of its own batch"
WINDOW = re.compile(r"%|accum|micro_?(batch|step)|grad_acc|update_freq|iter_size", re.IGNORECASE)
QUIET = re.compile(r"clip|log|print|info|debug|warning|scalar|postfix|^(update|write|append|item|format|time|len)$")


@RULE.on(Step)
def zeroed_in_between(step: Step, story: Story) -> Iterator[Finding]:
    zero = _zeroed_last(step, story)
    if zero is None or not any(_same_pass(b, zero) for b in _backwards(zero, step, story)):
        return
    yield _report(zero, step)


@RULE.on(Step)
def zeroed_each_time(step: Step, story: Story) -> Iterator[Finding]:
    test = _window(step, story)
    if test is None:
        return
    if any(_same_pass(e, step) and e.context.excludes(step.context) for e in story.of(Step)):
        return  # the passes take turns
    zeroes = [e for e in story.of(ZeroGrad) if _of_one(e, step) and _beside(e, step, test, story)]
    backwards = [e for e in story.of(Backward) if _may_reach(e, step) and _beside(e, step, test, story)]
    if zeroes and backwards and not _grad_used(backwards[0], step, story):
        yield _report(zeroes[0], step, EACH_TIME, test=step.spot.file.code(test))


@RULE.on(Step)
def zeroed_in_inner_loop(step: Step, story: Story) -> Iterator[Finding]:
    depth = len(step.context.loops)
    last: Event | None = None
    for event in reversed(story.events[: step.seq]):
        if step.context.excludes(event.context):
            continue
        inner = event.context.loops
        if last is None and isinstance(event, Backward) and _may_reach(event, step):
            if len(inner) <= depth or inner[:depth] != step.context.loops or inner[depth][1] == 0:
                return
            last = event
        elif isinstance(event, ZeroGrad) and _of_one(event, step):
            if last is not None and _same_pass(event, last) and last.context.implies(event.context):
                if _thrown_away(event, step, story):
                    yield _report(event, step, INSIDE)
            return
        elif _may_give_gradients(event, step) and not (last is not None and isinstance(event, Called)):
            return


def _thrown_away(zero: ZeroGrad, step: Step, story: Story) -> bool:
    """Whether a backward pass of the loop ends at the zeroing, and nothing has looked at its gradients."""
    for event in reversed(story.events[: zero.seq]):
        if isinstance(event, Backward) and _may_reach(event, step):
            return event.context.loops[:-1] == zero.context.loops[:-1] and event.context.loops != zero.context.loops
        if _may_give_gradients(event, step):
            return False
    return False


@RULE.on(Step)
def stepped_first(step: Step, story: Story) -> Iterator[Finding]:
    if not isinstance(step.optimizer, Optimizer):
        return
    before = [e for e in story.events[: step.seq] if e.context.calls[:1] == step.context.calls[:1]]
    later = (e for e in story.events[step.seq :] if isinstance(e, Backward) and _may_reach(e, step))
    backward = next(later, None)
    if backward is None or not backward.reached or not _same_pass(step, backward):
        return
    if step.context.calls != backward.context.calls or not backward.context.implies(step.context):
        return
    if any(_may_reach(e, step) or (isinstance(e, Called) and not e.name) for e in before):
        return
    text = _code(step)
    yield RULE.report(
        step.spot,
        edits=move_behind(step.spot, backward.spot),
        related=((backward.spot, "the gradient is computed here"),),
        subject=_subject(step),
        message=STEP_FIRST,
        fix=f"call `{text}` after `backward()`",
        step=text,
        zero="",
    )


def _report(zero: ZeroGrad, step: Step, message: str = "", test: str = "") -> Finding:
    return RULE.report(
        zero.spot,
        edits=move_behind(zero.spot, step.spot),
        related=((step.spot, "the step that was to use them"),),
        subject=_subject(step),
        message=message,
        zero=_code(zero),
        step=_code(step),
        test=test,
    )


def _zeroed_last(step: Step, story: Story) -> ZeroGrad | None:
    """The zeroing of the step's gradients that nothing stands between it and the step."""
    for event in reversed(story.events[: step.seq]):
        if step.context.excludes(event.context):
            continue
        if isinstance(event, ZeroGrad) and _of_one(event, step):
            return event if step.context.implies(event.context) and _same_pass(event, step) else None
        if _may_give_gradients(event, step):
            return None
    return None


def _backwards(zero: ZeroGrad, step: Step, story: Story) -> Iterator[Backward]:
    """The backward passes whose gradients the zeroing throws away."""
    for event in reversed(story.events[: zero.seq]):
        if zero.context.excludes(event.context):
            continue
        if isinstance(event, Step) and (event.optimizer is step.optimizer or not event.params):
            return
        if isinstance(event, (GradRead, AttributeSet)) and _touches_gradients(event):
            return
        if isinstance(event, Backward) and _may_reach(event, step):
            yield event
            return


def _may_give_gradients(event: Event, step: Step) -> bool:
    if isinstance(event, Backward):
        return _may_reach(event, step)
    if isinstance(event, Step):
        return event.optimizer is step.optimizer
    if isinstance(event, Called):
        return not event.name.startswith("torch.") and not QUIET.search(event.name.split(".")[-1])
    return isinstance(event, (GradRead, AttributeSet)) and _touches_gradients(event)


def _touches_gradients(event: GradRead | AttributeSet) -> bool:
    return isinstance(event, GradRead) or event.name in ("grad", "main_grad")


def _may_reach(event: Event, step: Step) -> bool:
    """Whether a backward pass gives gradients to the parameters of the step, as far as anyone can tell."""
    if not isinstance(event, Backward):
        return False
    if event.node is None or not step.params:
        return True
    if isinstance(step.optimizer, Optimizer) and not step.optimizer.known:
        return True
    return any(param.node in event.reached for param in step.params)


def _of_one(zero: ZeroGrad, step: Step) -> bool:
    """Whether the zeroing covers everything the step steps."""
    if isinstance(step.optimizer, Optimizer) and zero.target is step.optimizer:
        return True
    if step.params and zero.params:
        covered = {id(param) for param in zero.params}
        return all(id(param) in covered for param in step.params)
    known = isinstance(step.optimizer, Optimizer) or isinstance(zero.target, Optimizer) or step.params or zero.params
    return not known and _subject(zero) == _subject(step) and zero.context.calls == step.context.calls


def _same_pass(one: Event, other: Event) -> bool:
    return one.context.loops == other.context.loops


def _window(step: Step, story: Story) -> cst.BaseExpression | None:
    """The test that lets only every n-th pass step."""
    tests = [(step.spot, test) for _, test in tests_over(step.spot)]
    tests += [(spot, spot.node) for b, _ in step.context.arms if (spot := story.branches.get(b)) is not None]
    for spot, test in tests:
        if WINDOW.search(spot.file.code(resolved(spot.file, spot, test))):
            return test
    return None


def _beside(event: Event, step: Step, test: cst.BaseExpression, story: Story) -> bool:
    """Whether an event happens in the pass of the step, but whether or not the window is full."""
    if not _same_pass(event, step) or not step.context.implies(event.context):
        return False
    gates = {b for b, spot in story.branches.items() if spot.node is test}
    if any(branch in gates for branch, _ in event.context.arms):
        return False
    return all(known is not test for _, known in tests_over(event.spot))


def _grad_used(first: Event, step: Step, story: Story) -> bool:
    return any(
        isinstance(event, (GradRead, AttributeSet)) and _touches_gradients(event)
        for event in story.events[first.seq : step.seq]
    )


def _code(event: Event) -> str:
    return " ".join(event.spot.text.split())


def _subject(event: Event) -> str:
    """The optimizer (or module) as the source calls it; a scaler steps what it is given."""
    node = event.spot.node
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute):
        return ""
    given = node.args[0].value if isinstance(event, Step) and node.args else None
    return event.spot.file.code(given if isinstance(given, (cst.Name, cst.Attribute)) else node.func.value)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("zeroed_before_step"):
        message = "the gradients are zeroed between `backward()` and the step of `{subject}`: it steps nothing"
        yield fact.report(RULE, message, "{empty_steps} of {steps} steps found no gradient")
    for fact in facts.of("zeroed_each_time"):
        message = "the gradients are zeroed before every pass: only the last one reaches the step of `{subject}`"
        yield fact.report(RULE, message, "{kept} of {backwards} backward passes reached a step")
