"""FRZ308: the gradients are thrown away before the step that was to use them."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.rule import Rule
from freezelint.source import stepping
from freezelint.source.story import Backward, Called, Event, Spot, Step, Story, ZeroGrad
from freezelint.source.syntax import move_behind
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
WINDOWED = "on the pass that steps, `{zero}` comes first: of each window only the last gradient reaches `{step}`"
STEP_FIRST = "`{step}` comes before `backward()`: it never sees the gradient of its own batch"


@RULE.on(Step)
def zeroed_in_between(step: Step, story: Story) -> Iterator[Finding]:
    zero = _zeroed_last(step, story)
    for backward in _lost(zero, step, story) if zero is not None else ():
        if zero is not None and stepping.within_pass(step, backward) and stepping.one_run(story, backward, zero, step):
            yield _report(zero, step, story, place=stepping.called_at(zero, step, story))


@RULE.on(Step)
def zeroed_each_time(step: Step, story: Story) -> Iterator[Finding]:
    test = stepping.window(step, story)
    if test is None:
        return
    passes = stepping.batches(story)
    batch = stepping.batch_of(step, passes)
    if any(e.context.excludes(step.context) and stepping.batch_of(e, passes) == batch for e in story.of(Step)):
        return  # the passes take turns
    beside = [e for e in story.events if stepping.beside(e, step, test, story, passes)]
    beside = [e for e in beside if stepping.one_run(story, e, step)]
    zeroed = [e for e in beside if isinstance(e, ZeroGrad) and stepping.zeroes(e, step)]
    zeroed = [e for e in zeroed if not stepping.by_window(e, step)]
    backwards = [e for e in beside if stepping.may_reach(e, step)]
    if zeroed and backwards and not stepping.gradients_used(backwards[0], step, story):
        place = stepping.wrapped(zeroed[0], "zero_grad", story)
        yield _report(zeroed[0], step, story, EACH_TIME, test=" ".join(test.text.split()), place=place)


@RULE.on(Step)
def zeroed_in_inner_loop(step: Step, story: Story) -> Iterator[Finding]:
    depth = len(step.context.loops)
    last: Event | None = None
    for event in reversed(story.events[: step.seq]):
        if step.context.excludes(event.context):
            continue
        inner = event.context.loops
        if last is None and stepping.may_reach(event, step):
            if len(inner) <= depth or inner[:depth] != step.context.loops or inner[depth][1] == 0:
                return
            last = event
        elif isinstance(event, ZeroGrad) and stepping.zeroes(event, step):
            same = last is not None and stepping.same_pass(event, last) and last.context.implies(event.context)
            if same and stepping.one_run(story, event, step) and _pass_before_is_lost(event, step, story):
                yield _report(event, step, story, INSIDE)
            return
        elif stepping.may_give_gradients(event, step) and not (last is not None and isinstance(event, Called)):
            return


@RULE.on(ZeroGrad)
def zeroed_in_window(event: ZeroGrad, story: Story) -> Iterator[Finding]:
    """Under `accelerator.accumulate(...)` the pass that steps zeroes first: the passes before it are lost."""
    if not isinstance(event.target, Optimizer) or not stepping.accumulates(event, story):
        return
    after = [e for e in story.events[event.seq :] if stepping.same_pass(e, event) and e.context.implies(event.context)]
    step = next((e for e in after if isinstance(e, Step) and e.optimizer is event.target), None)
    if step is not None and any(stepping.may_reach(e, step) for e in after if e.seq < step.seq):
        yield _report(event, step, story, WINDOWED)


@RULE.on(Step)
def stepped_first(step: Step, story: Story) -> Iterator[Finding]:
    if not isinstance(step.optimizer, Optimizer):
        return
    later = (e for e in story.events[step.seq :] if isinstance(e, Backward) and stepping.may_reach(e, step))
    backward = next(later, None)
    if backward is None or not backward.reached or not stepping.same_pass(step, backward):
        return
    if step.context.calls != backward.context.calls or not backward.context.implies(step.context):
        return
    before = [e for e in story.events[: step.seq] if e.context.calls[:1] == step.context.calls[:1]]
    if any(stepping.may_reach(e, step) or (isinstance(e, Called) and not e.name) for e in before):
        return
    text = _code(step)
    yield RULE.report(
        step.spot,
        edits=move_behind(step.spot, backward.spot),
        related=((backward.spot, "the gradient is computed here"),),
        subject=stepping.subject(step),
        message=STEP_FIRST,
        fix=f"call `{text}` after `backward()`",
        step=text,
    )


def _report(
    zero: ZeroGrad, step: Step, story: Story, message: str = "", test: str = "", place: Spot | None = None
) -> Finding:
    place, stepped = place or zero.spot, stepping.wrapped(step, "step", story)
    frames = zero.context.calls if place is zero.spot else zero.context.calls[: len(step.context.calls)]
    same_frame = frames == step.context.calls
    return RULE.report(
        place,
        edits=move_behind(place, step.spot) if same_frame else (),
        related=((stepped, "the step that was to use them"),),
        subject=stepping.subject(step),
        message=message,
        zero=" ".join(place.text.split()),
        step=" ".join(stepped.text.split()),
        test=test,
    )


def _zeroed_last(step: Step, story: Story) -> ZeroGrad | None:
    """The zeroing of the step's gradients that nothing stands between it and the step."""
    for event in reversed(story.events[: step.seq]):
        if step.context.excludes(event.context):
            continue
        if isinstance(event, ZeroGrad) and stepping.zeroes(event, step):
            return event if step.context.implies(event.context) and stepping.within_pass(event, step) else None
        if stepping.may_give_gradients(event, step):
            return None
    return None


def _lost(zero: ZeroGrad, step: Step, story: Story) -> Iterator[Event]:
    """The backward passes whose gradients the zeroing throws away."""
    for event in reversed(story.events[: zero.seq]):
        if zero.context.excludes(event.context):
            continue
        if isinstance(event, Step) and (event.optimizer is step.optimizer or not event.params):
            return
        if stepping.touches_gradients(event):
            return
        if stepping.may_reach(event, step):
            yield event
            return


def _pass_before_is_lost(zero: ZeroGrad, step: Step, story: Story) -> bool:
    """Whether a backward pass of the loop ends at the zeroing, and nothing has looked at its gradients."""
    for event in reversed(story.events[: zero.seq]):
        if stepping.may_reach(event, step):
            return event.context.loops[:-1] == zero.context.loops[:-1] and not stepping.same_pass(event, zero)
        if stepping.may_give_gradients(event, step):
            return False
    return False


def _code(event: Event) -> str:
    return " ".join(event.spot.text.split())


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("zeroed_before_step"):
        message = "the gradients are zeroed between `backward()` and the step of `{subject}`: it steps nothing"
        yield fact.report(RULE, message, "{empty_steps} of {steps} steps found no gradient")
    for fact in facts.of("zeroed_each_time"):
        message = "the gradients are zeroed before every pass: only the last one reaches the step of `{subject}`"
        yield fact.report(RULE, message, "{kept} of {backwards} backward passes reached a step")
