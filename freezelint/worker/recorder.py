"""Records one forward and backward: every operation under autograd goes into one `torch.fx.Graph`.

A node's meta: `val` (the result), `nn_module_stack`, `stack_trace` (the user's lines), `requires_grad`, `grad_mode`,
`phase` (forward, recompute, backward), `seq_nr` (joins backward to forward) and `flops`. Beside the graph stand the
`Op`s of the forward pass with what autograd knew before and after each, from which `flow` builds the gradient map, and
a `Grad` for every autograd node that ran, from which `cost` tells dgrad from wgrad.
"""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from operator import getitem
from types import CodeType
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.passes.shape_prop import TensorMetadata
from torch.utils._python_dispatch import TorchDispatchMode

from . import flops
from .fake_kernels import own_property
from .frames import Line, user_stack
from .graph_nodes import GraphNode, as_graph
from .shadow import Shadows

NOT_IN_NAMES = re.compile(r"\W")
GradOff = tuple[str, "Line | None", str]  # (cause, line, module path) of what switched grad mode off


@dataclass(eq=False)
class Op:
    """One operation of the forward pass. A tensor's autograd node is its `grad_fn`, or the tensor itself for a leaf."""

    name: str  # "aten::mm"
    node: GraphNode
    inputs: list[tuple[Tensor, bool, Any]]  # tensor, whether it required grad, its autograd node
    outputs: list[Tensor]  # returned or written to
    written: list[Tensor]
    path: str
    line: Line | None
    grad_mode: bool
    inference: bool
    api: str  # "detach", "data", ... as user code called it
    region: int  # index of the outermost autograd.Function whose forward runs; -1: none
    grad_off: GradOff | None
    flops: int = 0
    after: list[tuple[bool, Any]] = field(default_factory=list)  # of each output, once autograd is done with it


