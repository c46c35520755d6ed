"""Zeroing, backward and step: whose gradients each is about, and which of them happen in one pass."""

from __future__ import annotations

import re

from freezelint.source import cst
from freezelint.source.story import AttributeSet, Backward, Called, Event, GradRead, Spot, Step, Story, ZeroGrad
from freezelint.source.syntax import resolved, tests_over, within_function
from freezelint.source.values import Const, Object, Optimizer

WINDOW = re.compile(r"%|accum|micro_?(batch|step)|grad_acc|update_freq|iter_size", re.IGNORECASE)
QUIET = re.compile(
    r"clip|^accumulate$|^autocast$|^no_sync$|log|print|info|debug|warning|scalar|postfix|^(update|write|append|item|format|time|len)$"
)
Passes = set[tuple[tuple[int, int], ...]]


def same_pass(one: Event, other: Event) -> bool:
    return one.context.loops == other.context.loops


def batches(story: Story) -> Passes:
    """The passes of loops that hold a backward pass."""
    return {event.context.loops[:end] for event in story.of(Backward) for end in range(len(event.context.loops) + 1)}


def batch_of(event: Event, passes: Passes) -> tuple[tuple[int, int], ...]:
    """The innermost of those passes that an event is in: a loop over optimizers is none."""
    loops = event.context.loops
    while loops and loops not in passes:
        loops = loops[:-1]
    return loops


def within_pass(one: Event, other: Event) -> bool:
    """Whether one happens in the pass of the other, be it in a loop of its own (over callbacks, over optimizers)."""
    return one.context.loops[: len(other.context.loops)] == other.context.loops


def one_run(story: Story, *events: Event) -> bool:
    """Whether the order of events is that of a run: methods of a class that nothing calls are read in any order."""
    if story.entry not in story.file.classes:
        return True
    return len({event.context.calls[:1] for event in events}) == 1


def may_reach(event: Event, step: Step) -> bool:
    """Whether a backward pass gives gradients to the parameters of the step, as far as anyone can tell."""
    if not isinstance(event, Backward):
        return False
    if event.node is None or not step.params:
        return True
    if isinstance(step.optimizer, Optimizer) and not step.optimizer.known:
        return True
    return any(param.node in event.reached for param in step.params)


def zeroes(event: Event, step: Step) -> bool:
    """Whether an event zeroes everything the step steps."""
    if not isinstance(event, ZeroGrad):
        return False
    if isinstance(step.optimizer, Optimizer) and event.target is step.optimizer:
        return True
    if step.params and event.params:
        covered = {id(param) for param in event.params}
        return all(id(param) in covered for param in step.params)
    known = isinstance(step.optimizer, Optimizer) or isinstance(event.target, Optimizer) or step.params or event.params
    return not known and subject(event) == subject(step) and event.context.calls == step.context.calls


def called_at(zero: ZeroGrad, step: Step, story: Story) -> Spot:
    """The place of a zeroing; the call of the helper it stands in, where that helper is used elsewhere too."""
    sites, others = zero.context.sites, step.context.sites
    shared = next((i for i, (one, other) in enumerate(zip(sites, others, strict=False)) if one != other), len(others))
    if shared >= len(sites):
        return zero.spot
    again = (one for one in story.of(ZeroGrad) if one.spot == zero.spot and one.context.sites != sites)
    return sites[shared] if any(again) else zero.spot


def wrapped(event: Event, name: str, story: Story) -> Spot:
    """The place of a call; that of the wrapper's call, where its method only wraps one of the same name."""
    place = event.spot
    for info, site in zip(reversed(event.context.calls), reversed(event.context.sites), strict=False):
        if info.name != name or info.owner is None or any(info in one.context.calls for one in story.of(Backward)):
            break
        place = site
    return place


def touches_gradients(event: Event) -> bool:
    """Whether `.grad` is read or written by hand."""
    return isinstance(event, GradRead) or (isinstance(event, AttributeSet) and event.name in ("grad", "main_grad"))


def may_give_gradients(event: Event, step: Step) -> bool:
    """Whether an event may leave gradients for the step, or ends the passes it is about."""
    if isinstance(event, Backward):
        return may_reach(event, step)
    if isinstance(event, Step):
        return event.optimizer is step.optimizer
    return calls_something(event) or touches_gradients(event)


def calls_something(event: Event) -> bool:
    """A call of code nobody can read, other than to log or to clip."""
    if not isinstance(event, Called) or event.name.startswith("torch."):
        return False
    return not QUIET.search(event.name.split(".")[-1])


def gradients_used(first: Event, step: Step, story: Story) -> bool:
    return any(touches_gradients(event) for event in story.events[first.seq : step.seq])


def window(step: Step, story: Story) -> Spot | None:
    """The test that lets only every n-th pass step; it may stand in another file than the step."""
    tests = [(step.spot, test) for _, test in tests_over(step.spot)]
    for branch, _ in step.context.arms:
        spot = story.branches.get(branch)
        if spot is not None and isinstance(spot.node, cst.BaseExpression):
            tests.append((spot, spot.node))
    for spot, test in tests:
        if WINDOW.search(spot.file.code(resolved(spot.file, spot, test))):
            return Spot(spot.file, test)
    return None


def beside(event: Event, step: Step, test: Spot, story: Story, passes: Passes) -> bool:
    """Whether an event happens in the pass of the step, but whether or not the window is full."""
    if not step.context.implies(event.context) or batch_of(event, passes) != batch_of(step, passes):
        return False
    gates = {branch for branch, spot in story.branches.items() if spot == test}
    if any(branch in gates for branch, _ in event.context.arms):
        return False
    return all(known is not test.node for _, known in tests_over(event.spot))


def by_window(event: Event, step: Step) -> bool:
    """Whether an event waits for a window, or a state of its object, that the step does not wait for."""
    shared = {id(test) for place in (*step.context.sites, step.spot) for _, test in tests_over(place)}
    for place in (*event.context.sites, event.spot):
        for _, test in tests_over(place):
            if id(test) in shared:
                continue
            text = place.file.code(resolved(place.file, place, test))
            if WINDOW.search(text) or "self." in place.file.code(test):
                return True
    return False


def accumulates(event: Event, story: Story) -> bool:
    """Whether an event stands in a `with accelerator.accumulate(...)` block over more than one pass."""
    blocks = [node for node in within_function(event.spot) if isinstance(node, cst.With)]
    managers = {id(item.item) for block in blocks for item in block.items}
    for call in story.of(Called) if managers else ():
        if call.name == "accumulate" and id(call.spot.node) in managers and isinstance(call.owner, Object):
            passes = call.owner.kwargs.get("gradient_accumulation_steps")
            count = passes.value if isinstance(passes, Const) else getattr(passes, "default", None)
            if isinstance(count, int) and count > 1:
                return True
    return False


def subject(event: Event) -> str:
    """The optimizer (or module) as the source calls it; a scaler steps what it is given."""
    node = event.spot.node
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute):
        return ""
    given = node.args[0].value if isinstance(event, Step) and node.args else None
    return event.spot.file.code(given if isinstance(given, (cst.Name, cst.Attribute)) else node.func.value)
