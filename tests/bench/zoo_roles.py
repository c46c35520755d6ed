"""dgrad and wgrad operations of a real backward: counted by torch's profiler, told apart by asking autograd for less.

A whole backward is profiled; then, after a fresh forward, `torch.autograd.grad` is asked for the gradients of those
values only that depend on an input. autograd's engine itself then leaves out each gradient that no such value needs,
by not running a node, or by the mask it hands to the node's kernel. What the profiler still sees is dgrad, the rest of
the whole backward wgrad. An operation that serves both is dgrad, as both need it. Nothing here reads a formula, a
slice or a role of the recorder, and no operation is attributed by its shapes or its name.

Which values depend on an input is followed in the forward by the storages that operations read and write (`Data`).
A value made of parameters alone (a transposed weight, a table of position biases) is the weights' side of the graph. A
leaf that requires grad and is no parameter counts as an input, whoever made it: its gradient is no weight's.

Two kernels compute several gradients in one operation. A convolution's says in its arguments which of them it
computes. An LSTM layer's on the CPU always computes two, for its input and for its weights, whoever wants them: it
counts once as each. An operation under autograd inside a backward recomputes (checkpointing); it has no role. The last
one that a checkpoint runs again is broken off as soon as autograd has saved its operands: it leaves an event with
nothing below it but their detaching, and is not counted, as nothing was computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Operations = Counter[str]  # "mm dgrad", "convolution_backward wgrad", "addmm recompute"
DGRAD, WGRAD, RECOMPUTE = "dgrad", "wgrad", "recompute"

HEAVY = frozenset("mm bmm mv dot addmm addbmm baddbmm addmv _addmm_activation _grouped_mm convolution".split())
CONVOLUTION, LSTM, ATTENTION = "convolution_backward", "mkldnn_rnn_layer", "_scaled_dot_product"
SHAPES_ONLY = ("_like", "new_empty", "new_zeros", "new_ones", "new_full")  # nothing that these read is a value


def operations(forward: Callable[[], list[Tensor]], inputs: Any) -> Operations:
    """The heavy operations of a real backward by name and role; `forward` makes the tensors it starts from."""
    ends = forward()
    with profiled() as whole:
        if ends:
            torch.autograd.backward(ends, ones(ends))
    with Data(inputs) as data:
        ends = forward()
        with profiled() as asked, data.in_nested_backwards():
            data.backward(ends, ones(ends))
    needed = Counter(heavy(asked))
    found: Operations = Counter()
    for name, count in Counter(heavy(whole)).items():
        if name.endswith(RECOMPUTE):
            found[name] = count
        elif name.startswith(LSTM):
            found.update({f"{name} {DGRAD}": count, f"{name} {WGRAD}": count})
        else:
            found.update({f"{name} {DGRAD}": needed[name], f"{name} {WGRAD}": count - needed[name]})
    return Counter({name: count for name, count in found.items() if count})


def ones(ends: list[Tensor]) -> list[Tensor]:
    return [torch.ones_like(end) for end in ends]


def profiled() -> Any:
    return torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True)


def heavy(profile: Any) -> Iterator[str]:
    """Names of the heavy operations, outermost first; once for each gradient that a convolution computes."""
    ends: dict[int, int] = {}  # by thread: what begins before is part of a heavy operation
    events = sorted(profile.profiler.kineto_results.events(), key=lambda event: (event.start_ns(), -event.end_ns()))
    for index, event in enumerate(events):
        if not is_heavy(event.name()) or event.start_ns() < ends.get(event.start_thread_id(), 0):
            continue
        ends[event.start_thread_id()] = event.end_ns()
        if any(0 in shape for shape in event.shapes()[:3]):
            continue  # it works on nothing
        name = event.name().removeprefix("aten::")
        if event.sequence_nr() >= 0:  # autograd counts what it differentiates
            if any(not below.name().endswith("detach") for below in within(event, events[index + 1 :])):
                yield f"{name} {RECOMPUTE}"
        elif name == CONVOLUTION:
            mask = next(value for value in reversed(event.concrete_inputs()) if isinstance(value, list))
            yield from [name] * sum(map(bool, mask[:2]))
        else:
            yield name


def within(event: Any, later: list[Any]) -> Iterator[Any]:
    return takewhile(lambda one: one.start_ns() < event.end_ns(), later)


def is_heavy(name: str) -> bool:
    name = name.removeprefix("aten::")
    return name in HEAVY or name == CONVOLUTION or name.startswith((LSTM, ATTENTION))


class Data(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what depends on the inputs, by storage, and which autograd nodes stand for such values."""

    def __init__(self, inputs: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.storages: dict[int, Any] = {}  # held, so that no storage takes another's place
        self.nodes: dict[Any, bool] = {}
        self.backward_runs = False
        self.mark(inputs)

    def mark(self, values: Any) -> None:
        for tensor in tensors(values):
            storage = tensor.untyped_storage()
            self.storages[storage._cdata] = storage

    def __contains__(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self.storages

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.backward_runs and not torch.is_grad_enabled():  # but what a checkpoint runs again is a forward
            return func(*args, **kwargs)
        operands = tensors((args, kwargs))
        for tensor in operands:
            self.meet(tensor)
        out = func(*args, **kwargs)
        if not any(word in func._schema.name for word in SHAPES_ONLY) and any(tensor in self for tensor in operands):
            self.mark(out)
        return out

    def meet(self, tensor: Tensor) -> None:
        with torch._C.DisableTorchFunction():
            node = tensor.grad_fn
        if node is not None:
            self.nodes[node] = self.nodes.get(node, False) or tensor in self
        elif tensor.requires_grad and not isinstance(tensor, nn.Parameter) and not tensor._is_view():
            self.mark(tensor)

    def backward(self, ends: list[Tensor], grads: list[Tensor]) -> None:
        """The gradients of values that depend on an input, and of no other."""
        for end in ends:
            self.meet(end)
        frontier = self.frontier([end.grad_fn for end in ends if end.grad_fn is not None])
        if not frontier:
            return
        before, self.backward_runs = self.backward_runs, True
        edges = [GradientEdge(node, 0) for node in frontier]
        results = torch.autograd.grad(ends, edges, grads, allow_unused=True)  # type: ignore[arg-type]
        for node, result in zip(frontier, results, strict=True):
            if hasattr(node, "variable"):
                node.variable.grad = result
        self.backward_runs = before

    def frontier(self, roots: list[Any]) -> list[Any]:
        """The nodes of values that depend on an input behind which there is no other such value."""
        depends: dict[Any, bool] = {}
        found = []
        todo = [(root, False) for root in roots]
        while todo:
            node, expanded = todo.pop()
            following = [after for after, _ in node.next_functions if after is not None]
            if expanded:
                behind = any(depends[after] for after in following)
                depends[node] = behind or self.is_data(node)
                if depends[node] and not behind:
                    found.append(node)
            elif node not in depends:
                depends[node] = False
                todo.append((node, True))
                todo.extend((after, False) for after in following if after not in depends)
        return found

    def is_data(self, node: Any) -> bool:
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            return not isinstance(variable, nn.Parameter)
        return self.nodes.get(node, False)

    @contextmanager
    def in_nested_backwards(self) -> Iterator[None]:
        """A backward inside a backward (reentrant checkpointing) is asked for as little as the outer one."""

        def again(ends: Any, grads: Any = None, *_more: Any, **_options: Any) -> None:
            self.backward(list(ends), list(grads))

        with (
            mock.patch.object(torch.autograd, "_is_checkpoint_valid", return_value=True),
            mock.patch.object(torch.autograd, "backward", again),
        ):
            yield


def tensors(values: Any) -> list[Tensor]:
    """Those that have a storage."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.layout == torch.strided]
