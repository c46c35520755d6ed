"""FRZ404: parameters that are frozen already are handed to an optimizer."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.rule import Rule
from freezelint.source import cst
from freezelint.source.edits import Edits
from freezelint.source.left_out import largest_of, listed, names_of, root_of
from freezelint.source.story import GradFlag, OptimizerBuilt, Spot, Step, Story, Tested, state_in
from freezelint.source.values import Dict, Optimizer, Param, ParamIter, Value

RULE = Rule(
    code="FRZ404",
    name="frozen-in-optimizer",
    message="frozen parameters of {target} are handed to the optimizer, which never steps them",
    fix="hand over only what requires grad",
    safety=Safety.SAFE,
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)


@RULE.on(OptimizerBuilt)
def frozen_parameters(event: OptimizerBuilt, story: Story) -> Iterator[Finding]:
    optimizer = event.optimizer
    frozen = [
        param
        for param in optimizer.params
        if (state(story, param, event) is False or partly_closed(story, param, event)) and closed(story, param, event)
    ]
    trains = any(state(story, param, event) for param in optimizer.params)
    if not frozen or not trains or not optimizer.known or not stepped(story, optimizer):
        return
    if any(test.seq < event.seq for test in story.of(Tested)):  # a filter that lets everything pass: its own mistake
        return
    root = root_of(story, frozen[0])
    names = listed(names_of(root, largest_of(frozen, root), frozen))
    related = tuple((flag.spot, "frozen here") for flag in story.of(GradFlag) if frozen[0] in flag.params)[:1]
    yield RULE.report(
        event.spot, target=names, subject=names.replace("`", ""), related=related, edits=filtered(event.spot)
    )


def stepped(story: Story, optimizer: Optimizer) -> bool:
    return any(step.optimizer is optimizer for step in story.of(Step))


def closed(story: Story, param: Param, event: OptimizerBuilt) -> bool:
    """Frozen by a line before this one, not made as a constant, and never opened again."""
    flags = story.by_hand(param)
    earlier = [asked(story, seq) for seq, *_ in flags if seq < event.seq]
    return False in earlier and all(flag is False for seq, flag, _, _ in flags if seq > event.seq)


def state(story: Story, param: Param, event: OptimizerBuilt) -> bool | None:
    """requires_grad when the optimizer is built, as the lines that set it say."""
    return state_in(event.context, param.born, (entry for entry in story.by_hand(param) if entry[0] <= event.seq))


def asked(story: Story, seq: int) -> bool | None:
    """The flag a line gives to all that a parameter stands for, or to some of it."""
    event = story.events[seq]
    return (event.flag if event.partly is None else event.partly) if isinstance(event, GradFlag) else None


def partly_closed(story: Story, param: Param, event: OptimizerBuilt) -> bool:
    """Whether a parameter stands for those of several layers, and some of these are frozen: `layers[:3]`."""
    before = [entry for entry in story.by_hand(param) if entry[0] < event.seq and not event.context.excludes(entry[2])]
    for seq, _, context, _ in before:
        sure = all(arm in event.context.arms or arm[0] in story.partial for arm in context.arms)
        if asked(story, seq) is not False or not sure:
            return False
    return bool(before) and any(handed_whole(group, param) for group in event.optimizer.groups)


def handed_whole(group: Value, param: Param) -> bool:
    """Whether an optimizer is given all of `module.parameters()`, and not what a filter or slice leaves of them."""
    given = group.items.get("params") if isinstance(group, Dict) else group
    return isinstance(given, ParamIter) and given.owner is not None and not given.some and param in given.items


def filtered(spot: Spot) -> Edits:
    """`module.parameters()` filtered by requires_grad."""
    call = spot.node
    given = call.args[0].value if isinstance(call, cst.Call) and call.args and not call.args[0].keyword else None
    if not isinstance(given, cst.Call) or given.args or not isinstance(given.func, cst.Attribute):
        return ()
    if given.func.attr.value != "parameters":
        return ()
    text = spot.file.code(given)
    return ((Spot(spot.file, given), f"(p for p in {text} if p.requires_grad)"),)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("frozen_in_optimizer"):
        message = "frozen parameters of `{subject}` are handed to the optimizer: it never steps them"
        yield fact.report(RULE, message, "{parameters} of its parameters never had a gradient")
