"""FRZ304: `requires_grad` forced on a loss that has no graph: the error goes away, and nothing trains."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.flow import summands
from freezelint.gradient_map import Kind
from freezelint.rule import Place, Rule
from freezelint.source.starved import may_grow, named
from freezelint.source.story import Backward, GradRead, Story, TensorFlag
from freezelint.source.values import Param, Tensor

RULE = Rule(
    code="FRZ304",
    name="loss-forced-to-require-grad",
    message="`{text}` makes a leaf of a value without a graph: {lost} gets no gradient through it",
    claim=ClaimKind.NO_GRAPH,
)


@RULE.on(TensorFlag)
def check(event: TensorFlag, story: Story) -> Iterator[Finding]:
    if event.flag is not True or event.node is None or not isinstance(event.result, Tensor):
        return
    lost = _behind(event, story)
    if lost and _read(event.result, story) is False and _stands_for_a_loss(event, event.result, story):
        names = named(story, lost)
        subject = names.replace("`", "")
        yield RULE.report(event.spot, text=event.spot.text, lost=names, subject=subject, related=_ends(event, story))


def _behind(event: TensorFlag, story: Story) -> list[Param]:
    """The optimised parameters the value depends on; none where it has a graph, or where that cannot be told."""
    assert event.node is not None
    graph = story.map
    live = graph.reached([event.node])
    if graph.nodes[event.node].kind is Kind.INPUT:
        live = {event.node}
    if any(graph.nodes[i].kind is Kind.UNKNOWN for i in live):
        return []
    if any(story.flag_at(story.of_node[i], event) is not False for i in live if i in story.of_node):
        return []
    behind = [story.of_node[i] for i in sorted(graph.behind([event.node])) if i in story.of_node]
    return [param for param in behind if story.optimised(param)]


def _ends(event: TensorFlag, story: Story) -> tuple[tuple[Place, str], ...]:
    """Where the graph of the value had ended before."""
    assert event.node is not None
    live = sorted(story.map.reached([event.node]) | {event.node})
    cuts = [edge.cut.place for node in live for edge in story.map.into(node) if edge.cut and edge.cut.place]
    return tuple((place, "the graph ends here") for place in cuts[:1] if place != event.spot)


def _read(made: Tensor, story: Story) -> bool:
    """Whether the gradient of the new leaf is what the author is after."""
    reads = [event.node for event in story.of(GradRead) if event.node is not None]
    return made.node in story.map.behind(reads)


def _stands_for_a_loss(event: TensorFlag, made: Tensor, story: Story) -> bool:
    """Whether a loss, or a summand of one, is made of this leaf and of nothing that trains."""
    for backward in story.of(Backward):
        if backward.node is None or backward.seq < event.seq:
            continue
        growing = may_grow(story, backward)
        for term in summands(story.map, backward.node):
            live = story.map.reached([term])
            if made.node in live and not _beyond(story, term, made.node) & growing:
                return True
    return False


def _beyond(story: Story, term: int, leaf: int) -> set[int]:
    """What a summand reaches without going through the leaf."""
    seen, todo = {term}, [term]
    while todo:
        node = todo.pop()
        for edge in story.map.into(node) if node != leaf else []:
            if edge.cut is None and edge.source not in seen:
                seen.add(edge.source)
                todo.append(edge.source)
    return seen


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("forced_loss"):
        message = "`{text}` makes a value without a graph require grad: nothing behind it gets a gradient"
        yield fact.report(
            RULE, message, "{parameters} parameters lie behind it, none of them got a gradient through it"
        )
