"""FRZ406: a step that trains one network goes back through another, whose gradients nobody uses."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.rule import Rule
from freezelint.source import cst
from freezelint.source.edits import Edits
from freezelint.source.fate import fate, served
from freezelint.source.left_out import largest_of, listed, names_of, outermost, root_of
from freezelint.source.story import Backward, Called, GradRead, ModuleCall, Spot, Story
from freezelint.source.values import Optimizer, Param, parameters_of, submodules
from freezelint.source.wasted import flowing

RULE = Rule(
    code="FRZ406",
    name="generator-not-detached",
    message="what {target} gives still carries its graph: this step goes back through it, and {outcome}",
    fix="detach `{given}`",
    safety=Safety.UNSAFE,
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)


@RULE.on(Backward)
def through_the_other_network(event: Backward, story: Story) -> Iterator[Finding]:
    if event.node is None or event.via == "autograd.grad" or "inputs=" in event.spot.text or not settled(story, event):
        return
    reached = {id(param): param for node, param in story.of_node.items() if node in event.reached}
    touched = [one for one in story.optimizers if any(id(p) in reached and story.flag_at(p, event) for p in one.params)]
    stepped = [one for one in touched if served(story, event, one)]
    for other in touched:
        outcome = fate(story, event, other)
        if outcome and stepped and other not in stepped and before(story, event, other, stepped):
            yield from told(story, event, other, stepped, outcome)


def settled(story: Story, event: Backward) -> bool:
    """Whether everything that could use these gradients is in sight, and no optimizer is toggled at the time."""
    toggles = [c.name for c in story.of(Called) if "toggle" in c.name and "optimizer" in c.name and c.seq < event.seq]
    toggled = bool(toggles) and not toggles[-1].startswith("untoggle")
    known = all(one.known for one in story.optimizers) and len(story.optimizers) > 1
    return known and not toggled and not story.incomplete and not any(e.node is None for e in story.of(GradRead))


def before(story: Story, event: Backward, other: Optimizer, stepped: list[Optimizer]) -> bool:
    """Whether the other network lies wholly before the stepped one: cut off, the step would do the same."""
    ours = {param.node for param in other.params}
    operations = {edge.target for edge in story.map.edges if edge.source in ours and edge.target in event.reached}
    trained = {param.node for one in stepped for param in one.params}
    return not trained & story.map.behind(operations)


def told(story: Story, event: Backward, other: Optimizer, stepped: list[Optimizer], outcome: str) -> Iterator[Finding]:
    """The first call of the stepped network on what the other one gave."""
    trained = [param for one in stepped for param in one.params]
    ours = {param.node for param in other.params}
    root = root_of(story, other.params[0])
    modules = largest_of(other.params, root)
    if not modules:  # parameters of the stepped network itself, which alternate with its others
        return
    name = listed(names_of(root, modules, other.params))
    for call in story.of(ModuleCall):
        fed = any(ours & story.map.reached([t.node]) for t in flowing(call.args))
        if call.seq < event.seq and fed and holds(call, trained) and result_in(call, event):
            network = largest_of(trained, root_of(story, next(p for p in parameters_of(call.module) if p in trained)))
            spot = outermost(call, [part for module in network for part in submodules(module)])
            given = argument(spot)
            title = RULE.fix if given else "detach what it is given"
            yield RULE.report(
                spot,
                edits=detached(spot),
                subject=name.strip("`"),
                fix=title,
                target=name,
                outcome=outcome,
                given=given,
            )
            return


def holds(call: ModuleCall, params: list[Param]) -> bool:
    return any(param is own for own in parameters_of(call.module) for param in params)


def result_in(call: ModuleCall, event: Backward) -> bool:
    return any(t.node in event.reached for t in flowing([call.result]))


def argument(spot: Spot) -> str:
    """The only argument of a call, where it is a plain name."""
    node = spot.node
    if isinstance(node, cst.Call) and len(node.args) == 1 and isinstance(node.args[0].value, (cst.Name, cst.Attribute)):
        return spot.file.code(node.args[0].value)
    return ""


def detached(spot: Spot) -> Edits:
    if not argument(spot):
        return ()
    assert isinstance(spot.node, cst.Call)
    return ((Spot(spot.file, spot.node.args[0].value), f"{argument(spot)}.detach()"),)


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("other_network"):
        message = (
            "this pass goes back through `{subject}`, which its step does not move: those gradients are thrown away"
        )
        yield fact.report(
            RULE, message, "gradients of {parameters} parameters ({elements} elements) of the other network"
        )
