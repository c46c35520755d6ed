"""FRZ402: loaded weights that no optimizer holds still require grad, so backward computes gradients for nothing."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.rule import Rule
from freezelint.source import cst
from freezelint.source.edits import freeze_before
from freezelint.source.late import came_late, missing
from freezelint.source.left_out import LeftOut, feeds, groups_left_out, root_of, use_of
from freezelint.source.story import Backward, GradRead, ModuleCall, OptimizerBuilt, Step, Story
from freezelint.source.values import Instance, Optimizer, Param, parameters_of
from freezelint.source.wasted import flowing

RULE = Rule(
    code="FRZ402",
    name="unfrozen-but-not-optimized",
    message="no optimizer holds {target}, but backward still computes the weight gradients and throws them away",
    fix="freeze {target} by `requires_grad_(False)`",
    safety=Safety.UNSAFE,
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)


@RULE.on(Story)
def left_out_of_the_optimizer(story: Story) -> Iterator[Finding]:
    for group in groups_left_out(story):
        if group.target or not any(param.owner and param.owner.pretrained for param in group.params):
            continue
        if missing(story, group) or came_late(story, group):
            continue  # forgotten, not left alone on purpose: told as such
        if any(story.flag_at(group.params[0], one) is False for one in story.of(OptimizerBuilt)[-1:]):
            continue  # it was opened after the optimizer was built: told as such
        subject = group.names.replace("`", "")
        built = optimizer_of(story, group)
        place = use_of(story, group) if group.upstream and not group.inside else None
        if place is not None:
            yield RULE.report(place, target=group.names, subject=subject)
        elif built is not None:
            edits = freeze_before(built, root_of(story, group.params[0]), group.modules)
            yield RULE.report(built.spot, target=group.names, subject=subject, edits=edits)


@RULE.on(Backward)
def passed_through(event: Backward, story: Story) -> Iterator[Finding]:
    """A model that was handed in, used as it is, in a step that trains something else."""
    if event.node is None or event.via != "backward" or "inputs=" in event.spot.text or story.incomplete:
        return
    steps = [step for step in story.of(Step) if step.seq > event.seq and step.context.calls == event.context.calls]
    trained = [param for step in steps[:1] if isinstance(step.optimizer, Optimizer) for param in step.optimizer.params]
    for model in handed_in(story, event):
        stepped = any(param.owner is model and param.many for param in trained)
        if trained and not stepped and carries(story, model, trained) and not feeds(story, event, model, trained):
            message = (
                "`{target}` is used as it is, but nothing here freezes it: this pass computes the gradients of its "
                "weights and leaves them behind"
            )
            title = "freeze `{target}` for the time, or ask `torch.autograd.grad` for what is needed"
            yield RULE.report(event.spot, message=message, fix=title, target=model.name, subject=model.name)


def carries(story: Story, model: Instance, trained: list[Param]) -> bool:
    """Whether the gradient of what is trained comes through a model: from its input, or a mask set on it."""
    own = {param.node for param in trained}
    inputs = [t.node for call in story.of(ModuleCall) if call.module is model for t in flowing(call.args)]
    return len(model.params) > 1 or bool(own & story.map.reached(inputs))


def handed_in(story: Story, event: Backward) -> list[Instance]:
    """Modules a caller nobody can see handed in, called here, untouched, and reached by this pass."""
    reads = {read.node for read in story.of(GradRead)}
    reached = [param for node, param in story.of_node.items() if node in event.reached and node not in reads]
    called = [call.module for call in story.of(ModuleCall) if call.context.mode.flag is not False]
    return [
        param.owner
        for param in reached
        if param.owner is not None and param.many and param.owner in called and not param.flags
        if param.owner.spot is not None and isinstance(param.owner.spot.node, cst.Param)
    ]


def optimizer_of(story: Story, group: LeftOut) -> OptimizerBuilt | None:
    """Where the optimizer is built that should have been given these parameters, or less to train."""
    built = story.of(OptimizerBuilt)
    root = root_of(story, group.params[0])
    own = parameters_of(root) if root else []
    sharing = [event for event in built if any(param in own for param in event.optimizer.params)]
    return next(iter([*sharing, *built]), None)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("not_optimized"):
        message = (
            "`{subject}` requires grad, but no optimizer holds it: its weight gradients are computed and thrown away"
        )
        yield fact.report(
            RULE, message, "weight gradients of {parameters} parameters ({elements} elements) in {passes} passes"
        )
