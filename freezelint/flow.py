"""Where a loss loses a gradient it was meant to give, asked of a gradient map whoever built it.

Two questions. Of a whole loss: which trainable parameters does its value depend on, though no way brings them a
gradient? Of each summand: does it depend on what this loss trains, yet is a constant for all of it? Both are answered
by the cuts next to what lost its gradient, because there the author has something to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from freezelint.gradient_map import Cause, Cut, Edge, GradientMap, Kind, Node
from freezelint.records import record

SUMS = frozenset("Add Subtract AddAssign SubtractAssign Minus join sum builtins.sum add sub rsub neg add_ sub_".split())
SCALED = frozenset("Multiply MultiplyAssign Divide DivideAssign mul div mul_ div_".split())
SAME = frozenset(
    "float double to cuda cpu squeeze view reshape contiguous clamp clamp_ clamp_min torch.clamp clip".split()
)
REDUCTIONS = frozenset("sum mean torch.sum torch.mean".split())
STACKS = frozenset("torch.stack torch.cat stack cat".split())
A_FACTOR_OF_ZERO = "a factor of zero"


@record(frozen=True, eq=False)
class Loss:
    """A gradient that ends at `cut` on its way from the loss; `lost` are the parameters (or leaves) behind it."""

    loss: Node
    edge: Edge
    cut: Cut
    lost: tuple[Node, ...]
    term: Node | None = None  # the summand that became a constant; None: parameters no summand reaches
    whole: bool = False  # nothing that trains is reached by this loss at all
    last: bool = False  # nothing else is cut between here and the loss

    @property
    def direct(self) -> bool:
        """Whether the cut lies on the first step away from a parameter."""
        return any(self.edge.source == node.id for node in self.lost)


Asked = Callable[[Node], bool]


def lost_gradients(
    map_: GradientMap,
    loss: Node,
    wanted: Asked,
    grows: Asked,
    trained_elsewhere: Iterable[int] = (),
    optimised: frozenset[int] | None = None,
) -> list[Loss]:
    """What `loss` was meant to train and cannot.

    `wanted` says which leaves somebody wants a gradient of this loss for, `grows` which may require one at all. A term
    that reaches anything `optimised` by this loss is no constant, whether or not that is moved by other means too; with
    None the summands are not asked about: the map leaves values out, or lists its summands as losses.
    """
    walk = Walk(map_, wanted, grows)
    live = walk.live(loss.id)
    whole = not any(walk.wants(i) or walk.unknown(i) for i in live)
    known = set(trained_elsewhere) | live
    starved = {i for i in walk.behind(loss.id) if walk.wants(i) and i not in known}
    found = [
        Loss(loss, edge, edge.cut, lost, None, whole, edge.target in live)
        for edge, lost in walk.cuts(loss.id, starved)
        if edge.cut
    ]
    if optimised is None:
        return found
    told = {node.id for row in found for node in row.lost}
    terms = summands(map_, loss.id)
    for term in terms:
        if not optimised & walk.live(term):
            found += _constant_term(walk, loss, term, live, told, terms)
    return found


def _constant_term(
    walk: Walk, loss: Node, term: int, live: set[int], told: set[int], terms: list[int]
) -> Iterator[Loss]:
    mine = walk.live(term)
    if any(walk.wants(i) or walk.unknown(i) for i in mine):
        return
    dead = {i for i in walk.behind(term) if walk.wants(i)}
    if not dead & live or dead & told:
        return
    for edge, lost in walk.cuts(term, dead & live):
        if edge.cut and edge.source not in terms:
            yield Loss(loss, edge, edge.cut, lost, walk.map.nodes[term], last=edge.target in mine)


def constant_losses(map_: GradientMap, wanted: Asked, grows: Asked) -> list[Loss]:
    """For maps that list the summands as losses of their own: those that bring nothing to what the others train."""
    walk = Walk(map_, wanted, grows)
    trains = {i for node in map_.losses() for i in walk.live(node.id) if walk.wants(i)}
    found: list[Loss] = []
    for node in map_.losses():
        mine = walk.live(node.id)
        if node.name.startswith("output") or any(walk.wants(i) or walk.unknown(i) for i in mine):
            continue  # an output that only stands for a loss may be meant to be looked at
        for edge, lost in walk.cuts(node.id, trains & walk.behind(node.id)):
            if edge.cut:
                found.append(Loss(node, edge, edge.cut, lost, node, last=edge.target in mine))
    return found


class Walk:
    """Walks of one map back from a loss. They end at leaves: nothing behind one gets a gradient through it.

    What lies behind each node is worked out once, as a set of bits: one for every parameter and leaf of interest.
    """

    def __init__(self, map_: GradientMap, wanted: Asked, grows: Asked) -> None:
        self.map = map_
        self.wanted, self.grows = wanted, grows
        self._live: dict[int, set[int]] = {}
        self._bit: dict[int, int] = {}
        self._behind: dict[int, int] = {}
        self._reach: dict[int, int] = {}
        self._growing = 0
        nodes = enumerate(map_.nodes)
        self._leaves = {i for i, node in nodes if node.kind is Kind.INPUT and node.trainable is True}

    def wants(self, node: int) -> bool:
        return self.wanted(self.map.nodes[node])

    def unknown(self, node: int) -> bool:
        return self.map.nodes[node].kind is Kind.UNKNOWN

    def live(self, start: int) -> set[int]:
        if start not in self._live:
            self._live[start] = self._back(start, cuts=False)
        return self._live[start]

    def behind(self, start: int) -> set[int]:
        return self._back(start, cuts=True)

    def _back(self, start: int, *, cuts: bool) -> set[int]:
        seen, todo = {start}, [start]
        while todo:
            for edge in self._into(todo.pop()):
                if edge.source not in seen and (cuts or edge.cut is None):
                    seen.add(edge.source)
                    todo.append(edge.source)
        return seen

    def _into(self, node: int) -> list[Edge]:
        return [] if node in self._leaves else self.map.into(node)

    def _learn(self, start: int) -> None:
        """The bits of `start` and of everything behind it, sources before targets."""
        todo: list[tuple[int, bool]] = [(start, False)]
        entered: set[int] = set()
        while todo:
            node, ready = todo.pop()
            if ready:
                self._set(node)
            elif node not in entered and node not in self._behind:
                entered.add(node)
                todo.append((node, True))
                todo += [(edge.source, False) for edge in self._into(node)]

    def _set(self, node: int) -> None:
        entry = self.map.nodes[node]
        own = 0
        if entry.kind in (Kind.PARAMETER, Kind.INPUT) and (
            node in self._leaves or self.wants(node) or self.grows(entry)
        ):
            own = self._bit.setdefault(node, 1 << len(self._bit))
            self._growing |= own if node in self._leaves or self.grows(entry) else 0
        behind = reach = own
        for edge in self._into(node):
            behind |= self._behind.get(edge.source, 0)
            reach |= self._reach.get(edge.source, 0) if edge.cut is None else 0
        self._behind[node], self._reach[node] = behind, reach

    def cuts(self, start: int, dead: set[int]) -> Iterator[tuple[Edge, tuple[Node, ...]]]:
        """The cuts that take `dead` its gradient: the first ones on the way back from `start` whose value had a graph.

        A value that was cut before (the integers a comparison is made of) has none left to lose: the cut lies deeper.
        A Python number is the end of any way, unless it counts or indexes: an integer never had a gradient.
        """
        if not dead:
            return
        self._learn(start)
        wanted = sum(self._bit.get(node, 0) for node in dead)
        seen = set(self.live(start))
        todo = sorted(seen)
        while todo:
            target = todo.pop(0)
            for edge in self._into(target):
                lost = wanted & self._behind.get(edge.source, 0)
                if edge.cut is None or not lost or edge.cut.text == A_FACTOR_OF_ZERO:
                    continue
                if self._reach[edge.source] & self._growing or (edge.cut.cause is Cause.ITEM and self._number(edge)):
                    yield edge, tuple(self.map.nodes[i] for i in sorted(dead) if self._bit.get(i, 0) & lost)
                    continue
                mine = self.live(edge.source)
                todo += sorted(mine - seen)
                seen |= mine

    def _number(self, edge: Edge) -> bool:
        """Whether a number was made of a value that could have had a gradient, not of an index or a count."""
        cuts = {cut.cut.cause for node in self.live(edge.source) for cut in self._into(node) if cut.cut}
        return cuts != {Cause.NON_DIFFERENTIABLE}


def summands(map_: GradientMap, loss: int) -> list[int]:
    """The summands of a loss, through sums, differences, scaling by numbers and stacks that are summed."""
    found: list[int] = []
    todo, seen = [loss], {loss}
    while todo:
        node = todo.pop()
        parts = _parts(map_, node)
        found += [] if parts else [node]
        for part in parts:
            if part not in seen:
                seen.add(part)
                todo.append(part)
    return [node for node in found if map_.nodes[node].kind is not Kind.UNKNOWN]


def _parts(map_: GradientMap, node: int) -> list[int]:
    name, kind = map_.nodes[node].name, map_.nodes[node].kind
    into = map_.into(node)
    sources = list(dict.fromkeys(edge.source for edge in into if edge.cut is None))
    if kind not in (Kind.LOSS, Kind.VALUE) or (kind is Kind.VALUE and any(edge.cut for edge in into)):
        return []
    if kind is Kind.LOSS or name in STACKS or (name in SUMS and (len(sources) > 1 or name not in REDUCTIONS)):
        return sources
    if name in SCALED:
        moving = [i for i in sources if map_.nodes[i].kind is not Kind.UNKNOWN]
        return moving if len(moving) == 1 else []
    if len(sources) == 1 and (name in SAME or (name in REDUCTIONS and map_.nodes[sources[0]].name in STACKS)):
        return sources
    return []
