"""From a recording to values and the ways between them: which carry the gradient, and what cuts the others.

A value is one version of one tensor: an in-place operation makes a new version of it and of everything that shares its
storage. What autograd knew before and after each operation decides whether a way carries; which autograd nodes handed
on a gradient in the recorded backward has the last word.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .capture import Recording
from .causes import MAKES_CONSTANT, ZERO_GRADIENT, Cut, exit_cut, why_cut
from .recorder import Op, has_storage
from .watch import Spot

REWRITES = {"aten::copy_", "aten::zero_", "aten::fill_", "aten::normal_", "aten::uniform_", "aten::bernoulli_"}


@dataclass(eq=False)
class Value:
    id: int
    kind: str  # parameter, input, hidden (made to require grad in the forward), constant, operation
    name: str = ""
    data: bool = False  # depends on an input
    tensor: Tensor | None = None
    op: Op | None = None
    spot: Spot | None = None


@dataclass(eq=False)
class Way:
    source: int
    target: int
    cut: Cut | None = None
    op: Op | None = None
    link: tuple[Any, Any] | None = None  # autograd nodes (of the target, of the source)


class Flow:
    """Values and ways of one recording, and what autograd nodes stand for."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.values: list[Value] = []
        self.ways: list[Way] = []
        self.into: list[list[Way]] = []
        self.node_is_data: dict[Any, bool] = {}
        self._now: dict[int, int] = {}  # tensor -> its value
        self._position = 0
        self._node_value: dict[Any, int] = {}  # autograd node (or leaf) -> the value it made
        self._sharing: dict[int, list[Tensor]] = {}  # storage -> tensors
        self._parted: dict[int, Cut] = {}  # tensor that shares another's storage and not its graph -> what parted them
        self._through: set[int] = set()  # values to which a custom Function's own node leads back
        self._hidden = {id(spot.tensor): spot for spot in recording.watch.hidden_leaves}
        for name, tensor in recording.parameters.items():
            self._start(tensor, "parameter", name)
        for name, tensor in recording.inputs:
            self._start(tensor, "input", name)
        with torch._C.DisableTorchFunction():
            for self._position, op in enumerate(recording.recorder.ops):
                self._operation(op)
            self._believe_backward()
        self._leave_functions_whole()

    def value_of(self, tensor: Tensor) -> int:
        """The tensor's value as of the last operation looked at."""
        known = self._now.get(id(tensor))
        if known is None:
            known = self._start(tensor, "constant", "")
            left_as_array = any(spot.what == "numpy" for spot in self.recording.watch.exits)
            if id(tensor) in self.recording.watch.fresh or left_as_array:
                self._link_exits(known)
        return known

    def _start(self, tensor: Tensor, kind: str, name: str) -> int:
        value = self._new(kind, name=name, tensor=tensor, data=kind == "input")
        self._place(tensor, value.id)
        self._node_value[id(tensor)] = value.id
        return value.id

    def _new(self, kind: str, **details: Any) -> Value:
        value = Value(len(self.values), kind, **details)
        self.values.append(value)
        self.into.append([])
        return value

    def _place(self, tensor: Tensor, value: int) -> None:
        if id(tensor) not in self._now and has_storage(tensor):
            self._sharing.setdefault(tensor.untyped_storage()._cdata, []).append(tensor)
        self._now[id(tensor)] = value

    def _way(self, source: int, target: int, cut: Cut | None = None, op: Op | None = None, link: Any = None) -> None:
        if source == target:
            return
        way = Way(source, target, cut, op, link)
        self.ways.append(way)
        self.into[target].append(way)
        self.values[target].data |= self.values[source].data

    def _operation(self, op: Op) -> None:
        sources = []
        for tensor, requires, node in op.inputs:
            self._meet_hidden(tensor, requires)
            value = self.value_of(tensor)
            self._meet_node(value, node)
            sources.append((tensor, value, requires, node))
        if op.name in MAKES_CONSTANT:
            sources = []
        made = []
        for tensor, (requires, node) in zip(op.outputs, op.after):
            if tensor.is_floating_point() or tensor.is_complex() or sources:
                made.append((tensor, self._result(op, tensor, requires, node, sources)))
        for tensor, value in made:
            self._place(tensor, value)
        if op.api == "data" or op.name == "aten::detach":
            self._parted.update((id(tensor), why_cut(op, tensor, None)) for tensor in op.outputs)
        for tensor in op.written:
            self._rewrite_aliases(tensor, op)

    def _result(self, op: Op, out: Tensor, requires: bool, node: Any, sources: list[Any]) -> int:
        value = self._new("operation", tensor=out, op=op)
        for tensor, source, source_requires, source_node in sources:
            if tensor is out and op.name in REWRITES and len(sources) > 1:
                continue
            cut, link = None, None
            if source_requires and not (tensor is out and source_node is node):
                link = (node, source_node)
                cut = self._cut(op, out, requires, node, source_node)
            self._way(source, value.id, cut, op, link)
        self._link_numbers(op, value.id)
        if op.api in ("copy", "from_numpy") and not any(requires for _, _, requires, _ in sources):
            self._link_exits(value.id)
        self._meet_node(value.id, node)
        return value.id

    def _cut(self, op: Op, out: Tensor, requires: bool, node: Any, source_node: Any) -> Cut | None:
        region = self.recording.watch.regions[op.region] if op.region >= 0 else None
        if not op.grad_mode:
            reentrant = region is not None and region.name == "CheckpointFunction"
            return None if reentrant and region is not None and region.live else why_cut(op, out, region)
        if requires and node is source_node and op.name == "aten::detach":
            return None  # a saved result that a double backward unpacks: it keeps its node
        if isinstance(node, Tensor) and node is not source_node:  # a leaf, made or set anew
            return why_cut(op, out, region)
        rewritten = out._is_view() and any(out is tensor for tensor in op.written)  # autograd made its node anew
        if requires and (rewritten or not is_link(node) or key(source_node) in next_keys(node)):
            return Cut("zero_gradient", op.line, op_text(op), op.path) if op.name in ZERO_GRADIENT else None
        return why_cut(op, out, region)

    def _meet_node(self, value: int, node: Any) -> None:
        """Learn what an autograd node stands for; one that dispatch did not see made comes from a custom Function."""
        if node is None or isinstance(node, Tensor):
            return
        if node not in self._node_value and isinstance(node, torch.autograd.function.BackwardCFunction):
            for following in next_keys(node):
                if following in self._node_value:
                    self._through.add(self._node_value[following])
                    self._way(self._node_value[following], value, None, None, (node, following))
        self._node_value[node] = value
        self.node_is_data[node] = self.node_is_data.get(node, False) or self.values[value].data

    def _meet_hidden(self, tensor: Tensor, requires: bool) -> None:
        """A tensor that user code made to require grad: from here on it is a leaf, and a value of its own."""
        spot = self._hidden.get(id(tensor))
        if spot is None or not requires:
            return
        del self._hidden[id(tensor)]
        before = self._now.get(id(tensor))
        leaf = self._new("hidden", tensor=tensor, spot=spot, data=True)
        after = self._new("operation", tensor=tensor)
        self._way(leaf.id, after.id)
        if before is not None:
            self._way(before, after.id)
        self._node_value[id(tensor)] = after.id
        self._place(tensor, after.id)

    def _link_exits(self, value: int) -> None:
        """A tensor made of plain data may hold any value that has left torch before."""
        for spot in self.recording.watch.exits:
            if spot.after <= self._position and id(spot.tensor) in self._now:
                self._way(self._now[id(spot.tensor)], value, exit_cut(spot))

    def _link_numbers(self, op: Op, value: int) -> None:
        """A number that left torch and is an operand now: known in a real step, by its digits where it has many."""
        exits = self.recording.watch.exits
        numbers = {x for x in op.node.args if isinstance(x, float) and not (x * 4096).is_integer()} if exits else ()
        for spot in exits if numbers else ():
            if spot.value in numbers and spot.after <= self._position and id(spot.tensor) in self._now:
                self._way(self._now[id(spot.tensor)], value, exit_cut(spot))

    def _rewrite_aliases(self, written: Tensor, op: Op) -> None:
        if not has_storage(written):
            return
        new = self._now.get(id(written))
        for alias in self._sharing.get(written.untyped_storage()._cdata, ()):
            if alias is written or new is None:
                continue
            value = self._new("operation", tensor=alias)
            self._way(self._now[id(alias)], value.id)
            self._way(new, value.id, self._parting(written, alias, op))
            self._now[id(alias)] = value.id

    def _parting(self, written: Tensor, alias: Tensor, op: Op) -> Cut | None:
        """Why a write to one tensor is no step of another's graph, though they share a storage."""
        one, other = root(written), root(alias)
        if one is other:
            return None
        known = self._parted.get(id(one)) or self._parted.get(id(other))
        return known or Cut("non_differentiable", op.line, op_text(op), op.path)

    def _leave_functions_whole(self) -> None:
        """Where a custom Function's own node leads back to an operand, the operations inside it cut nothing there."""

        through = self._through - {way.source for way in self.ways if way.cut and way.link and way.op is None}

        def inner(way: Way) -> bool:
            region = self.recording.watch.regions[way.op.region] if way.op and way.op.region >= 0 else None
            made_inside = region is not None and region.live and way.op is not None and not way.op.grad_mode
            return made_inside and way.cut is not None and way.source in through

        self.ways = [way for way in self.ways if not inner(way)]
        self.into = [[way for way in ways if not inner(way)] for ways in self.into]

    def _believe_backward(self) -> None:
        """Cut the ways over which the recorded backward handed nothing on (a custom Function that returned None)."""
        carried: dict[tuple[Any, Any], bool] = {}
        ran = set()
        for grad in self.recording.recorder.grads:
            if not grad.received:
                continue
            ran.add(grad.node)
            for (following, _), result in zip(grad.node.next_functions, grad.results):
                if following is not None:
                    pair = (grad.node, node_key(following))
                    carried[pair] = carried.get(pair, False) or result is not None
        for way in self.ways:
            if way.cut is not None or way.link is None or way.link[0] not in ran:
                continue
            if not carried.get((way.link[0], key(way.link[1])), True):
                way.cut = self._handed_nothing(way)

    def _handed_nothing(self, way: Way) -> Cut:
        op = way.op or self.values[way.target].op
        assert way.link is not None
        if op is not None and op.region >= 0:
            region = self.recording.watch.regions[op.region]
            return Cut("non_differentiable", region.line, region.name, region.path)
        name = way.link[0].name() if is_link(way.link[0]) else "Function"
        return Cut("non_differentiable", op.line if op else None, name, op.path if op else "")


def root(tensor: Tensor) -> Tensor:
    """What a view is a view of, for autograd."""
    return tensor._base if tensor._is_view() and tensor._base is not None else tensor


def op_text(op: Op) -> str:
    return op.name.removeprefix("aten::")


def is_link(node: Any) -> bool:
    """Whether the node lists its own next functions as the operation made them; a rewritten view's does not."""
    return node is not None and not isinstance(node, Tensor) and node.name() not in ("CopySlices", "AsStridedBackward0")


def key(node: Any) -> Any:
    """How ways name an autograd node: a leaf by its identity."""
    return id(node) if isinstance(node, Tensor) else node


def node_key(node: Any) -> Any:
    variable = getattr(node, "variable", None)
    return id(variable) if isinstance(variable, Tensor) else node


@cache
def next_keys(node: Any) -> set[Any]:
    return {node_key(following) for following, _ in node.next_functions if following is not None}
