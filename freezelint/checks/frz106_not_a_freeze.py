"""FRZ106: `eval()`, or `no_grad` round the construction, is the only freeze of something that trains on."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.rule import Place, Rule
from freezelint.source import cst, intent
from freezelint.source.flags import code, tried
from freezelint.source.story import (
    Backward,
    Built,
    Called,
    Event,
    Loaded,
    Mode,
    Story,
    TrainMode,
    Written,
)
from freezelint.source.tree import holds
from freezelint.source.values import Param, options, parameters_of

RULE = Rule(
    code="FRZ106",
    name="not-a-freeze",
    message="`{text}` is the only freeze of `{target}`: its parameters require grad, reach the optimizer and train on",
    fix="freeze it: `{target}.requires_grad_(False)`",
    safety=Safety.UNSAFE,
    claim=ClaimKind.STILL_TRAINS,
)


FIXED = re.compile(r"(^|_)(teacher|ema|fixed)(_|$)", re.IGNORECASE)
EVALUATES = re.compile(r"eval|valid|test|predict|infer|generate|sample", re.IGNORECASE)


@RULE.on(TrainMode)
def only_eval(event: TrainMode, story: Story) -> Iterator[Finding]:
    """`eval()` that says it is to freeze."""
    node = event.spot.node
    params = parameters_of(event.target)
    if event.flag is not False or event.via == "held" or not isinstance(node, cst.Call) or not params:
        return
    meant = named_fixed(event, story) or intent.means_to_freeze(event)
    if not meant or not trains_on(params, story) or tried(event.target, story):
        return
    target = code(event, node.func.value) if isinstance(node.func, cst.Attribute) else event.target.name
    edits: tuple[tuple[Place, str], ...] = ((event.spot, f"{target}.requires_grad_(False).eval()"),)
    yield RULE.report(event.spot, edits=edits, subject=target, text=event.spot.text, target=target)


def named_fixed(event: TrainMode, story: Story) -> bool:
    """Whether the name of a network says that it stays as it is, and nothing ever puts it into train mode by itself."""
    if "frozen" in event.target.name.lower():
        return True
    if not FIXED.search(event.target.name) or any(EVALUATES.search(call.name) for call in event.context.calls):
        return False
    return not any(one.target is event.target and one.flag is not False for one in story.of(TrainMode))


def trains_on(params: list[Param], story: Story) -> bool:
    """Whether parameters are nowhere frozen, are handed to an optimizer with others, and get a gradient."""
    mine = {id(param) for param in params}
    if any(flag is not True for param in params for _, flag, _, _ in story.by_hand(param)) or not all(
        p.born for p in params
    ):
        return False
    owners = [one for one in story.optimizers if any(id(param) in mine for param in one.params)]
    others = any(id(param) not in mine for one in owners for param in one.params)
    reached = {node for event in story.of(Backward) for node in event.reached}
    return others and any(param.node in reached for param in params if param.node is not None)


@RULE.on(Story)
def built_without_grad(story: Story) -> Iterator[Finding]:
    """A `no_grad` block, or an `__init__` under it, that only builds modules."""
    blocks: dict[Mode, list[Built]] = {}
    for event in story.of(Built):
        mode = event.context.mode
        if mode.flag is False and mode.spot is not None and mode.kind in ("no_grad", "inference_mode"):
            blocks.setdefault(mode, []).append(event)
    for mode, made in blocks.items():
        params = [param for event in made for param in parameters_of(event.module)]
        inside = inside_init(mode, made[0])
        meant = inside or all(event.module.pretrained for event in made)
        if params and meant and not fills(story, mode, made) and trains_on(params, story) and mode.spot is not None:
            yield from round_construction(mode, made)


def inside_init(mode: Mode, event: Event) -> bool:
    """Whether the block stands in a constructor, or is the decorator of one."""
    spot = mode.spot
    return spot is not None and any(
        info.name == "__init__" and info.file is spot.file and holds(info.node, spot.node)
        for info in event.context.calls
    )


def fills(story: Story, mode: Mode, made: list[Built]) -> bool:
    """Whether the block also initialises, or loads what was built before it: then it is there for that."""
    inside = [e for e in story.events if isinstance(e, (Written, Loaded)) and e.context.mode.spot == mode.spot]
    own = {id(event.module) for event in made}
    writes = (e for e in inside if not (isinstance(e, Loaded) and all(id(one) in own for one in options(e.target))))
    inits = (e for e in story.of(Called) if "init" in e.name and e.context.mode.spot == mode.spot)
    return any(writes) or any(inits)


def round_construction(mode: Mode, made: list[Built]) -> Iterator[Finding]:
    assert mode.spot is not None
    named = next((event.module.name for event in reversed(made) if event.module.name), "what is built in it")
    names = list(dict.fromkeys(event.module.name for event in made if event.module.name))
    target = names[0] if names else named
    related: tuple[tuple[Place, str], ...] = ((made[0].spot, "built here: its parameters require grad all the same"),)
    yield RULE.report(mode.spot, related=related, subject=target, text=mode.text, target=target)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("not_a_freeze"):
        named = FIXED.search(fact.subject.rpartition(".")[2]) or "frozen" in fact.subject
        if fact.text == "eval" and not named and not intent.said_at(fact.place):
            continue  # that leaves out dropout, say
        message = "`{text}` is the only freeze of `{subject}`: its parameters keep training"
        yield fact.report(
            RULE,
            message,
            "{parameters} parameters of it got a gradient and were stepped",
            text={"eval": "eval()", "no_grad": "torch.no_grad()"}[fact.text],
        )
