"""The monitor's view of backward passes and optimizer steps: who got a gradient, who used it, what moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .ledger import Backward, Leaf, Ledger, now
from .places import Place, Places
from .record import Flow
from .tape import Node, leaves
from .trials import Trials


class Passes:
    """Mixed into the Monitor."""

    places: Places
    flow: Flow
    ledger: Ledger
    trials: Trials
    event: Callable[..., None]
    safely: Callable[..., Any]
    on_step: Callable[[], None]
    autocasts: list[Any]
    passed: int
    steps: int

    def backward(
        self, roots: list[Tensor], kind: str, inputs: list[Tensor] | None = None, create_graph: bool = False
    ) -> Backward:
        place = self.places.here(4)
        nodes = [self.root_node(root) for root in roots]
        found: dict[int, Leaf] = {}
        for root in roots:
            for variable in (
                leaves(root.grad_fn) if root.grad_fn is not None else ([root] if root.requires_grad else [])
            ):
                leaf = self.ledger.leaf(variable)
                if leaf is not None:
                    found[id(leaf)] = leaf
        if kind == "grad":
            wanted = {id(self.ledger.leaf(tensor, make=False)) for tensor in inputs or []}
            for tensor in inputs or []:
                known = self.flow.of(tensor)
                if known is not None:
                    known.asked = True
            scalar = len(roots) == 1 and roots[0].numel() == 1 and not create_graph
            for leaf in found.values():
                if id(leaf) in wanted:
                    leaf.read_by.append(place)
                    leaf.attacked |= scalar and not leaf.is_parameter
        event = Backward(place, nodes, set(found), kind)
        if inputs is not None and kind == "backward":
            only = {id(self.ledger.leaf(tensor)) for tensor in inputs}
            found = {key: leaf for key, leaf in found.items() if key in only}
            event.reached &= set(found)
        if kind == "backward":
            for leaf in found.values():
                leaf.reached += 1
                leaf.pending.append(event)
        event.leaves = list(found.values())
        event.inputs_given = inputs is not None
        event.optimises_inputs = kind == "grad" and any(leaf.attacked and id(leaf) in wanted for leaf in found.values())
        event.since, self.passed = self.passed, max((node.order for node in nodes), default=self.passed)
        self.flow.epoch = self.passed
        self.ledger.backwards.append(event)
        return event

    def run_backward(
        self,
        roots: list[Tensor],
        kind: str,
        inputs: list[Tensor] | None,
        run: Callable[[], Any],
        *,
        create_graph: bool = False,
        weights: Any = None,
    ) -> Any:
        if self.flow.quiet:
            return run()
        event = self.safely(self.backward, roots, kind, inputs, create_graph)
        if event is not None and kind == "backward" and inputs is None and not create_graph and self.trials.waiting():
            self.safely(self.trials.measure, event, roots, weights)
        try:
            with self.flow.aside():
                result = run()
        except RuntimeError as error:
            if event is not None:
                event.error = str(error)
            raise
        if kind == "grad":
            self.safely(self.derived, result)
        return result

    def derived(self, result: Any) -> None:
        """Gradients made by autograd.grad are values of their own when they carry a graph."""
        for gradient in result:
            if isinstance(gradient, Tensor) and gradient.requires_grad:
                self.flow.bind(gradient, self.flow.adopt(gradient))

    def root_node(self, root: Tensor) -> Node:
        node = self.flow.of(root)
        if node is None:
            node = Node("value", "?", self.places.here(5), root.requires_grad)
        return node

    def cleared(self, leaves_: list[Leaf], place: Place | None) -> None:
        """`.grad` of these is emptied: what no optimizer has stepped is thrown away."""
        for leaf in leaves_:
            leaf.zeroed_at = place
            for event in leaf.pending:
                if not any(opt in event.steppers for opt in leaf.optimizers or event.steppers):
                    event.discarded.append((place, leaf))
            leaf.pending = []

    def stepping(self, optimizer: Any) -> list[tuple[Leaf, Tensor, bool]]:
        """Before a step: which parameters have a gradient; copies of those that must not move."""
        entry = self.ledger.optimizer(optimizer)
        if entry is None:
            return []
        entry.step_at = self.places.here(4)
        watched = []
        any_gradient = False
        for group in optimizer.param_groups:
            zero_lr = not float(group.get("lr", 1.0))
            for parameter in group["params"]:
                leaf = self.ledger.leaf(parameter)
                assert leaf is not None
                leaf.wanted |= parameter.requires_grad or bool(leaf.pending)
                entry.zero_lr[id(leaf)] = zero_lr and entry.zero_lr.get(id(leaf), True)
                leaf.written_back |= written_back(leaf, parameter)
                gradient = parameter.grad
                if gradient is None:
                    leaf.no_gradient += 1
                    continue
                fresh = any(event.seq > entry.last_step for event in leaf.pending)
                nonzero = bool(leaf.pending) and (leaf.had_gradient > 0 or not_zero(gradient))
                leaf.had_gradient += nonzero
                leaf.zero_gradient += not nonzero
                any_gradient |= nonzero
                for event in leaf.pending:
                    if entry not in event.steppers:
                        event.steppers.append(entry)
                if (not parameter.requires_grad and not fresh) or leaf.masked:
                    watched.append((leaf, parameter.detach().clone(), fresh))
        entry.last_step = now()
        entry.steps += 1
        entry.first_step = entry.first_step or now()
        entry.scheduled |= any(group.get("initial_lr", 0) for group in optimizer.param_groups)
        for region in self.autocasts:
            self.stepped_inside(region)
        entry.empty_steps += not any_gradient
        return watched

    def called_back(self, optimizer: Any) -> None:
        """The optimizer runs forward and backward itself, as often as it likes."""
        entry = self.ledger.optimizer(optimizer)
        if entry is not None:
            entry.closure = True

    def stepped_inside(self, region: list[Any]) -> None:
        """A step inside an autocast region that cached casts of the weights: the next forward in it is stale."""
        if region[2] and torch.is_autocast_cache_enabled():
            region[3] += 1
            if region[3] == 2:
                self.event("stale_autocast", region[1], step=self.places.here(), text="step")

    def stepped(self, optimizer: Any, watched: list[tuple[Leaf, Tensor, bool]]) -> None:
        for leaf, before, fresh in watched:
            parameter = leaf.ref()
            if parameter is None or parameter.shape != before.shape:
                continue
            with torch.no_grad():
                change = (parameter.detach() - before).abs()
                if not parameter.requires_grad and not fresh:
                    leaf.moved_frozen = max(leaf.moved_frozen, float(change.max()))
                if leaf.masked and parameter.grad is not None:
                    still = parameter.grad == 0
                    if bool(still.any()):
                        leaf.moved_masked = max(leaf.moved_masked, float(change[still].max()))
                        leaf.kept = (still & (change > 0), before)
        self.event("step", self.places.here(4), optimizer=self.ledger.optimizer(optimizer))
        self.steps += 1
        self.on_step()


def written_back(leaf: Leaf, parameter: Tensor) -> bool:
    """Whether any of what the last step moved under a zero gradient holds its earlier value again."""
    if leaf.kept is None or leaf.kept[1].shape != parameter.shape:
        return False
    moved, before = leaf.kept
    leaf.kept = None
    with torch.no_grad():
        return bool((parameter[moved] == before[moved]).any())


def not_zero(gradient: Tensor) -> bool:
    """Whether any element differs from zero; asked until the first time it does."""
    if gradient.layout != torch.strided or gradient.is_meta:
        return True
    return bool(gradient.any())
