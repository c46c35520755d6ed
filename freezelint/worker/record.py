"""The record of a run: which tensor was made of which, where, and where the gradient was cut on the way.

`Flow` is a torch function mode. It sees every call of torch's API, runs it unchanged, and notes results that depend on
something trainable. It holds tensors weakly and takes part in nothing: no random number, no copy, no flag is touched.
"""

from __future__ import annotations

import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, _get_current_function_mode, _pop_mode, _push_mode

from .operations import HANDLING, KIND, Handling, classify, cut_cause, name_of
from .places import Place, Places
from .source_text import named_values, statement_lines
from .tape import (
    Call,
    Cut,
    Node,
    Region,
    connected,
    leaves,
    number_is_zero,
    tensors,
    written,
)

MOST_NODES = 400_000
MOST_EXPORTS = 20_000


class Flow(TorchFunctionMode):
    """Records values. `listeners` are called for the API calls that mean something beyond flow (see operations)."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places
        self.values: dict[int, tuple[weakref.ref[Tensor], Node]] = {}
        self.regions: list[Region] = []
        self.listeners: dict[str, Callable[..., Any]] = {}
        self.made = 0
        self.troubles: dict[str, Any] = {}  # errors of ours: what was missed, never shown to the script
        self.deep = True  # False: only what listeners need
        self.quiet = 0  # > 0: inside code that is not the user's forward (an optimizer step, ...)
        self.module = ""
        self.site: Place | None = None  # where the user calls the module that runs
        self.epoch = 0  # the record's length at the last backward pass
        self.stack: list[Any] = []  # the modules being called, the monitor's own list
        self.inside: list[Node] | None = None  # parameters met inside a reentrant checkpoint
        self.exported: dict[int, tuple[Any, Node, str, list[Place]]] = {}  # Python numbers and arrays made of values
        self.parameter_entry: Callable[[Tensor], Any] = lambda tensor: None
        self.on_error: Callable[[str, RuntimeError], None] = lambda name, error: None
        self.on_leaf: Callable[[Tensor, Tensor | None, bool, str], None] = lambda tensor, source, wants, via: None
        self.without_grad: dict[Any, tuple[int, set[int]]] = {}  # region -> operations, leaves that met it

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.quiet:
            return func(*args, **kwargs)
        handling = HANDLING.get(func) or classify(func)
        if handling is Handling.SKIP:
            if kwargs and kwargs.get("requires_grad") is True:
                return self.guarded(self.made_leaf, func, args, kwargs)
            return func(*args, **kwargs)
        if handling is Handling.LISTEN:
            listener = self.listeners.get(name_of(func))
            if listener is not None:
                return self.guarded(listener, func, args, kwargs)
            return func(*args, **kwargs)
        return self.guarded(self.record, func, args, kwargs) if self.deep else func(*args, **kwargs)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Inside code that is not the user's forward (an optimizer's step, a backward pass): nothing is heard, and
        where no other mode lies above this one, torch calls straight through."""
        on_top = _get_current_function_mode() is self  # type: ignore[no-untyped-call]
        self.quiet += 1
        if on_top:
            _pop_mode()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            if on_top:
                _push_mode(self)  # type: ignore[no-untyped-call]
            self.quiet -= 1

    def guarded(self, handler: Callable[..., Any], func: Any, args: Any, kwargs: Any) -> Any:
        """What the handler returns; the call's own error is the user's, any other is ours and goes no further."""
        call = Call(func)
        try:
            return handler(call, args, kwargs)
        except Exception as error:
            if call.error is error:
                raise
            self.trouble(error)
            return call.result if call.made else func(*args, **kwargs)

    def trouble(self, error: Exception) -> None:
        self.troubles[f"{type(error).__name__}: {str(error)[:120]}"] = traceback.extract_tb(error.__traceback__)[-1]

    def record(self, call: Call, args: Any, kwargs: Any) -> Any:
        name = call.name
        if name in KIND.remakers:
            return self.remake(call, args, kwargs)
        inputs = self.inputs(args, kwargs)
        if not inputs:
            return call(*args, **kwargs)
        before = [(tensor, node, tensor.grad_fn if node.grad else None) for tensor, node in inputs]
        grad_mode = torch.is_grad_enabled()
        try:
            result = call(*args, **kwargs)
        except RuntimeError as error:
            self.on_error(name, error)
            raise
        if name in KIND.exports:
            self.export(name, result, before)
            return result
        outputs = [args[0]] if name == "__setitem__" else list(tensors(result))
        if outputs:
            self.results(name, outputs, before, grad_mode, args, kwargs)
            if self.exported and name in KIND.scalar and any(type(value) is float for value in args):
                self.scaled(outputs[0])
        return result

    def inputs(self, args: Any, kwargs: Any) -> list[tuple[Tensor, Node]]:
        """The tensors among the arguments that carry, or once carried, a gradient."""
        found = []
        for tensor in tensors(args, kwargs):
            node = self.of(tensor)
            if node is not None:
                found.append((tensor, node))
                if self.inside is not None:
                    self.met(node)
        return found

    def of(self, tensor: Tensor) -> Node | None:
        """The node of a tensor; made on the way for a leaf or for a value that came from where nobody looked."""
        entry = self.values.get(id(tensor))
        if entry is not None and entry[0]() is tensor:
            return entry[1]
        if not tensor.requires_grad:
            if isinstance(tensor, torch.nn.Parameter) and tensor.is_leaf:
                return self.bind(tensor, self.leaf(tensor))
            return None
        return self.bind(tensor, self.leaf(tensor) if tensor.grad_fn is None else self.adopt(tensor))

    def bind(self, tensor: Tensor, node: Node) -> Node:
        self.values[id(tensor)] = (weakref.ref(tensor), node)
        return node

    def leaf(self, tensor: Tensor) -> Node:
        entry = self.parameter_entry(tensor)
        kind = "parameter" if entry is not None and entry.is_parameter else "input"
        node = Node(kind, "", entry.place if entry is not None else None, tensor.requires_grad)
        node.detail = entry
        return node

    def met(self, node: Node) -> None:
        if self.inside is not None and node.kind == "parameter" and node not in self.inside:
            self.inside.append(node)

    def adopt(self, tensor: Tensor) -> Node:
        """A value with a graph made unseen (a compiled model, another thread): its leaves, read from autograd."""
        node = Node("value", "?", self.places.here(), True)
        for variable in leaves(tensor.grad_fn):
            source = self.of(variable)
            if source is not None:
                node.into.append((source, None))
        return node

    def results(
        self, name: str, outputs: list[Tensor], before: list[Any], grad_mode: bool, args: Any, kwargs: Any
    ) -> None:
        if self.made > MOST_NODES:
            return
        place = self.places.here(4)
        carriers = [(tensor, node, fn) for tensor, node, fn in before if node.grad]
        plain = [node for _, node, _ in before if not node.grad]
        for output in outputs:
            if isinstance(output, torch.nn.Parameter) and output.is_leaf:
                if name.endswith("_") and before[0][1].detail is not None:
                    before[0][1].detail.averaged = True
                continue  # written in place: stays the parameter it is
            again = any(output is tensor for tensor, _, _ in before)
            if again and (name in KIND.same or not grad_mode):
                continue
            requires_grad = output.requires_grad and grad_mode  # a view made without grad mode claims to require it
            if output.is_leaf and requires_grad:
                continue
            self.made += 1
            node = Node("value", name, place, requires_grad)
            if requires_grad:
                node.into = [(source, None) for source in plain]
                node.into += self.ways(name, output, carriers, args, kwargs, place)
            else:
                node.into = self.cuts(name, carriers, plain, grad_mode, output, place)
            node.site = self.site
            node.shape = tuple(output.shape) if output.layout == torch.strided else ()
            for source, _ in node.into:
                source.used = True
                if source.detail is not None:
                    source.detail.used = True
            self.bind(output, node)

    def ways(
        self, name: str, output: Tensor, carriers: list[Any], args: Any, kwargs: Any, place: Place | None
    ) -> Iterator[tuple[Node, Cut | None]]:
        """The edges into a result with a graph; what autograd did not connect is cut here."""
        if name in KIND.zero_gradient:
            cut = Cut("zero_gradient", place, written(name), self.module)
            return iter([(node, cut) for _, node, _ in carriers])
        if name in KIND.products and any(number_is_zero(value) for value in (*args, *kwargs.values())):
            cut = Cut("zero_gradient", place, "a factor of zero", self.module)
            return iter([(node, cut) for _, node, _ in carriers])
        if len(carriers) == 1 or name in KIND.smooth:
            return iter([(node, None) for _, node, _ in carriers])
        fns = {id(fn) for _, _, fn in carriers if fn is not None}
        variables = {id(tensor) for tensor, _, fn in carriers if fn is None}
        met = connected(output.grad_fn, fns, variables)
        cut = Cut("non_differentiable", place, written(name), self.module)
        return iter(
            [(node, None if id(fn if fn is not None else tensor) in met else cut) for tensor, node, fn in carriers]
        )

    def cuts(
        self,
        name: str,
        carriers: list[Any],
        plain: list[Node],
        grad_mode: bool,
        output: Tensor,
        place: Place | None,
    ) -> list[tuple[Node, Cut | None]]:
        """The edges into a result without a graph; without grad mode, what had none already is cut once more."""
        if not carriers and grad_mode:
            return [(node, None) for node in plain]
        if name in KIND.cuts:
            cut = Cut(KIND.cuts[name], place, written(name), self.module)
        elif not grad_mode:
            cut = self.region_cut(place, name)
            self.met_region(cut, carriers)
            ways: list[tuple[Node, Cut | None]] = [(node, cut) for node in plain]
            return ways + [(self.handed(node, place), cut) for _, node, _ in carriers]
        else:
            cut = Cut(cut_cause(name, output), place, written(name), self.module)
        return [(node, None) for node in plain] + [(node, cut) for _, node, _ in carriers]

    def region_cut(self, place: Place | None, name: str) -> Cut:
        region = next((region for region in reversed(self.regions) if not region.enabled), None)
        cause = "inference_mode" if torch.is_inference_mode_enabled() else "no_grad"
        if region is None or region.place is None:
            return Cut(cause, place, written(name), self.module, place)
        cut = Cut(cause, region.place, region.text, self.module, self.scope(region) or place)
        cut.bare = region.bare
        return cut

    def handed(self, node: Node, place: Place | None) -> Node:
        """The node itself, or its value where it was handed into the region rather than used by its own layer there."""
        region = next((region for region in reversed(self.regions) if not region.enabled), None)
        inside = self.stack[region.depth :] if region is not None else self.stack
        if node.kind == "value" or (node.detail is not None and any(entry in node.detail.owners for entry in inside)):
            return node
        value = Node("value", "value", place, True)
        value.into = [(node, None)]
        return value

    def met_region(self, cut: Cut, carriers: list[Any]) -> None:
        calls, met = self.without_grad.setdefault((cut.place, cut.text), (0, set()))
        met.update(id(node.detail) for _, node, _ in carriers if node.kind == "parameter")
        self.without_grad[(cut.place, cut.text)] = (calls + 1, met)

    def scope(self, region: Region) -> Place | None:
        """The line inside the block (or decorated function) that runs now."""
        frame = self.places.frame(5)
        while frame is not None:
            if frame is region.frame or frame.f_code is region.code:
                return self.places.of(frame)
            frame = frame.f_back
        return None

    def export(self, name: str, result: Any, before: list[Any]) -> None:
        """A value leaves for Python or NumPy: remembered by identity, to be met again in `imported`."""
        place = self.places.here(4)
        node = Node("value", name, place, False)
        cut = Cut(KIND.exports[name], place, written(name), self.module)
        always = KIND.exports[name] == "item"
        node.into = [(source, cut if source.grad or always else None) for _, source, _ in before]
        if isinstance(result, (float, int)) and not isinstance(result, bool):
            keep = isinstance(result, float)
        else:
            keep = type(result).__module__ == "numpy" or isinstance(result, list)
        if keep and len(self.exported) < MOST_EXPORTS:
            self.exported[id(result)] = (result, node, name, [at for _, at in self.places.chain()])

    def scaled(self, output: Tensor) -> None:
        """A Python number that came out of a value goes into another: its way is cut, not absent."""
        node = self.of(output)
        if node is not None:
            node.into += [(source, None) for source in self.numbers_here() if source is not node]

    def made_leaf(self, call: Call, args: Any, kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        if isinstance(result, Tensor):
            self.on_leaf(result, None, True, call.name)
        return result

    def remake(self, call: Call, args: Any, kwargs: Any) -> Any:
        """`torch.tensor(x)`, `from_numpy(x)`: a value without a graph, made of another or of what one was turned to."""
        name = call.name
        source = next(tensors(args[:1]), None)
        result = call(*args, **kwargs)
        if isinstance(result, Tensor) and result is not source:
            if name in ("as_tensor", "asarray") and source is not None and result.grad_fn is not None:
                return result
            self.on_leaf(result, source, result.requires_grad and result.is_leaf, name)
            self.imported(result)
        return result

    def imported(self, result: Tensor) -> None:
        """A tensor made of numbers or arrays that came out of values, by the names on the calling line."""
        if not self.exported:
            return
        sources = self.numbers_here()
        if sources:
            entry = self.values.get(id(result))
            node = entry[1] if entry is not None and entry[0]() is result else None
            if node is None:
                node = self.bind(result, Node("value", "from_numpy", self.places.here(), False))
            node.into += [(source, None) for source in sources if source is not node]

    def numbers_here(self) -> list[Node]:
        """Nodes of the exported numbers and arrays that the running statement of the user's names."""
        frame = self.places.frame()
        if frame is None:
            return []
        place = self.places.of(frame)
        return [self.exported[key][1] for key in self.exports_on(frame, place)]

    def exports_on(self, frame: Any, place: Place) -> list[int]:
        first, last = statement_lines(place)
        found: list[int] = []
        for key, (_, node, _, made) in self.exported.items():
            if node.order > self.epoch and any(
                at[0] == place[0] and at[5] == place[5] and first <= at[1] <= last for at in made
            ):
                found.append(key)
        named = (id(value) for value in named_values(frame, place) if id(value) in self.exported)
        found.extend(named)
        return list(dict.fromkeys(found))[-64:]
