"""FRZ309: parameters that were to train get gradients, and no optimizer holds them."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule
from freezelint.source.hidden import unregistered
from freezelint.source.late import added_after, forgotten_group, missing, seen_from, unfrozen_after
from freezelint.source.left_out import LeftOut, groups_left_out, largest, listed, names_of, root_of
from freezelint.source.story import AttributeSet, Backward, OptimizerBuilt, Story
from freezelint.source.values import Param, parameters_of

RULE = Rule(
    code="FRZ309",
    name="missing-from-optimizer",
    message="no optimizer holds {target}: the gradients are computed, and no step uses them",
    claim=ClaimKind.NOT_STEPPED,
)
LATE = "the optimizer was built before {target} came: the gradients are computed, and no step uses them"
UNFROZEN = "the optimizer was built before {target} was set to train: the gradients are computed, and no step uses them"
GROUP = "this group reaches no optimizer: the gradients of {target} are computed, and no step uses them"
TAKEN = "the optimizer takes its parameters here"


@RULE.on(Story)
def left_out(story: Story) -> Iterator[Finding]:
    groups = groups_left_out(story)
    hidden = unregistered(story) if groups else set()
    for group in groups:
        built = _optimizer(story, group)
        if built is None or not built.optimizer.params or any(id(param) in hidden for param in group.params):
            continue
        subject = group.names.replace("`", "")
        late = added_after(story, group.params, built)
        if isinstance(late, AttributeSet) and isinstance(late.old, Param) and isinstance(late.value, Param):
            continue  # a parameter replaced by hand: told as such
        if late is not None:
            place = seen_from(story, late, built)
            related = ((built.spot, TAKEN),)
            yield RULE.report(place, target=group.names, subject=subject, message=LATE, related=related)
        elif missing(story, group):
            forgotten = forgotten_group(story, group.params)
            if forgotten is not None and forgotten.spot is not None:
                related = ((built.spot, TAKEN),)
                yield RULE.report(forgotten.spot, target=group.names, subject=subject, message=GROUP, related=related)
            else:
                yield RULE.report(built.spot, target=group.names, subject=subject)


@RULE.on(Story)
def unfrozen(story: Story) -> Iterator[Finding]:
    for event, built, params in unfrozen_after(story):
        root = root_of(story, params[0])
        last = story.of(Backward)[-1]
        names = listed(names_of(root, largest(story, last, params, root), params))
        yield RULE.report(
            seen_from(story, event, built),
            target=names,
            subject=names.replace("`", ""),
            message=UNFROZEN,
            related=((built.spot, TAKEN),),
        )


def _optimizer(story: Story, group: LeftOut) -> OptimizerBuilt | None:
    """The optimizer that should have been given these parameters: the last one of the same model, else the first."""
    built = [event for event in story.of(OptimizerBuilt) if event.seq < group.event.seq]
    root = root_of(story, group.params[0])
    own = parameters_of(root) if root else []
    sharing = [event for event in built if any(param is known for param in own for known in event.optimizer.params)]
    return next(iter([*sharing, *built]), None)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("missing_from_optimizer"):
        message = "`{subject}` gets a gradient, but no optimizer holds it: it never moves"
        yield fact.report(
            RULE, message, "{parameters} parameters had a gradient in {passes} passes and are in no optimizer"
        )
