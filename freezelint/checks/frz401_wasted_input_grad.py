"""FRZ401: an input requires grad and nobody reads its gradient, so backward goes all the way to it."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.gradient_map import GradientMap, Kind, Node
from freezelint.rule import Rule
from freezelint.source import cst, edits
from freezelint.source.story import Spot, Story
from freezelint.source.wasted import read_inputs, training_passes

RULE = Rule(
    code="FRZ401",
    name="wasted-input-grad",
    message="`{target}` requires grad, but nobody reads its gradient: backward goes all the way to it for nothing",
    fix="leave `{target}` without requires_grad",
    safety=Safety.SAFE,
    severity=Severity.WARNING,
    claim=ClaimKind.WASTED,
)


@RULE.on(GradientMap)
def unread_input(graph: GradientMap, story: Story | None = None) -> Iterator[Finding]:
    passes = [frozenset(graph.reached([loss.id])) for loss in graph.losses()]
    read: set[int] = set()
    if isinstance(story, Story):
        passes, read = training_passes(story), read_inputs(story)
    seen: set[int] = set()
    for reached in passes:
        for leaf in (graph.nodes[i] for i in sorted(reached)):
            if asks(leaf) and leaf.id not in read | seen and graph.parameters(reached):
                seen.add(leaf.id)
                needed = any(graph.nodes[i].place == leaf.place and graph.nodes[i].kind is Kind.INPUT for i in read)
                yield told(leaf, needed)


def asks(node: Node) -> bool:
    """Whether an input wants a gradient that nobody has read."""
    return node.kind is Kind.INPUT and node.trainable is True and not node.read and node.place is not None


def told(leaf: Node, needed: bool) -> Finding:
    """`needed`: the same line makes another input require grad whose gradient is used."""
    assert leaf.place is not None
    if not isinstance(leaf.place, Spot):
        return RULE.report(leaf.place, target=leaf.name, subject=leaf.name)
    target = receiver(leaf.place)
    return RULE.report(leaf.place, target=target, subject=target, edits=() if needed else dropped(leaf.place))


def receiver(spot: Spot) -> str:
    """What was made to require grad, as the source writes it."""
    node = spot.node
    held = node.func if isinstance(node, cst.Call) else node
    if isinstance(held, cst.Attribute) and held.attr.value.startswith("requires_grad"):
        return spot.file.code(held.value)
    if isinstance(node, cst.Call) and node.args and isinstance(node.args[0].value, (cst.Name, cst.Attribute)):
        return spot.file.code(node.args[0].value)
    return spot.text


def dropped(spot: Spot) -> edits.Edits:
    """The request gone: its statement, the call after a value, or the argument."""
    node = spot.node
    if isinstance(node, cst.Attribute) or edits.is_statement(spot):
        return edits.without_statement(spot)
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) and node.func.attr.value == "requires_grad_":
        return ((spot, spot.file.code(node.func.value)),)
    return edits.without_argument(spot, "requires_grad")


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("wasted_input"):
        message = "this tensor requires grad, but nobody reads its gradient: backward goes on to it for nothing"
        yield fact.report(RULE, message, "its gradient was computed and never read")
