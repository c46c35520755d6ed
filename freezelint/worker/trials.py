"""Measured waste: a backward pass of the script, made once more on its own graph with and without what is wasted.

Before the script's own pass runs, autograd is asked for the gradients of every leaf the pass reaches, and then for
those of every leaf but the wasted ones, which is what it computes once the mistake is gone. Nothing is accumulated in
any `.grad`, the graph is kept and random streams are put back. A pass that would run Python code of anybody's (a hook,
a custom function, a checkpoint) is left alone, and the reason is told instead of a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .gauge import Count, Numbers, compare
from .ledger import Backward, Leaf
from .places import Place
from .watch import autograd_nodes

KINDS = frozenset({"wasted_input", "not_optimized", "frozen_stack", "teacher_under_grad", "other_network"})
NO_TURN = "the run ended before the pass came again"
Fact = dict[str, Any]
Key = tuple[str, tuple[Any, ...]]


class Trial:
    """One fact's leaves, and what leaving them out of a pass has shown."""

    def __init__(self, item: Fact) -> None:
        self.leaves: list[Leaf] = item["leaves"]
        self.kind: str = item["kind"]
        self.only_at: Place | None = item["pass_at"]
        self.numbers: Numbers = {}
        self.reason = ""

    @property
    def done(self) -> bool:
        return bool(self.numbers or self.reason)

    def concerns(self, event: Backward) -> set[int]:
        """Which leaves of a pass are the wasted ones: an input is made anew for each, at the same line."""
        if self.only_at is not None and event.place != self.only_at:
            return set()
        mine = {id(leaf) for leaf in self.leaves} & event.reached
        lines = {leaf.place for leaf in self.leaves if not leaf.is_parameter}
        return mine | {id(leaf) for leaf in event.leaves if not leaf.is_parameter and leaf.place in lines}


class Trials:
    def __init__(self) -> None:
        self.trials: dict[Key, Trial] = {}
        self.watched = ""  # why no pass of this script may be made twice
        self.left_s: Callable[[], float] = lambda: float("inf")  # until the run is to stop

    def propose(self, facts: Iterable[Fact]) -> None:
        for item in facts:
            if item["kind"] in KINDS and item["leaves"]:
                self.trials.setdefault(key_of(item), Trial(item))

    def waiting(self) -> list[Trial]:
        return [trial for trial in self.trials.values() if not trial.done]

    def settle(self, facts: list[Fact]) -> None:
        """Every fact of waste with its numbers, or with the reason why there are none."""
        for item in facts:
            trial = self.trials.get(key_of(item))
            if item["kind"] in KINDS:
                numbers = trial.numbers if trial is not None else {}
                item["numbers"].update(numbers)
                item["unmeasured"] = "" if numbers else (trial.reason if trial is not None else "") or NO_TURN
            del item["leaves"], item["pass_at"]

    def measure(self, event: Backward, roots: list[Tensor], weights: Any) -> None:
        """The trials whose leaves this pass reaches."""
        for trial in self.waiting():
            wasted = trial.concerns(event)
            if wasted:
                trial.reason = self.objection(roots)
                if not trial.reason:
                    self.attempt(trial, wasted, event, roots, weights)

    def attempt(self, trial: Trial, wasted: set[int], event: Backward, roots: list[Tensor], weights: Any) -> None:
        every = {id(leaf): tensor for leaf in event.leaves if (tensor := leaf.ref()) is not None}
        rest = [tensor for key, tensor in every.items() if key not in wasted]
        nodes = [node for node in autograd_nodes(roots) if type(node).__name__ != "AccumulateGrad"]
        gone = idle(nodes, {id(tensor) for tensor in rest})

        def asking(leaves: list[Tensor]) -> Callable[[Count | None], None]:
            def ask(count: Count | None) -> None:
                if count is not None:
                    count.listen(roots)
                if leaves:
                    torch.autograd.grad(roots, leaves, weights, retain_graph=True, allow_unused=True)

            return ask

        streams = Streams()
        try:
            whole, part = asking(list(every.values())), asking(rest)
            trial.numbers = compare("backward", whole, part, roots[0].device, self.left_s())
            trial.numbers["kept_bytes"] = kept_bytes(gone, [node for node in nodes if node not in gone], every.values())
        except Exception as error:  # a tensor of a kind of its own, most likely: its pass is made once, as ever
            trial.reason = f"the pass was not made twice: {' '.join(str(error).split())[:120]}"
        finally:
            streams.put_back()

    def objection(self, roots: list[Tensor]) -> str:
        """Why the pass must not be made twice, or an empty string."""
        if self.watched:
            return self.watched
        if dist.is_available() and dist.is_initialized():
            return "other processes wait for each pass"
        if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
            return "the script profiles itself"
        for node in autograd_nodes(roots):
            if isinstance(node, torch.autograd.function.BackwardCFunction):
                return f"the pass runs Python code ({type(node).__name__.removesuffix('Backward')})"
        return ""


def key_of(item: Fact) -> Key:
    return item["kind"], tuple(item["place"] or ())


def idle(nodes: list[Any], wanted: set[int]) -> set[Any]:
    """The autograd nodes that have nothing to do for these leaves."""
    serves: dict[Any, bool] = {}
    for start in nodes:
        todo = [(start, False)]
        while todo:
            node, expanded = todo.pop()
            if node in serves:
                continue
            following = [after for after, _ in node.next_functions if after is not None]
            if type(node).__name__ == "AccumulateGrad":
                serves[node] = id(node.variable) in wanted
            elif expanded:
                serves[node] = any(serves.get(after, False) for after in following)
            else:
                todo.append((node, True))
                todo.extend((after, False) for after in following)
    return {node for node in nodes if not serves[node]}


def kept_bytes(gone: Iterable[Any], staying: Iterable[Any], leaves: Iterable[Tensor]) -> int:
    """What only the idle nodes hold on to: the tensors that forward saved for them and for nobody else."""
    others = {tensor.untyped_storage()._cdata for tensor in leaves if tensor.layout == torch.strided}
    for node in staying:
        others |= {storage._cdata for storage in saved(node)}
    mine = {storage._cdata: storage.nbytes() for node in gone for storage in saved(node)}
    return sum(size for key, size in mine.items() if key not in others)


def saved(node: Any) -> Iterator[Any]:
    """The storages an autograd node keeps, parameters left out."""
    for name in dir(node):
        if not name.startswith("_saved_"):
            continue
        try:
            value = getattr(node, name)
        except RuntimeError:  # freed, or changed in place since
            continue
        for tensor in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(tensor, Tensor) and tensor.layout == torch.strided and not is_parameter(tensor):
                yield tensor.untyped_storage()


def is_parameter(tensor: Tensor) -> bool:
    base = tensor._base if tensor._is_view() else tensor
    return isinstance(base, torch.nn.Parameter)


class Streams:
    """torch's random streams as they stand now."""

    def __init__(self) -> None:
        self.host = torch.get_rng_state()
        self.devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]

    def put_back(self) -> None:
        torch.set_rng_state(self.host)
        if self.devices:
            torch.cuda.set_rng_state_all(self.devices)
