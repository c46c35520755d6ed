"""What a recorded step costs: forward, dgrad and wgrad operations and floating-point operations, saved bytes.

A backward operation is dgrad when its result goes towards a value that depends on an input, wgrad when it goes only
towards parameters. Which gradient it works for is found by walking from each gradient an autograd node hands on back
to the node's own operations. `Costs.without` answers what is left when some leaves no longer require grad.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import getitem
from typing import Any

from torch import Tensor

from .bill import DGRAD, WGRAD, Bill
from .flow import Flow, key, node_key
from .gauge import is_weight
from .graph_nodes import GraphNode
from .recorder import Grad, Recorder


@dataclass(eq=False)
class Unit:
    """One gradient's share of one backward operation."""

    path: str
    role: str
    flops: int
    towards: list[Any]  # keys of the autograd nodes (or leaves) that get the gradient
    node: GraphNode


@dataclass(eq=False)
class Costs:
    """The costs of one recording."""

    flow: Flow
    units: list[Unit] = field(default_factory=list)
    by_path: dict[str, Bill] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)  # modules a gradient went through
    taken: set[GraphNode] = field(default_factory=set)
    weights: set[int] = field(default_factory=set)  # identities of the leaves that are no data

    def __post_init__(self) -> None:
        recording = self.flow.recording
        made = [spot.tensor for spot in recording.watch.made_parameters]
        unregistered = [tensor for _, tensors in recording.hidden for tensor in tensors]
        self.weights = {id(tensor) for tensor in (*recording.parameters.values(), *made, *unregistered)}
        for op in recording.recorder.ops:
            self.bill(op.path).forward_flops += op.flops
        for grad in recording.recorder.grads:
            self._account(recording.recorder, grad)
        for node in recording.recorder.backward_nodes:
            if node.meta["phase"] == "recompute":
                self.bill(_path_of(node)).recompute_flops += node.meta["flops"]
        for path, saved in recording.saved.items():
            self.bill(path).saved_bytes += saved

    def bill(self, path: str) -> Bill:
        return self.by_path.setdefault(path, Bill())

    def total(self) -> Bill:
        return sum(self.by_path.values(), Bill())

    def _account(self, recorder: Recorder, grad: Grad) -> None:
        own = [node for node in recorder.backward_nodes[grad.first : grad.last] if node not in self.taken]
        self.taken.update(own)
        op = recorder.op_of.get(grad.node)
        path = op.path if op else ""
        if grad.received:
            self.passed.add(path)
        heavy = [
            node for node in own if node.meta["phase"] == "backward" and (node.meta["flops"] or node.meta["parts"])
        ]
        if not heavy:
            return
        wanted = _wanted(recorder, grad, set(own))
        for node in heavy:
            for part, flops in node.meta["parts"].items() or [(None, node.meta["flops"])]:
                towards = [target for target, uses in wanted if (node, part) in uses]
                unit = Unit(path, self._role(towards, part), flops, towards, node)
                node.meta.setdefault("role", unit.role)
                self.units.append(unit)
                self.bill(path).add(unit.role, flops)

    def _role(self, towards: list[Any], part: int | None) -> str:
        if not towards:  # nobody wants it; an LSTM layer's kernel computes its weights' part all the same
            return WGRAD if part == 1 else DGRAD
        return DGRAD if any(self._is_data(target) for target in towards) else WGRAD

    def _is_data(self, target: Any) -> bool:
        if isinstance(target, int):  # a leaf, by identity
            return target not in self.weights
        known = self.flow.node_is_data.get(target)
        return known if known is not None else not is_weight(target)  # a node of what a checkpoint ran again

    def without(self, leaves: Iterable[Tensor]) -> Bill:
        """Backward's sums if these leaves did not require grad."""
        gone = {id(leaf) for leaf in leaves}
        needed: dict[Any, bool] = {}
        total = Bill()
        for unit in self.units:
            if not unit.towards or any(_needed(target, gone, needed) for target in unit.towards):
                total.add(unit.role, unit.flops)
        return total


def _needed(target: Any, gone: set[int], known: dict[Any, bool]) -> bool:
    """Whether any leaf behind `target` still requires grad."""
    todo = [(target, False)]
    while todo:
        node, expanded = todo.pop()
        if node in known and not expanded:
            continue
        if isinstance(node, int):
            known[node] = node not in gone
            continue
        following = [node_key(n) for n, _ in node.next_functions if n is not None]
        if expanded:
            known[node] = any(known[n] for n in following) if following else True
        else:
            todo.append((node, True))
            todo.extend((n, False) for n in following if n not in known)
    return known[target]


def _wanted(recorder: Recorder, grad: Grad, own: set[GraphNode]) -> list[tuple[Any, set[tuple[GraphNode, int | None]]]]:
    """For each gradient handed on: who gets it, and the (operation, index of its result) it was computed with."""
    found = []
    for (following, _), result in zip(grad.node.next_functions, grad.results):
        if following is None or result is None or id(result) not in recorder.nodes:
            continue
        found.append((key(node_key(following)), _slice(recorder.nodes[id(result)], own)))
    return found


def _slice(start: GraphNode, own: set[GraphNode]) -> set[tuple[GraphNode, int | None]]:
    uses: set[tuple[GraphNode, int | None]] = set()
    todo: list[tuple[GraphNode, int | None]] = [(start, None)]
    seen = set()
    while todo:
        node, part = todo.pop()
        if node.target is getitem:
            todo.append((node.args[0], node.args[1]))
            continue
        if node not in own or (node, part) in seen:
            continue
        seen.add((node, part))
        uses.add((node, part))
        uses.add((node, None))
        todo.extend((source, None) for source in node.all_input_nodes)
    return uses


def _path_of(node: GraphNode) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    return next(reversed(stack), "")
