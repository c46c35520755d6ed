"""FRZ306: a reentrant checkpoint none of whose inputs requires grad: what runs inside gets no gradient."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from freezelint.findings import ClaimKind, Finding, Location, Safety
from freezelint.gradient_map import Cause, GradientMap
from freezelint.rule import Place, Rule
from freezelint.source import cst
from freezelint.source.loss_terms import losses, lost_names
from freezelint.source.starved import named
from freezelint.source.story import Backward, Called, Spot, Story
from freezelint.source.values import Const, Dict, Instance, Param, parameters_of

RULE = Rule(
    code="FRZ306",
    name="reentrant-checkpoint-cut",
    message="no input of this reentrant checkpoint requires grad: no gradient gets to {lost} inside it",
    fix="pass `use_reentrant=False`",
    safety=Safety.SAFE,
    claim=ClaimKind.STARVED,
)
ASKS_FOR_INPUTS = ("enable_input_require_grads", "prepare_model_for_kbit_training", "register_forward_hook")


@RULE.on(GradientMap)
def check(map_: GradientMap, subject: Any = None) -> Iterator[Finding]:
    if isinstance(subject, Story):
        yield from _of_story(map_, subject)
        return
    for row in losses(map_, subject):
        if row.cut.cause is Cause.REENTRANT_CHECKPOINT and row.cut.place is not None:
            lost = lost_names(row, subject)
            yield RULE.report(row.cut.place, lost=lost, subject=lost.replace("`", ""))


def _of_story(map_: GradientMap, story: Story) -> Iterator[Finding]:
    """Whatever else the program may do: when this call runs, its parameters get no gradient from it."""
    backwards = story.of(Backward)
    lost: dict[Spot, list[Param]] = {}
    for edge in map_.edges if backwards and not inputs_asked_for(story) else ():
        if edge.cut and edge.cut.cause is Cause.REENTRANT_CHECKPOINT and isinstance(edge.cut.place, Spot):
            inside = [story.of_node[i] for i in sorted(map_.reached([edge.source])) if i in story.of_node]
            trained = [p for p in inside if story.optimised(p) and story.flag_at(p, backwards[0])]
            lost.setdefault(edge.cut.place, []).extend(trained)
    for place, params in lost.items():
        if params:
            names = named(story, params)
            yield RULE.report(place, lost=names, subject=names.replace("`", ""), edits=not_reentrant(place))


def inputs_asked_for(story: Story) -> bool:
    """Whether a call makes the outputs of some layer require grad, frozen or not."""
    return any(other.name.endswith(ASKS_FOR_INPUTS) for other in story.of(Called))


def not_reentrant(place: Any) -> tuple[tuple[Place, str], ...]:
    """The edit of the call: the value of `use_reentrant`, or the keyword behind its last argument."""
    if not isinstance(place, Spot) or not isinstance(place.node, cst.Call) or not place.node.args:
        return ()
    for arg in place.node.args:
        if arg.keyword is not None and arg.keyword.value == "use_reentrant":
            return ((Spot(place.file, arg.value), "False"),)
    last = place.node.args[-1]
    ends, whole = place.file.positions.offsets(last), place.file.positions.offsets(place.node)
    if last.keyword or ends is None or whole is None:
        return ()
    brackets = re.match(r"[\s)]*\)", place.file.text[ends[1] : whole[1] - 1])  # round the argument
    line, column = place.file.positions.place(ends[1] + (brackets.end() if brackets else 0))
    return ((Location(place.file.path, line, column, line, column), ", use_reentrant=False"),)


@RULE.on(Called)
def check_enabled(event: Called, story: Story) -> Iterator[Finding]:
    """A model of a library told to checkpoint its blocks the reentrant way, while what feeds the first is frozen."""
    if event.name != "gradient_checkpointing_enable" or not isinstance(event.owner, Instance) or not _reentrant(event):
        return
    if inputs_asked_for(story):
        return
    params = parameters_of(event.owner)
    trained = [param for param in params if story.optimised(param) and story.flag_at(param) is True]
    body = [param for param in params if param.many and story.flag_at(param) is False]
    if trained and body and not event.owner.cls:
        lost = f"what trains in `{event.owner.name}`"
        yield RULE.report(event.spot, lost=lost, subject=event.owner.name)


def _reentrant(event: Called) -> bool:
    given = event.kwargs.get("gradient_checkpointing_kwargs", event.args[0] if event.args else None)
    return isinstance(given, Dict) and given.items.get("use_reentrant") == Const(True)
