"""FRZ105: the freeze of something is undone, replaced or inverted before training."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.model_report import ModelReport
from freezelint.rule import Rule
from freezelint.source import cst, freezes, intent, polarity
from freezelint.source.flags import code, held, loop_around
from freezelint.source.freezes import Setting
from freezelint.source.story import (
    AttributeSet,
    Built,
    Called,
    Event,
    GradFlag,
    ModuleCall,
    OptimizerBuilt,
    Rebound,
    Replaced,
    Spot,
    Step,
    Story,
)
from freezelint.source.values import Instance, Param, direct_children, parameters_of, submodules

RULE = Rule(
    code="FRZ105",
    name="freeze-undone",
    message="the freeze of `{target}` is undone before training: {how}",
    fix="move the freeze behind this line",
    claim=ClaimKind.STILL_TRAINS,
)
HOW = {
    "replaced": "a fresh module that trains takes its place",
    "renormed": "its weight is split into two parameters that train",
    "set back": "`requires_grad` is set back to True",
    "drawn anew": "its loaded weights are drawn anew",
    "inverted": "it is told to train where it says freeze",
}
TURN = "turn the flag"
INVERTED = "`{text}` is inverted: `{flag}` asks for {one} and gives {other}"
COMMENTED = "the line says freeze and sets `requires_grad` to True: nothing is frozen"
LITERAL = re.compile(r"requires_grad(\s*=\s*True\b|_\((requires_grad=)?(True)?\))")
DRAWN = ("reset_parameters", "_reset_parameters", "init_weights", "_init_weights", "reset")


@RULE.on(Story)
def set_back(story: Story) -> Iterator[Finding]:
    """A later line sets the flag of everything that was frozen, and more, back to True."""
    lines = freezes.settings(story)
    for i, line in enumerate(lines):
        frozen = next((one for one in reversed(lines[:i]) if one.flag is False and covers(line, one, story)), None)
        if line.flag is not True or frozen is None:
            continue
        if left_out(story, line):
            continue
        if any(freezes.trains_after(story, line.last, param) for param in frozen.params.values()):
            place = told_at(line.last) if LITERAL.search(line_of(line.last)) else freezes.site(line.last)
            yield undone(place, frozen, HOW["set back"], story)


def left_out(story: Story, line: Setting) -> bool:
    """Whether every optimizer was built before and is known, and one filled itself with what was open then: to open
    more moves nothing, and is told as such."""
    if not all(one.seq < line.first.seq for one in story.of(OptimizerBuilt)):
        return False
    held = [{id(param) for param in one.params} for one in story.optimizers if one.known]
    return len(held) == len(story.optimizers) > 0 and all(own and not line.params.keys() <= own for own in held)


def covers(line: Setting, frozen: Setting, story: Story) -> bool:
    """Whether `line` surely reopens all that `frozen` closed, by mistake: before training, under no condition."""
    start, end = frozen.last, line.last
    if not frozen.params.keys() <= line.params.keys() or not line.sure_of(frozen) or line.first.seq < start.seq:
        return False
    if not freezes.together(story, start, end):
        return False
    if freezes.trained_between(story, start, end) and not toggled(line, frozen, story):
        return False
    if intent.tests(end) - intent.tests(start):
        return False
    if len(line.params) > len(frozen.params):
        return True
    return len(end.context.loops) < 2 and not freezes.used_between(story, start, end)


def toggled(line: Setting, frozen: Setting, story: Story) -> bool:
    """Whether a toggle of a whole network, in a loop that trains others first, opens a part that was closed before."""
    start, end = frozen.last, line.last
    if len(start.context.loops) >= len(line.first.context.loops) or len(line.params) <= len(frozen.params):
        return False
    loops = {loop for loop, _ in line.first.context.loops}
    steps = list(story.of(Step))
    before = [step for step in steps if start.seq < step.seq < end.seq and loops & {n for n, _ in step.context.loops}]
    closed = any(
        one.flag is False and one.params.keys() == line.params.keys() and start.seq < one.first.seq < line.first.seq
        for one in freezes.settings(story)
    )
    whole = any({id(param) for param in parameters_of(module)} == line.params.keys() for module in story.modules)
    if not closed or not whole:
        return False
    after = {id(param) for step in steps if step.seq > end.seq for param in step.params}
    own = any(not step.params or any(id(param) in line.params for param in step.params) for step in before)
    return bool(before) and not own and frozen.params.keys() <= after


def told_at(event: Event) -> Spot:
    """The line that sets the flag; where a helper does nothing else, the call of the helper."""
    helper = event.context.calls[-1] if event.context.calls else None
    if helper is None or helper.owner is not None or not isinstance(helper.node, cst.FunctionDef):
        return event.spot
    body = [part for part in helper.node.body.body if not isinstance(part, cst.SimpleStatementLine)]
    alone = len(body) == 1 and isinstance(body[0], cst.For)
    return freezes.site(event) if alone and len(helper.node.body.body) < 3 else event.spot


def undone(place: Spot, frozen: Setting, how: str, story: Story) -> Finding:
    target = name_of(frozen, story)
    return RULE.report(place, related=((frozen.first.spot, "frozen here"),), subject=target, target=target, how=how)


def name_of(frozen: Setting, story: Story) -> str:
    """What was frozen, as the source calls it."""
    if isinstance(frozen.first.target, Instance) and frozen.first.target.name:
        return frozen.first.target.name
    keys = frozen.params.keys()
    exact = (m for m in story.modules if m.name and {id(p) for p in parameters_of(m)} == keys)
    module = next(exact, None)
    param = next(iter(frozen.params.values()))
    return module.name if module else param.label or param.name


@RULE.on(Replaced)
def replaced(event: Replaced, story: Story) -> Iterator[Finding]:
    """What was frozen on its own is replaced by something that trains."""
    if isinstance(event.old, Instance) and isinstance(event.new, Instance):
        old, new = parameters_of(event.old), parameters_of(event.new)
        yield from exchanged(event, old, new, "another module takes its place", story)
    elif isinstance(event.old, Param) and isinstance(event.new, Param) and isinstance(event.owner, Instance):
        if not event.new.born or not frozen_before(story, event):
            return
        how = "a fresh parameter requires grad again"
        closed = [event.old]
        if isinstance(event.spot.node, cst.Attribute) and made_from(event, story):
            whole = freeze_of(story, event.old, event)
            closed += whole.params.values() if whole else event.owner.params.values()
        yield from exchanged(event, closed, [event.new], how, story)


def frozen_before(story: Story, event: Event) -> bool:
    return any(one.flag is False and one.first.seq < event.seq for one in freezes.settings(story))


def made_from(event: Replaced, story: Story) -> bool:
    """Whether the new parameter is made from the one it replaces."""
    if line_of(event).count(event.spot.text) > 1:
        return True
    old, new = event.old, event.new
    if not isinstance(old, Param) or not isinstance(new, Param) or old.node is None:
        return False
    todo, seen = [new.made_from], set()
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [edge.source for edge in story.map.into(node)]
    return old.node in seen


@RULE.on(Rebound)
def rebound(event: Rebound, story: Story) -> Iterator[Finding]:
    """The name of a frozen module is given to a new one of the same kind, and the frozen one is used nowhere."""
    old, new = event.old, event.new
    same = old.is_module and (old.cls, old.external) == (new.cls, new.external)
    if not same or (new.spot == old.spot and not built_twice(old, new, story)) or event.old in submodules(new):
        return
    used = story.incomplete or any(one.module is old for one in story.of(ModuleCall))
    if not used and not any(old in direct_children(module) for module in story.modules):
        how = "the name now holds another module"
        yield from exchanged(event, parameters_of(old), parameters_of(new), how, story)


def built_twice(old: Instance, new: Instance, story: Story) -> bool:
    """Whether a function that builds one was called from two places."""
    born = {id(event.module): event.context for event in story.of(Built)}
    one, other = born.get(id(old)), born.get(id(new))
    return one is not None and other is not None and one.sites != other.sites and one.loops == other.loops


def exchanged(
    event: Replaced | Rebound, old: list[Param], new: list[Param], how: str, story: Story
) -> Iterator[Finding]:
    keys = {id(param) for param in old}
    for frozen in freezes.settings(story):
        if frozen.flag is not False or frozen.last.seq > event.seq or not frozen.params.keys() <= keys:
            continue
        sure = frozen.first.context.implies(event.context) or event.context.implies(frozen.first.context)
        if not sure or not freezes.together(story, frozen.last, event):
            continue
        if freezes.used_between(story, frozen.last, event) or not new:
            continue
        if all(freezes.trains_after(story, event, param) for param in new):
            yield undone(event.spot, frozen, how, story)
            return


@RULE.on(Called)
def rewritten(event: Called, story: Story) -> Iterator[Finding]:
    """`weight_norm` on a frozen layer; `reset_parameters()` on frozen weights that were loaded."""
    layer = event.args[0] if event.args else None
    if event.name == "torch.nn.utils.weight_norm" and isinstance(layer, Instance):
        weight = layer.params.get("weight")
        frozen = weight and freeze_of(story, weight, event)
        if frozen:
            yield undone(event.spot, frozen, "`weight_norm` puts two parameters that train in its place", story)
    owner = drawn(event)
    if owner is not None:
        own = list(owner.params.values())
        frozen = next((found for param in own if (found := freeze_of(story, param, event))), None)
        if frozen and freezes.given(story, owner, event) and not freezes.loaded_after(story, owner, event):
            yield undone(freezes.outermost(story, event).spot, frozen, HOW["drawn anew"], story)


def drawn(event: Called) -> Instance | None:
    """The module whose own parameters a call draws anew."""
    if event.name.startswith("torch.nn.init.") and event.args and isinstance(event.args[0], Param):
        return event.args[0].owner
    return event.owner if event.name in DRAWN and isinstance(event.owner, Instance) else None


def freeze_of(story: Story, param: Param, event: Event) -> Setting | None:
    """The line that had frozen a parameter when an event, before training, happens."""
    if story.flag_at(param, event) is not False:
        return None
    found = [
        s for s in freezes.settings(story) if s.flag is False and id(param) in s.params and s.first.seq < event.seq
    ]
    if not found or freezes.trained_between(story, found[-1].last, event):
        return None
    return found[-1] if story.trains and freezes.together(story, found[-1].last, event) else None


@RULE.on(GradFlag)
def inverted(event: GradFlag, _story: Story) -> Iterator[Finding]:
    """`freeze=` fed with a flag that asks for training."""
    node = event.spot.node
    if event.via != "freeze=" or not isinstance(node, cst.Call):
        return
    given = [
        arg for i, arg in enumerate(node.args) if (arg.keyword.value if arg.keyword else str(i)) in ("freeze", "1")
    ]
    if given and polarity.says(given[0].value) is True:
        yield turned(event.spot, "freeze=", code(event, given[0].value), "training", "a freeze")


@RULE.on(GradFlag)
def inverted_argument(event: GradFlag, _story: Story) -> Iterator[Finding]:
    """A function or class that freezes where its argument `freeze` is true, given a flag that asks for training."""
    site = event.context.sites[-1] if event.context.sites and event.flag is False else None
    for arg in site.node.args if site is not None and isinstance(site.node, cst.Call) else ():
        name = arg.keyword.value if arg.keyword else ""
        tested = any(body is not None and code(event, test) == name for test, body in intent.conditions(event.spot))
        if site is not None and name in ("freeze", "frozen") and polarity.trainable(arg.value) and tested:
            flag = site.file.code(arg.value)
            yield turned(site, f"{name}=", flag, "training", "a freeze")


@RULE.on(AttributeSet)
def inverted_flag(event: AttributeSet, _story: Story) -> Iterator[Finding]:
    """`p.requires_grad = freeze`."""
    if event.name != "requires_grad" or event.value_node is None:
        return
    known = held(event.target) and all(isinstance(target, Param) for target in held(event.target))
    if known and polarity.says(event.value_node) is False:
        yield turned(event.spot, "requires_grad = ", code(event, event.value_node), "a freeze", "training")


def turned(place: Spot, head: str, flag: str, one: str, other: str) -> Finding:
    return RULE.report(
        place, subject=flag, message=INVERTED, fix=TURN, text=head + flag, flag=flag, one=one, other=other
    )


@RULE.on(Story)
def said_otherwise(story: Story) -> Iterator[Finding]:
    """A comment or function that says freeze, over a line that sets True what is True already."""
    for line in freezes.settings(story):
        event = line.first
        if line.flag is not True or not line.params:
            continue
        untouched = all(
            param.born and not any(s < event.seq for s, *_ in param.flags) for param in line.params.values()
        )
        if untouched and LITERAL.search(line_of(event)) and says_freeze(event) and not freezes_below(event):
            yield RULE.report(event.spot, subject=name_of(line, story), message=COMMENTED, fix=TURN)


FROZEN_BELOW = re.compile(r"requires_grad(\s*=\s*False\b|_\(\s*(requires_grad=)?False)|(?<!def )\bfreeze\w*\(")


def freezes_below(event: Event) -> bool:
    """Whether the same function freezes something after the line: it opens all, then closes a part."""
    function = event.context.calls[-1] if event.context.calls else None
    if function is None:
        return False
    lines = event.spot.file.text.splitlines()
    end = function.file.locate(function.node).end_line
    return FROZEN_BELOW.search("\n".join(lines[event.spot.locate().line : end])) is not None


def line_of(event: Event) -> str:
    return event.spot.file.text.splitlines()[event.spot.locate().line - 1]


def says_freeze(event: Event) -> bool:
    """The comment right above the line or its loop, or the name of the function that does nothing else."""
    loop = loop_around(event.spot)
    text = intent.comments(event.spot, freezes.line_of(event, loop) if loop is not None else None)
    if intent.FREEZES.search(text) and not intent.OTHERWISE.search(text):
        return True
    for test, body in intent.conditions(event.spot):
        if body is not None and polarity.says(test) is False and "False" not in code(event, body):
            return True
    function = event.context.calls[-1] if event.context.calls else None
    if function is None or not re.match(r"_?freeze(_|$)", function.name) or intent.OTHERWISE.search(function.name):
        return False
    body_text = function.file.code(function.node)
    return not re.search(r"False|freeze\w*\(.*\n(.|\n)*freeze\w*\(|\bnot\b", body_text)


@RULE.on(Facts, ModelReport)
def seen_in_step(facts: Facts | ModelReport) -> Iterator[Finding]:
    for fact in facts.of("freeze_undone"):
        message = "the freeze of `{subject}` is undone before training: {how}"
        yield fact.report(RULE, message, "{how}", how=HOW[fact.text])
