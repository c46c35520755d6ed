"""FRZ201: batch norm of a frozen part runs in train mode, so its running statistics follow the new data."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.model_report import ModelReport
from freezelint.records import field, record
from freezelint.rule import Rule
from freezelint.source.constructors import frozen_by_eval
from freezelint.source.edits import eval_beside, is_statement
from freezelint.source.histories import freezes, frozen_in, training_mode
from freezelint.source.left_out import listed, names_of, outermost, root_of
from freezelint.source.starved import moved_by_hand
from freezelint.source.story import Context, Entry, Event, ModuleCall, Spot, Story, TrainMode
from freezelint.source.values import Instance, Param, parameters_of, submodules

RULE = Rule(
    code="FRZ201",
    name="frozen-norm-drifts",
    message="the batch norm of frozen {target} runs in train mode: its running statistics drift",
    fix="call `eval()` on {target} after every `train()`",
    safety=Safety.UNSAFE,
    claim=ClaimKind.FROZEN_MOVES,
)
AT_EVERY_STEP = (
    "`Trainer.train()` puts the batch norm of frozen {target} in train mode at every step: its running statistics drift"
)
OVERRIDE = "override `train()` of the model so that {target} stays in eval mode"
HELPER = re.compile(r"freez|grad|fix|lock|trainable|deactivate|disable|toggle|_?set_", re.IGNORECASE)


@record
class Drift:
    """The norms that drift for one reason: the call that switched to train mode, or the freeze that forgot `eval()`."""

    place: Spot
    event: ModuleCall
    freeze: Entry
    switch: Entry | None
    context: Context  # the world in which it is frozen
    params: list[Param] = field(default_factory=list)


@RULE.on(Story)
def drifting_norms(story: Story) -> Iterator[Finding]:
    if not story.trains or story.incomplete:  # an average, or an `eval()`, may follow what was read
        return
    for drift in drifts(story).values():
        root = root_of(story, drift.params[0])
        if meant(story, drift, root):
            continue
        modules = frozen_parts(drift.event, drift.context, drift.params, root)
        names = listed(names_of(root, modules, [] if modules else drift.params))
        related = ((drift.freeze[3], "frozen here"),) if drift.freeze[3] != drift.place else ()
        cause = story.events[drift.switch[0]] if drift.switch else drift.event
        at_call = drift.switch is None and drift.place != drift.freeze[3]
        edits = eval_beside(drift.place, cause, root, modules, before=at_call)
        subject = names.replace("`", "")
        if by_trainer(story, drift):
            yield RULE.report(
                drift.place, target=names, subject=subject, related=related, message=AT_EVERY_STEP, fix=OVERRIDE
            )
            continue
        yield RULE.report(drift.place, target=names, subject=subject, related=related, edits=edits)


@RULE.on(Story)
def frozen_by_eval_alone(story: Story) -> Iterator[Finding]:
    """`self.eval()  # frozen` in a constructor: the first `train()` of whoever holds the module undoes it."""
    for info, spot in frozen_by_eval(story.file) if story.entry == story.file.path else ():
        message = "`{target}` holds batch norm and overrides no `train()`: the first `train()` of its owner undoes this"
        title = "override `train()` so that it stays in eval mode"
        yield RULE.report(spot, message=message, fix=title, target=info.name, subject=info.name)


def meant(story: Story, drift: Drift, root: Instance | None) -> bool:
    """Whether the statistics are to move: a pass that is made for them alone; or a moving average of what trains, put
    in train mode by the author or part of the same module, as a momentum encoder is."""
    if drift.event.context.mode.flag is False and is_statement(drift.event.spot):
        return True
    moved = moved_by_hand(story)
    if not all(id(param) in moved for param in drift.params):
        return False
    beside = parameters_of(root) if root is not None else []
    return drift.switch is not None or any(story.flag_at(param, drift.event) is not False for param in beside)


def drifts(story: Story) -> dict[Spot, Drift]:
    """Every reason for a drift, by the place to point at."""
    found: dict[Spot, Drift] = {}
    for call in story.of(ModuleCall):
        for part in submodules(call.module) if call.module.opaque else [call.module]:
            for drift in drifts_of(story, call, part):
                found.setdefault(drift.place, drift)
                found[drift.place].params += [p for p in drift.params if p not in found[drift.place].params]
    return found


def drifts_of(story: Story, call: ModuleCall, part: Instance) -> Iterator[Drift]:
    """Why a norm that a call runs through drifts, if it does."""
    params = list(part.params.values()) if part.norm and not part.escaped else []
    for freeze, context in freezes(params[0], call) if params else ():
        mode, switch = training_mode(story, part, call, context)
        if switch is not None and not switched(story.events[switch[0]], part):
            switch = None  # a copy was made in the mode of the moment
        if mode and all(freezes(param, call) for param in params):
            root = root_of(story, params[0])
            place = place_of(call, freeze, switch, frozen_parts(call, context, params, root))
            yield Drift(place, call, freeze, switch, context, params)


def by_trainer(story: Story, drift: Drift) -> bool:
    """Whether it is the Trainer of transformers that puts the norms in train mode: an `eval()` does not last there."""
    owner = drift.params[0].owner
    modes = [entry for entry in owner.modes if entry[0] < drift.event.seq] if owner is not None else []
    event = story.events[modes[-1][0]] if modes else None
    return isinstance(event, TrainMode) and event.via == "trainer"


def switched(event: Event, part: Instance) -> bool:
    return not isinstance(event, TrainMode) or any(part is one for one in submodules(event.target))


def place_of(call: ModuleCall, freeze: Entry, switch: Entry | None, parts: list[Instance]) -> Spot:
    """The call of `train()`; without one, the call under `no_grad` that was trusted, else the freeze."""
    if switch is not None:
        return caller(switch, re.compile(r"^train$"), methods=True)
    if call.context.mode.flag is False:
        return outermost(call, [inner for part in parts for inner in submodules(part)], call.context.mode.spot)
    return caller(freeze, HELPER, methods=False)


def caller(entry: Entry, name: re.Pattern[str], *, methods: bool) -> Spot:
    """Where a helper of that name was called that did this; the place itself where there is none."""
    spot = entry[3]
    for info, site in zip(reversed(entry[2].calls), reversed(entry[2].sites), strict=True):
        if not name.search(info.name) or (info.owner is not None) is not methods:
            break
        if info.owner is not None and not info.owner.is_module:
            break  # the `train` of an engine is no override
        spot = site
    return spot


def frozen_parts(event: Event, context: Context, params: list[Param], root: Instance | None) -> list[Instance]:
    """The largest modules all of whose parameters are frozen there, and which hold some of `params`."""
    found: list[Instance] = []
    for module in submodules(root) if root else []:
        own = parameters_of(module)
        if any(module in submodules(known) for known in found) or not any(param in params for param in own):
            continue
        if all(frozen_in(param, event, context) for param in own):
            found.append(module)
    return found


@RULE.on(Facts, ModelReport)
def seen_in_step(facts: Facts | ModelReport) -> Iterator[Finding]:
    for fact in facts.of("norm_drift"):
        message = "`{subject}` is frozen, but in train mode: its running statistics drift"
        yield fact.report(RULE, message, "its running mean moved by {moved:.3g} in {forwards} forwards")
