"""Times and counts one piece of work with a change and without it: medians in turns, operations by role, bytes held.

Operations are attributed through autograd's own nodes: what a node hands on to a parameter is wgrad, anything else
dgrad, and an operation that computes both says so in its output mask. No kernel's name is asked.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from . import flops, kernels
from .recorder import tensors
from .watch import autograd_nodes

DGRAD, WGRAD = "dgrad", "wgrad"
BUDGET_S = 1.0  # for the timed turns of one comparison, unless a single turn takes longer
FEWEST, MOST = 3, 31
Numbers = dict[str, float]


class NoTimeError(RuntimeError):
    """A turn takes longer than there is time for."""


def compare(what: str, now: Work, without: Work, device: torch.device, left_s: float = float("inf")) -> Numbers:
    """Milliseconds, operations and bytes of both; raises what the work raises."""
    clock = Clock(device)
    first = clock.ms(now)
    if first * 2 * (FEWEST + 3) > left_s * 1000:
        raise NoTimeError(f"one takes {first / 1000:.1f} s, and {max(left_s, 0):.0f} s are left for the run")
    numbers: Numbers = {}
    for suffix, work in (("", now), ("_without", without)):
        count = Count()
        try:
            with count:
                work(count)
        finally:
            count.close()
        numbers[f"dgrad_operations{suffix}"] = count.roles[DGRAD]
        numbers[f"wgrad_operations{suffix}"] = count.roles[WGRAD]
        numbers[f"peak_bytes{suffix}"] = count.peak
        if device.type == "cuda":
            launches = kernels.counted(work, count.sequence)
            numbers.update({f"{name}{suffix}": launched for name, launched in launches.items()})
    turns: dict[str, list[float]] = {"": [], "_without": []}
    begun, rounds = time.monotonic(), 0
    while rounds < FEWEST or (rounds < MOST and time.monotonic() - begun < BUDGET_S):
        turns[""].append(clock.ms(now))
        turns["_without"].append(clock.ms(without))
        rounds += 1
    numbers["rounds"] = rounds
    numbers["rounds_faster_without"] = sum(now > without for now, without in zip(*turns.values()))
    for suffix, times in turns.items():
        numbers[f"{what}_ms{suffix}"] = statistics.median(times)
        numbers[f"{what}_spread_ms{suffix}"] = spread(times)
    return numbers


def spread(times: list[float]) -> float:
    """Half the distance between the quartiles."""
    low, _, high = statistics.quantiles(times, n=4)
    return (high - low) / 2


class Clock:
    """Milliseconds of a piece of work, by CUDA's events where it runs there."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def ms(self, work: Work) -> float:
        if self.device.type != "cuda":
            begun = time.perf_counter()
            work(None)
            return (time.perf_counter() - begun) * 1000
        with torch.cuda.device(self.device):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
            start.record()
            work(None)
            end.record()
            torch.cuda.synchronize()
            return float(start.elapsed_time(end))


class Made:
    """One operation of the autograd node that runs: how many gradients it computes by heavy work, and of what."""

    __slots__ = ("alive", "heavy", "inputs", "name", "outputs")

    def __init__(self, name: str, heavy: int, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        self.name, self.heavy = name, heavy
        self.inputs, self.outputs = {id(one) for one in inputs}, {id(one) for one in outputs}
        self.alive = (inputs, outputs)  # so that no id is given anew


class Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts dgrad and wgrad operations, and the bytes of tensors made and still held, at their highest."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.roles = {DGRAD: 0, WGRAD: 0}
        self.sequence: kernels.Sequence = []
        self.peak = 0
        self.held: dict[int, tuple[Any, int]] = {}
        self.made: list[Made] = []
        self.running = False
        self.handles: list[Any] = []

    def listen(self, roots: Iterable[Tensor]) -> None:
        """Hear when the nodes behind the roots run, until `close`."""
        for node in autograd_nodes(list(roots)):
            if type(node).__name__ != "AccumulateGrad":
                self.handles.append(node.register_prehook(self._begun))
                self.handles.append(node.register_hook(self._ended(node)))

    def close(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.handles, self.made, self.held = [], [], {}

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = list(tensors(result))
        self.hold(outputs)
        if self.running:
            name = func._schema.name
            heavy = len(flops.parts(name, args, result)) or int(flops.flops(name, args, result) > 0)
            self.made.append(Made(name, heavy, list(tensors((args, kwargs or {}))), outputs))
        return result

    def hold(self, outputs: list[Tensor]) -> None:
        for tensor in outputs:
            if tensor.layout == torch.strided:
                storage = tensor.untyped_storage()
                if storage._cdata not in self.held:
                    weak: Any = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                    self.held[storage._cdata] = (weak, storage.nbytes())
        self.held = {key: row for key, row in self.held.items() if not row[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.held.values()))

    def _begun(self, _grads: Any) -> None:
        self.made, self.running = [], True

    def _ended(self, node: Any) -> Callable[[Any, Any], None]:
        def ended(results: Any, _grads: Any) -> None:
            ways = zip(node.next_functions, results)
            wanted = [(after, result) for (after, _), result in ways if after is not None and result is not None]
            for index, made in enumerate(self.made):
                if made.heavy:
                    self._attribute(index, made.heavy, wanted)
            self.made, self.running = [], False

        return ended

    def _attribute(self, index: int, heavy: int, wanted: list[tuple[Any, Tensor]]) -> None:
        """One heavy operation of the node: which of the gradients it hands on were made of it."""
        roles = [
            WGRAD if is_weight(following) else DGRAD for following, result in wanted if index in self._behind(result)
        ]
        if heavy == 1:
            roles = [DGRAD if DGRAD in roles or not roles else WGRAD]
        for role in roles[:heavy]:
            self.roles[role] += 1
        self.sequence.append((self.made[index].name, frozenset(roles[:heavy])))

    def _behind(self, result: Tensor) -> set[int]:
        """Indices of the running node's operations that a gradient was made of."""
        todo = {id(result)}
        found: set[int] = set()
        for index in range(len(self.made) - 1, -1, -1):
            if todo & self.made[index].outputs:
                found.add(index)
                todo |= self.made[index].inputs
        return found


Work = Callable[["Count | None"], Any]  # told of the counter while it is counted


def is_weight(node: Any, depth: int = 8) -> bool:
    """Whether a gradient goes to a parameter alone: through nothing but views and casts of it."""
    metadata = getattr(node, "_input_metadata", None)
    handed = prod(metadata[0].shape) if metadata else None
    while depth and type(node).__name__ != "AccumulateGrad":
        following = [after for after, _ in node.next_functions]
        if len(following) != 1 or following[0] is None:
            return False
        node, depth = following[0], depth - 1
    variable = getattr(node, "variable", None)
    return isinstance(variable, nn.Parameter) and handed in (None, variable.numel())
