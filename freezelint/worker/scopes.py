"""The monitor's view of stretches of a run: grad mode, autocast, custom functions and checkpoints, module calls."""

from __future__ import annotations

import functools
import linecache
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from .iterators import ITERATORS
from .ledger import Flag, Leaf, Ledger, Mod, Opt, now
from .places import CELL_MARK, Place, Places
from .record import Flow
from .tape import Cut, Node, Region, tensors

_CHECKPOINT = "CheckpointFunction"


class Scopes:
    """Mixed into the Monitor."""

    places: Places
    flow: Flow
    ledger: Ledger
    stack: list[Mod]
    event: Callable[..., None]
    safely: Callable[..., Any]
    cleared: Callable[[list[Leaf], Place | None], None]
    mode_depth: int
    last_inference: Place | None
    autocasts: list[Any]
    taken: list[tuple[Any, Place | None]]

    # -- grad mode -------------------------------------------------------------------------------------------------

    def region_entered(self, context: Any, kind: str, enabled: bool, caller: Any) -> None:
        region = Region(kind, enabled, self.places.here(), f"torch.{kind}()")
        region.depth = len(self.stack)
        frame = self.places.frame()
        if caller.f_code.co_filename.endswith("_contextlib.py"):  # a decorated function
            function = caller.f_locals.get("func")
            code = getattr(function, "__code__", None)
            if code is not None:
                region.code = code
                region.place = self.places.definition(code, ("no_grad", "inference_mode", "enable_grad"))
                region.text = f"@torch.{kind}()"
                self.places.note(region.place)
        else:
            region.frame = frame
        region.owner = context
        if kind == "inference_mode" and not enabled:
            self.last_inference = region.place
        self.flow.regions.append(region)

    def region_left(self, context: Any) -> None:
        regions = self.flow.regions
        for index in range(len(regions) - 1, -1, -1):
            if regions[index].owner is context:
                del regions[index]
                return

    def switched(self, context: Any, enabled: bool) -> None:
        """`torch.set_grad_enabled(...)`: a bare switch, or the start of a block (its exit then ends the region)."""
        place = self.places.here()
        self.event("switch", place, enabled=enabled)
        region = Region("set_grad_enabled", enabled, place, f"torch.set_grad_enabled({enabled})")
        frame = self.places.frame()
        region.frame = frame if place is not None and is_with_block(place) else None
        region.bare = region.frame is None
        region.depth = len(self.stack)
        region.owner = context
        if region.bare:
            self.flow.regions = [r for r in self.flow.regions if not r.bare]
            if enabled:
                return
        self.flow.regions.append(region)

    def autocast_entering(self, original: Any) -> Any:
        @functools.wraps(original)
        def enter_and_tell(context: Any) -> Any:
            result = original(context)
            self.autocasts.append([context, self.places.here(), bool(getattr(context, "_enabled", True)), 0, now()])
            return result

        return enter_and_tell

    def autocast_leaving(self, original: Any) -> Any:
        @functools.wraps(original)
        def exit_and_tell(context: Any, *args: Any) -> Any:
            self.autocasts = [entry for entry in self.autocasts if entry[0] is not context]
            return original(context, *args)

        return exit_and_tell

    # -- custom functions ------------------------------------------------------------------------------------------

    def applied(self, cls: Any, run: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        """A custom autograd Function: one step of the record, whatever its forward does inside."""
        checkpoint = cls.__name__ == _CHECKPOINT
        grad_mode = torch.is_grad_enabled()
        inputs = self.safely(self.function_inputs, arguments) or []
        outer, self.flow.inside = self.flow.inside, [] if checkpoint else None
        try:
            with nullcontext() if checkpoint else self.flow.aside():
                result = run()
        finally:
            inner, self.flow.inside = self.flow.inside or [], outer
        outputs = [t for t in tensors(result) if not (t.is_leaf and t.requires_grad)]
        if checkpoint:
            self.safely(self.checkpointed, outputs, inner, inputs, grad_mode)
        elif inputs and outputs:
            self.safely(self.flow.results, cls.__name__, outputs, inputs, grad_mode, arguments, {})
        return result

    def function_inputs(self, arguments: tuple[Any, ...]) -> list[Any]:
        return [(t, n, t.grad_fn if n.grad else None) for t, n in self.flow.inputs(arguments, {})]

    def checkpointed(self, outputs: list[Tensor], inner: list[Node], inputs: list[Any], grad_mode: bool) -> None:
        """Parameters used inside a reentrant checkpoint train only if one of its inputs requires grad."""
        place = self.places.here()
        for output in outputs:
            node = Node("value", "checkpoint", place, output.requires_grad)
            lost = Cut("reentrant_checkpoint", place, "checkpoint(..., use_reentrant=True)", self.flow.module)
            if not output.requires_grad and not grad_mode:
                lost = self.flow.region_cut(place, "checkpoint")
            cut = None if output.requires_grad else lost
            node.into = [(source, None if output.requires_grad or not source.grad else cut) for _, source, _ in inputs]
            for _, source, _ in inputs:
                if source.kind == "input" and source.detail is not None:
                    source.detail.needed = True
            node.into += [(source, cut) for source in inner]
            self.flow.bind(output, node)

    def made_variable(self, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        source = args[0] if args and isinstance(args[0], Tensor) else None
        if not isinstance(result, Tensor):
            return
        place = self.places.here()
        wants = bool(kwargs.get("requires_grad", args[1] if len(args) > 1 else False))
        if wants or source is not None:
            self.remade(result, source, place, wants, "Variable")

    def remade(self, result: Tensor, source: Tensor | None, place: Place | None, wants: bool, via: str) -> None:
        """`Variable(x)`, `torch.tensor(x)`: a copy without a graph, perhaps a new leaf that requires grad."""
        behind = self.flow.of(source) if source is not None and source is not result else None
        if source is result:
            return
        node = Node("input" if wants else "value", via, place, wants)
        if behind is not None:
            node.into = [(behind, Cut("copy", place, f"{via}(...)", self.flow.module) if behind.grad else None)]
        if wants:
            leaf = self.ledger.leaf(result, place)
            assert leaf is not None
            leaf.via = via
            leaf.flags.append(Flag(True, place, via))
            node.detail = leaf
            self.event("forced", place, effect=True, node=node, behind=behind, text=via, scalar=result.dim() == 0)
        if wants or behind is not None:
            self.flow.bind(result, node)

    # -- modules ---------------------------------------------------------------------------------------------------

    def built(self, module: nn.Module) -> None:
        entry = self.ledger.module(module, self.places.here())
        entry.inside = self.stack[-1].type if self.stack else ""
        if not entry.grad_mode and self.flow.regions:
            entry.no_grad_at = self.flow.regions[-1].place

    def made_in_forward(self, parameter: Tensor) -> None:
        place = self.places.here()
        leaf = self.ledger.leaf(parameter, place)
        if leaf is not None and place is not None:
            leaf.made_inside = True

    def registered(self, owner: nn.Module, name: str, value: Any) -> None:
        if (
            isinstance(value, (nn.Module, nn.Parameter))
            or (isinstance(value, (list, tuple, dict)) and len(value) < 10_000)
            or isinstance(value, Tensor)
        ):
            place = self.places.here()
            entry = self.ledger.module(owner, place)
            old = entry.children.get(name)
            flag = Flag(id(value), place, type(value).__name__)
            flag.was = self.ledger.module(value, place) if isinstance(value, nn.Module) else None
            if old is not None and old.value != id(value):
                flag.via = "replaced"
                if isinstance(value, (nn.Module, nn.Parameter)):
                    self.event(
                        "replaced",
                        place,
                        module=entry,
                        name=name,
                        old=old.was,
                        new=flag.was,
                        chain=self.places.chain(),
                        parameter=isinstance(value, nn.Parameter),
                    )
            entry.children[name] = flag
            if isinstance(value, nn.Parameter):
                leaf = self.ledger.leaf(value, place)
                if leaf is not None:
                    entry.hold(name, leaf)

    def mode_set(self, module: nn.Module, mode: bool) -> None:
        if self.mode_depth == 0:
            place = self.places.here()
            entry = self.ledger.module(module)
            flag = Flag(bool(mode), place, "train" if mode else "eval")
            entry.modes.append(flag)
            self.event("mode", place, module=entry, value=bool(mode))
        self.mode_depth += 1

    # -- optimizers ------------------------------------------------------------------------------------------------

    def grouped(self, entry: Opt, optimizer: Any) -> None:
        """The optimizer has its groups, or one more of them."""
        place = self.places.here()
        entry.empty_groups = [number for number, group in enumerate(optimizer.param_groups) if not group["params"]]
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                leaf = self.ledger.leaf(parameter, place)
                assert leaf is not None
                if not leaf.is_parameter:
                    leaf.is_parameter, leaf.tensor = True, parameter
                if leaf not in entry.leaves:
                    entry.leaves.append(leaf)
                    entry.added.append((place, now()))
                    leaf.optimizers.append(entry)
                    if not parameter.requires_grad:
                        entry.frozen_at_start.append(leaf)

    def iterator_given(self, iterator: Any, consumer: str, place: Place | None) -> None:
        if isinstance(iterator, ITERATORS):
            for taken, first in self.taken:
                if taken is iterator:
                    self.event("exhausted", place, consumer=consumer, first=first)

    def iterator_taken(self, iterator: Any, place: Place | None) -> None:
        if isinstance(iterator, ITERATORS) and len(self.taken) < 200:
            self.taken.append((iterator, place))

    @contextmanager
    def zeroing(self, parameters: Iterable[Tensor]) -> Iterator[None]:
        if self.flow.quiet:
            yield
            return
        place = self.places.here()
        found = [self.ledger.leaf(parameter) for parameter in parameters]
        self.safely(self.cleared, [leaf for leaf in found if leaf is not None], place)
        self.event("zero_grad", place)
        with self.flow.aside():
            yield


def is_with_block(place: Place) -> bool:
    path, line, cell = place[0], place[1], place[5]
    return (
        linecache.getline(f"{path}{CELL_MARK}{cell}" if cell else path, line)
        .lstrip()
        .startswith(("with ", "async with"))
    )
