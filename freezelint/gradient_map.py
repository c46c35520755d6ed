"""The gradient map: what flows where, and where the way is cut. One type, three builders (source, graph, run).

Nodes are parameters, modules, inputs, values and losses; an edge runs the way of the forward pass, and a `Cut` on it
stops the gradient. The map is honest about what it does not know: an edge that is not `sure` may carry a gradient or
not, a node of unknown origin (`Kind.UNKNOWN`) may bring any parameter's. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any, Protocol

from freezelint.findings import Location
from freezelint.records import field, record


class Spot(Protocol):
    """A place that is turned into a Location only when a finding needs it."""

    def locate(self) -> Location: ...


class Kind(str, Enum):
    PARAMETER = "parameter"  # one parameter, or all own parameters of a module (a map from source)
    INPUT = "input"  # data handed in from outside; `trainable` says whether it requires grad
    VALUE = "value"  # a tensor on the way
    UNKNOWN = "unknown"  # a tensor that may come from anywhere
    LOSS = "loss"  # what backward starts from; `term` nodes of a sum are losses too


class Cause(str, Enum):
    """Why a gradient stops at an edge."""

    NO_GRAD = "no_grad"
    INFERENCE_MODE = "inference_mode"
    DETACH = "detach"
    DATA = "data"
    ITEM = "item"
    NUMPY = "numpy"
    COPY = "copy"  # torch.tensor(t), Variable(t), deepcopy of a non-leaf
    NON_DIFFERENTIABLE = "non_differentiable"  # no graph comes back
    ZERO_GRADIENT = "zero_gradient"  # a graph, exact zeros
    REENTRANT_CHECKPOINT = "reentrant_checkpoint"
    DTYPE = "dtype"
    UNUSED = "unused"  # the value is computed and thrown away


@record(frozen=True)
class Cut:
    cause: Cause
    place: Spot | Location | None
    text: str = ""  # as the source writes it: `.detach()`, `torch.no_grad()`
    module: str = ""  # dotted path of the module whose forward holds it
    scope: Spot | Location | None = None  # the call inside a block that lost its gradient


@record
class Node:
    id: int
    kind: Kind
    name: str
    trainable: bool | None = None
    place: Spot | Location | None = None
    module: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    # An input's gradient: who asked for it, and whether anybody read it.
    read: bool | None = None


@record(frozen=True)
class Edge:
    source: int
    target: int
    cut: Cut | None = None
    sure: bool = True


class GradientMap:
    """Nodes, edges and the questions rules ask. `witness` names its builder."""

    def __init__(self, witness: str) -> None:
        self.witness = witness
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self._into: list[list[Edge]] = []
        self.notes: list[str] = []  # what could not be seen
        self._walked: dict[tuple[int, ...], set[int]] = {}  # what was asked of the map as it stands

    def node(self, kind: Kind, name: str, **details: Any) -> int:
        node = Node(len(self.nodes), kind, name, **details)
        self.nodes.append(node)
        self._into.append([])
        return node.id

    def edge(self, source: int, target: int, cut: Cut | None = None, *, sure: bool = True) -> None:
        edge = Edge(source, target, cut, sure)
        self.edges.append(edge)
        self._into[target].append(edge)
        self._walked.clear()

    def losses(self) -> list[Node]:
        return [node for node in self.nodes if node.kind is Kind.LOSS]

    def outputs(self) -> list[Node]:
        """What a model returns beside the loss that backward starts from, and what could be a loss itself."""
        return [node for node in self.nodes if node.kind is Kind.VALUE and "output" in node.numbers]

    def into(self, node: int) -> list[Edge]:
        return self._into[node]

    def reached(self, starts: Iterable[int]) -> set[int]:
        """Every node whose gradient may arrive: backward from `starts`, over edges without a cut."""
        return self._back(starts, cross_cuts=False)

    def surely_reached(self, starts: Iterable[int]) -> set[int]:
        """The same over edges that surely carry the gradient."""
        return self._back(starts, cross_cuts=False, sure_only=True)

    def behind(self, starts: Iterable[int]) -> set[int]:
        """Every node the value depends on, cuts or not."""
        return self._back(starts, cross_cuts=True)

    def _back(self, starts: Iterable[int], *, cross_cuts: bool, sure_only: bool = False) -> set[int]:
        seen = set(starts)
        key = (cross_cuts, sure_only, *sorted(seen))
        if key in self._walked:
            return self._walked[key].copy()
        todo = list(seen)
        while todo:
            for edge in self._into[todo.pop()]:
                if (edge.cut and not cross_cuts) or (sure_only and not edge.sure) or edge.source in seen:
                    continue
                seen.add(edge.source)
                todo.append(edge.source)
        self._walked[key] = seen
        return seen.copy()

    def parameters(self, ids: Iterable[int]) -> list[Node]:
        """The trainable parameters among `ids`, in the order of their creation."""
        chosen = (self.nodes[i] for i in sorted(ids))
        return [node for node in chosen if node.kind is Kind.PARAMETER and node.trainable]

    def starved(self, starts: Iterable[int]) -> list[tuple[Cut, list[Node]]]:
        """Trainable parameters the loss depends on whose every way to it is cut, grouped by the cut next to the loss.

        A node of unknown origin could bring any gradient only to what lies behind itself, so it needs no exception
        here: what it hides is simply not listed.
        """
        starts = list(starts)
        live = self.reached(starts)
        found: list[tuple[Cut, list[Node]]] = []
        for edge in (edge for target in sorted(live) for edge in self._into[target]):
            if edge.cut is None:
                continue
            dead = self.parameters(self.behind([edge.source]) - live)
            if dead:
                found.append((edge.cut, dead))
        return found

    def unreachable(self, starts: Iterable[int]) -> list[Node]:
        """Trainable parameters from which no way, cut or not, leads to any of `starts`."""
        return self.parameters(set(range(len(self.nodes))) - self.behind(starts))

    def to_json(self) -> dict[str, Any]:
        """{witness, notes, nodes: [[kind, name, trainable, place, module, numbers, read]], edges: [[s, t, cut, sure]]}.

        A place is [path, line, column, end_line, end_column, cell]; a cut [cause, place, text, module, scope].
        """
        return {
            "witness": self.witness,
            "notes": self.notes,
            "nodes": [
                [n.kind.value, n.name, n.trainable, _place_out(n.place), n.module, n.numbers, n.read]
                for n in self.nodes
            ],
            "edges": [[e.source, e.target, _cut_out(e.cut), e.sure] for e in self.edges],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> GradientMap:
        new = cls(data["witness"])
        new.notes = list(data["notes"])
        for kind, name, trainable, place, module, numbers, read in data["nodes"]:
            new.node(
                Kind(kind), name, trainable=trainable, place=_place_in(place), module=module, numbers=numbers, read=read
            )
        for source, target, cut, sure in data["edges"]:
            new.edge(source, target, _cut_in(cut), sure=sure)
        return new


def _place_out(place: Spot | Location | None) -> list[Any] | None:
    if place is None:
        return None
    at = place if isinstance(place, Location) else place.locate()
    return [at.path, at.line, at.column, at.end_line, at.end_column, at.cell]


def _place_in(data: list[Any] | None) -> Location | None:
    return Location(*data) if data else None


def _cut_out(cut: Cut | None) -> list[Any] | None:
    if cut is None:
        return None
    return [cut.cause.value, _place_out(cut.place), cut.text, cut.module, _place_out(cut.scope)]


def _cut_in(data: list[Any] | None) -> Cut | None:
    return Cut(Cause(data[0]), _place_in(data[1]), data[2], data[3], _place_in(data[4])) if data else None
