"""FRZ107: something is frozen at its random initialisation."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.rule import Rule
from freezelint.source import cst, freezes, weights
from freezelint.source.freezes import Setting
from freezelint.source.story import Backward, Built, GradFlag, Story
from freezelint.source.syntax import within_function
from freezelint.source.values import Instance, Param, parameters_of, submodules

RULE = Rule(
    code="FRZ107",
    name="frozen-at-random-init",
    message="`{target}` is frozen at its random initialisation: no weights are ever given to it",
    fix="load the weights of `{target}` before it is frozen, or let it train",
    severity=Severity.WARNING,
    claim=ClaimKind.STARVED,
)


@RULE.on(Story)
def frozen_as_drawn(story: Story) -> Iterator[Finding]:
    """A module built, frozen and used in training, and never given weights."""
    told: set[int] = set()
    for line in freezes.settings(story):
        if line.flag is not False or line.first.via == "freeze=" or not any(may_harm(story, e) for e in line.events):
            continue
        for module in covered(line, story):
            own = {id(param) for param in parameters_of(module)}
            event = next((one for one in line.events if any(id(param) in own for param in one.params)), line.first)
            if chosen(event):
                continue
            built = weights.drawn_at_random(story, module, event)
            if built is not None and id(module) not in told and harms(story, module, event, built):
                told.add(id(module))
                target = module.name or event.spot.text
                related = ((built.spot, "built here"),)
                yield RULE.report(freezes.asked_at(event), related=related, subject=target, target=target)


def chosen(event: GradFlag) -> bool:
    """Whether the line picks its parameters by a test inside the loop that walks a larger network."""
    inner: list[cst.CSTNode] = []
    for node in within_function(event.spot):
        if isinstance(node, cst.For):
            return any(isinstance(one, cst.If) for one in inner)
        inner.append(node)
    return False


def covered(line: Setting, story: Story) -> list[Instance]:
    """The largest modules all of whose parameters a line froze for good."""
    own_seqs = {event.seq for event in line.events}
    later = {id(e.module) for e in story.of(Built) if e.seq > line.first.seq and e.module.cls is None}
    earlier = {id(e.module) for e in story.of(Built) if e.seq < line.first.seq}

    def closed(param: Param) -> bool:
        """Frozen by this line; a part that was named only later has the history of the whole."""
        return any(seq in own_seqs for seq, *_ in param.flags) and story.flag_at(param) is False

    def held_then(module: Instance) -> list[Param]:
        """The parameters a module had when the line ran; a new head put in later is not among them.

        Nothing for a module that was still being built and got other parameters afterwards.
        """
        params = parameters_of(module)
        held = [param for param in params if id(param.owner) not in later]
        return held if id(module) in earlier or len(held) == len(params) else []

    runs = [m for m in candidates(line, story) if m.cls is not None or not m.external.endswith("ModuleDict")]
    whole = [m for m in runs if (own := held_then(m)) and all(closed(param) for param in own)]
    inner = {id(part) for module in whole for part in submodules(module)[1:]}
    return [module for module in whole if id(module) not in inner]


def candidates(line: Setting, story: Story) -> list[Instance]:
    """The modules that hold something a line froze; also the body of a model from a factory, frozen by its name."""
    known = freezes.holders(story)
    found = {id(module): module for key in line.params for module in known.get(key, ())}
    for param in line.params.values():
        if param.owner is not None and weights.body(param.owner):
            found[id(param.owner)] = param.owner
    return list(found.values())


def may_harm(story: Story, event: GradFlag) -> bool:
    """What `harms` asks first, before anybody looks for the modules."""
    outermost = event.context.calls[0].name if event.context.calls else ""
    return outermost == "__init__" or any(one.seq > event.seq for one in story.of(Backward))


def harms(story: Story, module: Instance, event: GradFlag, built: Built) -> bool:
    """Whether training goes through the module, or a constructor freezes what it has just built from a config."""
    backward = next((one for one in story.of(Backward) if one.seq > event.seq), None)
    if backward is not None and story.entry not in story.file.classes and not story.incomplete:
        frozen = all(story.flag_at(p, backward) is False for p in parameters_of(module) if p.flags)
        return frozen and weights.used(story, module, event)
    constructor = event.context.calls[:1]
    same = bool(constructor) and constructor == built.context.calls[:1] and constructor[0].name == "__init__"
    config = any(weights.from_config(part) for part in submodules(module))
    return same and config and not event.context.arms and not weights.loads_itself(event)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("random_frozen"):
        message = "`{subject}` is frozen at its random initialisation: no weights are ever given to it"
        yield fact.report(RULE, message, "{parameters} parameters were drawn, frozen and used, and never loaded")