@dataclass(eq=False)
class Grad:
    """One autograd node that ran: its operations, and which gradients it handed on."""

    node: Any
    first: int  # index of its first operation among the recorder's backward nodes
    received: bool
    phase: str
    last: int = 0
    results: list[Tensor | None] = field(default_factory=list)  # by next function


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The dispatch mode; `watch.Watch` tells it what dispatch cannot see: modules, API names, grad-mode switches."""

    def __init__(self, mode: FakeTensorMode | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shadows = Shadows(mode)
        self.phase = "forward"
        self.ops: list[Op] = []
        self.recorded: list[GraphNode] = []  # in the order of their making
        self.returned: list[GraphNode] = []  # what the graph gives back
        self.backward_nodes: list[GraphNode] = []
        self.grads: list[Grad] = []
        self.modules: list[tuple[str, str]] = []  # (path, class) of the running modules, outermost first
        self.regions: list[int] = []
        self.api = ""
        self.grad_off: GradOff | None = None
        self.nodes: dict[int, GraphNode] = {}
        self.alive: list[Any] = []  # keeps ids unique
        self.op_of: dict[Any, Op] = {}  # autograd node -> the operation that made it
        self._unsettled: list[tuple[Op, int]] = []
        self._running: list[Grad] = []
        self._stacks: dict[tuple[tuple[str, str], ...], dict[str, tuple[str, str]]] = {}

    @cached_property
    def graph(self) -> fx.Graph:
        """Everything that was recorded until it is first asked for."""
        return as_graph(self.recorded, self.returned)

    def give_back(self, results: list[Tensor]) -> None:
        """Make these tensors what the graph returns."""
        with torch._C.DisableTorchFunction():
            self.returned = [self._map(tensor) for tensor in results]

    def placeholder(self, tensor: Tensor, name: str, role: str) -> GraphNode:
        """Make a parameter, buffer, input or constant an input of the graph."""
        meta = {"val": tensor, "role": role, "target": name, "phase": "forward", "requires_grad": tensor.requires_grad}
        node = GraphNode(NOT_IN_NAMES.sub("_", f"{role[0]}_{name}"), (), {}, meta)
        self.alive.append(tensor)
        self._keep(node, tensor)
        return node

    def _keep(self, node: GraphNode, result: Any) -> None:
        self.recorded.append(node)
        if isinstance(result, Tensor):
            self.nodes[id(result)] = node

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "prim":
            if torch._C._len_torch_function_stack():  # a custom Function is at its end: before autograd makes its node
                self.settle()
            return own_property(func, args, kwargs or {})
        with torch._C.DisableTorchFunction():
            return self._record(func, args, kwargs or {})

    def settle(self, only: list[Tensor] | None = None) -> None:
        """Note what autograd made of the latest results; it does so only after their dispatch is over.

        With `only`, called from within a dispatch, views that are not among these tensors wait: autograd may be at work
        on one of them, holding the lock that reading its `grad_fn` takes.
        """
        pending, self._unsettled = self._unsettled, []
        with torch._C.DisableTorchFunction():
            for op, index in pending:
                out = op.outputs[index]
                if only is not None and out._is_view() and not any(out is one for one in only):
                    self._unsettled.append((op, index))
                    continue
                node = autograd_node(out)
                op.after[index] = (out.requires_grad, node)
                for made in {op.node, self.nodes.get(id(out), op.node)}:  # of several results, its own node, too
                    made.meta["requires_grad"] = made.meta.get("requires_grad", False) or out.requires_grad
                if node is not None and not isinstance(node, Tensor):
                    self.op_of.setdefault(node, op)

    def _record(self, func: Any, args: Any, kwargs: Any) -> Any:
        ins = unique(tensors((args, kwargs)))
        self.settle(only=ins)
        phase = "recompute" if self.phase == "backward" and torch.is_grad_enabled() else self.phase
        before = [(t, t.requires_grad, autograd_node(t)) for t in ins] if phase == "forward" else []
        out = self.shadows.run(func, args, kwargs, ins)
        if not isinstance(out, (Tensor, tuple, list)) and not func._schema.is_mutable:
            return out
        node = self._add_node(func, args, kwargs, out)
        cost = flops.flops(func._schema.name, args, out)
        node.meta.update(phase=phase, flops=cost, parts=flops.parts(func._schema.name, args, out))
        if phase == "forward":
            self._add_op(func, node, before, out, mutated(func, args, kwargs), cost)
        else:
            self.backward_nodes.append(node)
        return out

    def rebind(self, setter: Callable[[Tensor, Tensor], None], tensor: Tensor, data: Tensor) -> None:
        """`tensor.data = data`, which torch does not dispatch, as an operation that writes to `tensor`."""
        func, outer = torch.ops.aten.set_data.default, self.api
        before = [(t, t.requires_grad, autograd_node(t)) for t in (tensor, data)]
        setter(tensor, data)
        self.api = "data"
        if self.phase == "forward":
            self._add_op(func, self._add_node(func, (tensor, data), {}, None), before, None, [tensor], 0)
        self.api = outer

    def _add_op(self, func: Any, node: GraphNode, before: Any, out: Any, written: list[Tensor], cost: int) -> None:
        stack = user_stack(sys._getframe(3))
        node.meta["stack_trace"] = stack_text(tuple(stack))
        op = Op(
            func._schema.name, node, before, unique([*tensors(out), *written]), written,
            self.modules[-1][0] if self.modules else "",
            (stack[0][0].co_filename, stack[0][1]) if stack else None,
            torch.is_grad_enabled(), torch.is_inference_mode_enabled(), self.api,
            self.regions[0] if self.regions else -1, self.grad_off, cost,
        )  # fmt: skip
        op.after = [(False, None)] * len(op.outputs)
        self.ops.append(op)
        self._unsettled.extend((op, index) for index in range(len(op.outputs)))

    def _add_node(self, func: Any, args: Any, kwargs: Any, out: Any) -> GraphNode:
        meta = {
            "val": out,
            "nn_module_stack": self._module_stack(),
            "grad_mode": torch.is_grad_enabled(),
            "seq_nr": torch._C._autograd._get_sequence_nr() - 1,
        }
        node = GraphNode(func, self._map(args), self._map(kwargs), meta)
        self.alive.append(out)
        self._keep(node, out)
        if isinstance(out, Tensor):
            meta.update(described(out))
        elif isinstance(out, (tuple, list)):
            for index, item in enumerate(out):
                if isinstance(item, Tensor):
                    self._keep(GraphNode(getitem, (node, index), {}, {**meta, "val": item, **described(item)}), item)
        return node

    def _module_stack(self) -> dict[str, tuple[str, str]]:
        key = tuple(self.modules)
        stack = self._stacks.get(key)
        if stack is None:
            stack = self._stacks[key] = {path: (path, kind) for path, kind in key}
        return stack

    def _map(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.nodes.get(id(value)) or self.placeholder(value, "constant", "constant")
        if isinstance(value, (tuple, list)):
            return type(value)([self._map(item) for item in value]) if type(value) in (tuple, list) else value
        if isinstance(value, dict):
            return {key: self._map(item) for key, item in value.items()}
        return value

    def begin(self, node: Any, received: bool) -> None:
        """Autograd starts to run `node`."""
        self._running.append(Grad(node, len(self.backward_nodes), received, self.phase))

    def end(self, results: tuple[Tensor | None, ...]) -> None:
        """Autograd has run the node that began last; `results` are the gradients it hands on."""
        grad = self._running.pop()
        grad.last = len(self.backward_nodes)
        grad.results = list(results)
        self.grads.append(grad)


def described(t: Tensor) -> dict[str, Any]:
    """What fx's shape propagation says of a result; `requires_grad` is put right once autograd is done with it."""
    if not has_storage(t):
        return {}
    return {"tensor_meta": TensorMetadata(t.shape, t.dtype, t.requires_grad, t.stride(), None, False, {})}


def autograd_node(t: Tensor) -> Any:
    """`grad_fn`; the tensor itself for a leaf that requires grad; None for anything else.

    Torch raises where a view was made without grad mode and its storage was written to since. A model that only writes
    through such a view never reads its `grad_fn`, so that is no error of the model's: the view is what it was before.
    """
    try:
        node = t.grad_fn
    except RuntimeError:
        node = None
    return node if node is not None else (t if t.requires_grad else None)


def has_storage(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_nested


def tensors(value: Any) -> Iterator[Tensor]:
    return iter(gathered(value, []))


def gathered(value: Any, found: list[Tensor]) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts, added to `found`."""
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, (tuple, list)):
        for item in value:
            gathered(item, found)
    elif isinstance(value, dict):
        for item in value.values():
            gathered(item, found)
    return found


def unique(items: Any) -> list[Tensor]:
    return list({id(item): item for item in items}.values())


@cache
def _writes(func: Any) -> tuple[tuple[int, str], ...]:
    arguments = func._schema.arguments
    return tuple((i, a.name) for i, a in enumerate(arguments) if a.alias_info is not None and a.alias_info.is_write)


def mutated(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors among the arguments that the operation writes to."""
    if not func._schema.is_mutable:
        return []
    return list(tensors([args[i] if i < len(args) else kwargs.get(name) for i, name in _writes(func)]))


@cache
def stack_text(stack: tuple[tuple[CodeType, int], ...]) -> str:
    """The user's frames as Python prints them, outermost first."""
    return "".join(
        f'  File "{code.co_filename}", line {line}, in {code.co_name}\n'
        f"    {linecache.getline(code.co_filename, line).strip()}\n"
        for code, line in reversed(stack)
    )
