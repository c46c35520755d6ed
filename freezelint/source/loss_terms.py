"""The gradients that the losses of a story, a trace or a run were meant to give and do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from freezelint.flow import Loss, constant_losses, lost_gradients
from freezelint.gradient_map import Cause, Cut, GradientMap, Kind, Node
from freezelint.records import replace
from freezelint.source.starved import (
    enclosing_with,
    loss_wants,
    may_grow,
    named,
    param_nodes,
    reached_anywhere,
    stepped_after,
)
from freezelint.source.story import Backward, ModuleCall, Spot, Story
from freezelint.source.values import parameters_of

WITHOUT_GRAD = (Cause.NO_GRAD, Cause.INFERENCE_MODE)


_known: WeakKeyDictionary[GradientMap, list[Loss]] = WeakKeyDictionary()


def losses(map_: GradientMap, subject: Any) -> list[Loss]:
    """Every lost gradient of a map, one for each cut, with everything that is lost there; worked out once a map."""
    if map_ not in _known:
        _known[map_] = _merged(_of_story(map_, subject) if isinstance(subject, Story) else _of_map(map_))
    return _known[map_]


def _merged(rows: Iterable[Loss]) -> list[Loss]:
    found: dict[tuple[Any, Any], Loss] = {}
    for row in rows:
        key = (row.cut.place, row.cut.scope if row.cut.cause in WITHOUT_GRAD and row.direct and row.last else None)
        known = found.setdefault(key, row)
        if known is not row and (known.term is None) == (row.term is None):
            found[key] = replace(known, lost=tuple({node.id: node for node in (*known.lost, *row.lost)}.values()))
    return list(found.values())


def _of_story(map_: GradientMap, story: Story) -> Iterator[Loss]:
    trained = reached_anywhere(story)
    for event in story.of(Backward):
        if event.node is None:
            continue
        wanted, growing = loss_wants(story, event), may_grow(story, event)
        stepped = stepped_after(story, event)
        kept = frozenset(node for node in growing if id(story.of_node[node]) in stepped)
        found = lost_gradients(
            map_, map_.nodes[event.node], lambda n: n.id in wanted, lambda n: n.id in growing, trained,  # noqa: B023
            kept,
        )  # fmt: skip
        yield from (row for row in found if row.term or not story.incomplete)


def _of_map(map_: GradientMap) -> Iterator[Loss]:
    trained = {i for node in (*map_.losses(), *map_.outputs()) for i in map_.reached([node.id])}
    summed = None if map_.witness == "graph" else frozenset[int]()  # a trace leaves values out, and lists its terms
    for loss in map_.losses():
        yield from lost_gradients(map_, loss, trains, trains, trained, summed)
    yield from constant_losses(map_, trains, trains)


def trains(node: Node) -> bool:
    return node.kind is Kind.PARAMETER and node.trainable is True


def lost_names(row: Loss, subject: Any) -> str:
    """What lost its gradient, as the source names it."""
    if isinstance(subject, Story) and (params := param_nodes(subject, row.lost)):
        return named(subject, params)
    names = list(dict.fromkeys(f"`{node.module or node.name}`" for node in row.lost))
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def without_grad_mode(map_: GradientMap, row: Loss) -> bool:
    """Whether the loss itself is computed without grad mode, or the mode was switched off for good."""
    place = row.cut.place
    if row.cut.cause not in WITHOUT_GRAD:
        return False
    if isinstance(place, Spot) and "set_grad_enabled" in row.cut.text and enclosing_with(place) is None:
        return True
    return row.whole and bool(_tops_cut(map_, row.loss.id))


def all_without_grad(map_: GradientMap, story: Story, event: Backward) -> list[Cut]:
    """The cuts of a loss that is wholly computed without grad mode from parameters that are to be stepped."""
    if event.node is None:
        return []
    stepped = stepped_after(story, event)
    behind = [story.of_node[i] for i in map_.behind([event.node]) if i in story.of_node]
    meant = any(id(param) in stepped and story.flag_at(param, event) is not False for param in behind)
    return _tops_cut(map_, event.node) if meant else []


def _tops_cut(map_: GradientMap, loss: int) -> list[Cut]:
    """The cuts right before a loss, where all that leads to it is cut for want of grad mode."""
    tops = [edge.source for edge in map_.into(loss)]
    edges = [edge for top in tops for edge in map_.into(top)]
    cuts = [edge.cut for edge in edges if edge.cut and edge.cut.cause in WITHOUT_GRAD]
    return cuts if len(cuts) == len(edges) else []


def effect_of(row: Loss, lost: str) -> str:
    """What the author will see of it; `lost` names what gets no gradient."""
    return "the term of the loss is a constant" if row.term else never_trains(lost)


def never_trains(lost: str) -> str:
    return "they never train" if " and " in lost else "it never trains"


def at_first_cut(rows: Iterable[Loss]) -> Iterator[tuple[Loss, list[Loss]]]:
    """Several cuts of one kind that starve the same parameters in the same way are one mistake: the first, the rest."""
    groups: dict[tuple[Any, ...], list[Loss]] = {}
    for row in rows:
        lost = tuple(sorted(node.id for node in row.lost))
        groups.setdefault((lost, row.term is None, row.loss.place), []).append(row)
    for group in groups.values():
        group.sort(key=lambda row: row.edge.target)
        yield group[0], group[1:]


def depending(map_: GradientMap, starts: Iterable[int]) -> set[int]:
    """The nodes and every value made of them, cuts or not; a value is always younger than what it is made of."""
    found = set(starts)
    for node in map_.nodes:
        if any(edge.source in found for edge in map_.into(node.id)):
            found.add(node.id)
    return found


def runs_alone(map_: GradientMap, row: Loss, subject: Any) -> bool:
    """Whether a block without grad mode holds one whole network on data: nothing frozen, nothing fed by what trains.

    Then the block is no slip around something frozen: the network itself is never trained.
    """
    if not isinstance(subject, Story) or row.term is not None or row.cut.cause not in WITHOUT_GRAD:
        return False
    if row.whole and _all_meant(map_, row, subject):
        return True
    lost = {id(param) for param in param_nodes(subject, row.lost)}
    after = depending(map_, [node.id for node in row.lost])
    inside = [e.source for e in map_.edges if e.cut and e.cut.place == row.cut.place and e.target in after]
    behind = {id(subject.of_node[i]) for i in map_.behind(inside) if i in subject.of_node}
    if not lost or behind != lost:
        return False
    return any(
        event.context.mode.spot == row.cut.place and {id(p) for p in parameters_of(event.module)} == lost
        for event in subject.of(ModuleCall)
    )


def _all_meant(map_: GradientMap, row: Loss, story: Story) -> bool:
    """Whether all that lies behind a block is optimised and trains: then nothing frozen was meant by it."""
    inside = [edge.source for edge in map_.edges if edge.cut and edge.cut.place == row.cut.place]
    behind = [story.of_node[i] for i in map_.behind(inside) if i in story.of_node]
    return all(story.optimised(param) and story.flag_at(param) is not False for param in behind)
