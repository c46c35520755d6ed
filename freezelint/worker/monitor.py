"""The monitor: hooks into torch that note what a training script does to training state, and change none of it.

Everything is noted on torch's own seams (Optimizer, nn.Module, autograd, grad-mode contexts) and by the function mode
of `record`. No flag, mode, gradient or random number is touched.
"""

from __future__ import annotations

import difflib
import sys
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction, _len_torch_dispatch_stack
from torch.utils._python_dispatch import _disable_current_modes

from .iterators import Drains
from .ledger import Flag, Leaf, Ledger, Mod, now
from .operations import KIND
from .passes import Passes
from .places import Place, Places, called_from_torch
from .record import Flow
from .scopes import Scopes
from .source_text import discarded_comparison
from .tape import Call, Node, tensors
from .trials import Trials

FIRST_CALLS = 4
NORMS = torch.nn.modules.batchnorm._NormBase


class Monitor(Scopes, Passes):
    """Listens; `on_step` is called after each optimizer step and may raise to stop the script."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.ledger = Ledger()
        self.trials = Trials()
        self.flow = Flow(places)
        self.flow.parameter_entry = self.ledger.leaf
        self.events: list[dict[str, Any]] = []
        self.stack: list[Mod] = []
        self.flow.stack = self.stack
        self.mode_depth = 0
        self.passed = 0
        self.last_inference: Place | None = None
        self.autocasts: list[Any] = []
        self.taken: list[tuple[Any, Place | None]] = []
        self.drains = Drains(places, lambda: self.flow.quiet > 0)
        self.reads: dict[Any, str] = {}  # where requires_grad is read -> the comparison whose result is dropped
        self.steps = 0
        self.on_step: Callable[[], None] = lambda: None
        self.gradients: dict[int, tuple[Any, Leaf]] = {}  # id of a .grad tensor that the user took -> its leaf
        self.flow.on_error = self.failed
        self.flow.on_leaf = self.leaf_made
        listeners = self.flow.listeners
        listeners["requires_grad="] = listeners["requires_grad_"] = self.requires_grad_set
        listeners["grad"] = self.grad_read
        listeners["requires_grad"] = self.flag_read
        listeners["grad="] = self.grad_set
        listeners["data="] = self.data_set
        for name in ("__setitem__", "mul_", "__imul__", "masked_fill_"):
            listeners[name] = self.overwritten
        listeners["register_hook"] = self.hook_registered
        listeners["retain_grad"] = self.hooked
        listeners["grad_fn"] = self.node_read
        listeners["backward"] = lambda call, args, kwargs: call(*args, **kwargs)
        for name in KIND.fills | {"constant_", "ones_", "zeros_", "eye_", "dirac_", "copy_", "zero_", "set_", "fill_"}:
            listeners[name] = self.written

    def survey(self, *, always: bool = False) -> None:
        """Names and owners, taken ever more seldom: later steps mostly find the same."""
        if always or self.steps & (self.steps - 1) == 0 or self.steps % 16 == 0:
            from .survey import survey

            self.safely(survey, self)

    def safely(self, note: Callable[..., Any], *args: Any) -> Any:
        """Take a note; an error of ours never reaches the script (a stop does: it is no Exception).

        Modes of the script's own see nothing of it.
        """
        self.flow.quiet += 1
        modes = _disable_current_modes() if _len_torch_dispatch_stack() else nullcontext()
        try:
            with DisableTorchFunction(), modes:
                return note(*args)
        except Exception as error:
            self.flow.trouble(error)
            return None
        finally:
            self.flow.quiet -= 1

    def event(self, kind: str, place: Place | None, **details: Any) -> None:
        if place is not None and len(self.events) < 20_000:
            self.events.append({"kind": kind, "place": place, "seq": now(), **details})

    # -- tensors ---------------------------------------------------------------------------------------------------

    def requires_grad_set(self, call: Call, args: Any, kwargs: Any) -> Any:
        tensor = args[0]
        value = args[1] if len(args) > 1 else kwargs.get("requires_grad", True)
        place = self.places.here()
        was, node = tensor.requires_grad, self.flow.of(tensor)
        result = call(*args, **kwargs)
        if tensor.is_leaf:
            self.leaf_flag(tensor, bool(value), was, node, place, call.name)
        elif value:
            self.event("forced", place, effect=False, text=call.name)
        return result

    def leaf_flag(
        self, tensor: Tensor, value: bool, was: bool, node: Node | None, place: Place | None, via: str
    ) -> None:
        leaf = self.ledger.leaf(tensor, place)
        assert leaf is not None
        leaf.flags.append(Flag(value, place, via, was, tuple(at for _, at in self.places.chain())))
        if not value and leaf.owner is not None and leaf.is_parameter:
            frame = self.places.frame()
            holder = frame.f_locals.get("self") if frame is not None else None
            leaf.owner.own_freeze |= isinstance(holder, nn.Module)
        if not leaf.is_parameter:
            leaf.place, leaf.via = place, via
        if node is not None and not leaf.is_parameter and node.kind == "value" and not was:
            self.temporary(tensor, leaf, node, value, place, via)

    def failed(self, name: str, error: RuntimeError) -> None:
        if "nference tensor" in str(error):
            self.event("inference_saved", self.places.here(), text=name, made=self.last_inference)

    def leaf_made(self, tensor: Tensor, source: Tensor | None, wants: bool, via: str) -> None:
        self.remade(tensor, source, self.places.here(), wants, via)

    def loaded(self, parameter: Tensor, via: str) -> None:
        leaf = self.ledger.leaf(parameter, self.places.here())
        if leaf is not None:
            leaf.writes.append(Flag("load", self.places.here(), "copy_"))

    def frozen(self, parameter: Tensor) -> None:
        leaf = self.ledger.leaf(parameter, self.places.here())
        if leaf is not None and not parameter.requires_grad:
            leaf.flags.append(Flag(False, self.places.here(), "freeze=", True))

    def temporary(self, tensor: Tensor, leaf: Leaf, node: Node, value: bool, place: Place | None, via: str) -> None:
        """A value without a graph is made a leaf, or `.data`, `.detach()`, `.clone()` of a parameter is 'frozen'."""
        source = node.into[0][0] if node.into else None
        if source is not None and source.kind == "parameter" and node.text in ("data", "detach", "clone"):
            name = source.detail
            self.event("temporary", place, node=node, leaf=name, value=value, text=node.text)
        if value:
            fresh = Node("input", via, place, True)
            fresh.detail = leaf
            fresh.into = [(node, None)]
            fresh.shape = tuple(tensor.shape)
            self.flow.bind(tensor, fresh)
            self.event("forced", place, effect=True, node=fresh, behind=node, text=via, scalar=tensor.dim() == 0)

    def flag_read(self, call: Call, args: Any, kwargs: Any) -> Any:
        """`p.requires_grad == value` as a statement does nothing; any other reading is no news."""
        frame = self.places.frame()
        key = (frame.f_code, frame.f_lasti) if frame is not None else None
        if key is not None and key not in self.reads:
            assert frame is not None
            self.reads[key] = discarded_comparison(self.places.of(frame))
        if key is not None and self.reads[key]:
            self.event(
                "comparison", self.places.here(), leaf=self.ledger.leaf(args[0], make=False), text=self.reads[key]
            )
        return call(*args, **kwargs)

    def grad_read(self, call: Call, args: Any, kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        if isinstance(result, Tensor) and not called_from_torch(4):
            leaf = self.ledger.leaf(args[0], make=False)
            if leaf is not None:
                leaf.read_by.append(self.places.here())
                self.gradients[id(result)] = (weakref.ref(result), leaf)
        return result

    def grad_set(self, call: Call, args: Any, kwargs: Any) -> Any:
        leaf = self.ledger.leaf(args[0], make=False)
        if leaf is not None and len(args) > 1 and args[1] is None:
            self.cleared([leaf], self.places.here())
        return call(*args, **kwargs)

    def data_set(self, call: Call, args: Any, kwargs: Any) -> Any:
        leaf = self.ledger.leaf(args[0], self.places.here())
        if leaf is not None and not moved_by_module(3):
            leaf.writes.append(Flag("load", self.places.here(), "data"))
        return call(*args, **kwargs)

    def node_read(self, call: Call, args: Any, kwargs: Any) -> Any:
        if not called_from_torch(4) or "graph.py" in sys._getframe(4).f_code.co_filename:
            self.trials.watched = self.trials.watched or "the script handles nodes of autograd's graph"
        return call(*args, **kwargs)

    def hook_registered(self, call: Call, args: Any, kwargs: Any) -> Any:
        leaf = self.ledger.leaf(args[0], make=False)
        if leaf is not None:
            leaf.read_by.append(self.places.here())
        return self.hooked(call, args, kwargs)

    def hooked(self, call: Call, args: Any, kwargs: Any) -> Any:
        self.trials.watched = "a hook of the script's hears every pass"
        return call(*args, **kwargs)

    def written(self, call: Call, args: Any, kwargs: Any) -> Any:
        """An in-place write: an initialisation or a load of a parameter, or a mask on its gradient."""
        target = args[0] if args else kwargs.get("tensor", kwargs.get("self"))
        name = call.name
        leaf = self.ledger.leaf(target, make=False) if isinstance(target, Tensor) else None
        if isinstance(target, nn.Parameter):
            leaf = leaf or self.ledger.leaf(target, self.places.here())
        elif isinstance(target, Tensor) and leaf is None:
            leaf = self.alias_of(target)
            if self.is_gradient(target):
                self.emptied(target) if name == "zero_" else self.masked(target)
                leaf = None
        if leaf is not None:
            leaf.writes.append(Flag("init" if name in KIND.fills else "load", self.places.outer(), name))
        self.flow.quiet += name != "copy_" or isinstance(target, nn.Parameter)
        try:
            return call(*args, **kwargs) if self.flow.quiet else self.flow.record(call, args, kwargs)
        finally:
            self.flow.quiet -= name != "copy_" or isinstance(target, nn.Parameter)

    def overwritten(self, call: Call, args: Any, kwargs: Any) -> Any:
        """Part of a gradient is set to zero by hand, or something else is written in place."""
        value = args[-1] if args else None
        if self.is_gradient(args[0]) and not kwargs and (isinstance(value, Tensor) or value == 0):
            self.masked(args[0])
        return self.flow.record(call, args, kwargs) if self.flow.deep else call(*args, **kwargs)

    def alias_of(self, tensor: Tensor) -> Leaf | None:
        """The parameter behind `p.data` or `p.detach()`."""
        entry = self.flow.values.get(id(tensor))
        if entry is None or entry[0]() is not tensor:
            return None
        node = entry[1]
        if node.text in ("data", "detach") and node.into and node.into[0][0].kind == "parameter":
            found = node.into[0][0].detail
            return found if isinstance(found, Leaf) else None
        return None

    def is_gradient(self, tensor: Tensor) -> bool:
        known = self.gradients.get(id(tensor))
        return known is not None and known[0]() is tensor

    def emptied(self, gradient: Tensor) -> None:
        """`p.grad.zero_()`: zeroing by hand, no reading of the gradient."""
        leaf = self.gradients[id(gradient)][1]
        del leaf.read_by[-1:]
        self.cleared([leaf], self.places.here(4))

    def masked(self, gradient: Tensor) -> None:
        leaf = self.gradients[id(gradient)][1]
        leaf.masked.append(self.places.here(4))

    # -- modules ---------------------------------------------------------------------------------------------------

    def attribute_set(self, owner: Any, name: str, value: Any) -> None:
        """An attribute that may be a misspelt or misplaced requires_grad."""
        place = self.places.here(4)
        if isinstance(owner, nn.Module):
            frame = self.places.frame(3)
            entry = self.ledger.module(owner)
            own = frame is not None and frame.f_locals.get("self") is owner
            entry.own_flag |= own or (name == "requires_grad" and hasattr(type(owner), name))
            if not entry.own_flag:
                self.event("attribute", place, module=self.ledger.module(owner), name=name, value=value)
            return
        leaf = self.ledger.leaf(owner, make=False)
        node = None if leaf is not None else self.flow.of(owner)
        self.event("misspelt", place, leaf=leaf, name=name, value=value, carries=node is not None)

    def forward_started(self, module: nn.Module, args: tuple[Any, ...] = ()) -> Mod:
        entry = self.ledger.module(module)
        entry.calls += 1
        if entry.calls < FIRST_CALLS:
            values = (self.flow.of(tensor) for tensor in tensors(args) if tensor.requires_grad)
            entry.fed += [node for node in values if node is not None]
        training = module.training
        if entry.called_at is None:
            entry.called_at = self.places.here(4)
        if not self.stack:
            self.rooted(module, entry)
            self.flow.site = self.places.here()
        entry.calls_training += training
        entry.calls_without_grad += not torch.is_grad_enabled()
        if training and isinstance(module, NORMS) and module.track_running_stats:
            self.norm_started(module, entry)
        self.stack.append(entry)
        return entry

    def rooted(self, module: nn.Module, entry: Mod) -> None:
        if entry not in self.ledger.roots:
            self.ledger.roots.append(entry)
            self.ledger.kept.append(module)
        if not entry.variable:
            entry.variable = variable_name(module, self.places)

    def norm_started(self, module: Any, entry: Mod) -> None:
        if entry.statistics is None and module.running_mean is not None:
            entry.statistics = module.running_mean.detach().clone()
        weights = [p for p in (module.weight, module.bias) if p is not None]
        if not any(p.requires_grad for p in weights):
            if weights and entry.frozen_weight is None:
                entry.frozen_weight = weights[0].detach().clone()
            elif weights and not entry.rewritten and not torch.equal(entry.frozen_weight, weights[0]):
                entry.rewritten = not any(leaf.optimizers for leaf in entry.own)
            entry.frozen_drift += 1
            entry.drift_without_grad += not torch.is_grad_enabled()
            entry.drift_at = entry.drift_at or self.places.here(5)

    def forward_ended(self, entry: Mod) -> None:
        if self.stack and self.stack[-1] is entry:
            self.stack.pop()
            if not self.stack:
                self.flow.site = None
        elif entry in self.stack:
            del self.stack[self.stack.index(entry) :]


def moved_by_module(depth: int) -> bool:
    """Whether `.data` is set by `module.to(...)` and its like: the same values, elsewhere."""
    frame: Any = sys._getframe(depth)
    while frame is not None and depth < 6:
        if frame.f_code is nn.Module._apply.__code__:
            return True
        frame, depth = frame.f_back, depth + 1
    return False


def variable_name(module: nn.Module, places: Places) -> str:
    """The name under which the calling frames know the module: `model`, `self.net`."""
    frame: Any = places.frame(4)
    depth = 0
    while frame is not None and depth < 12:
        if places.is_user(frame.f_code):
            for name, value in list(frame.f_locals.items()):
                if value is module and name != "self":
                    return str(name)
            owner = frame.f_locals.get("self")
            if owner is not None and owner is not module and not isinstance(owner, Tensor):
                for name, value in list(getattr(owner, "__dict__", {}).items()):
                    if value is module:
                        return f"self.{name}"
                for name, value in list(getattr(owner, "__dict__", {}).get("_modules", {}).items()):
                    if value is module:
                        return f"self.{name}"
            if frame.f_code.co_name != "<module>":
                for name, value in list(frame.f_globals.items()):
                    if value is module:
                        return str(name)
        frame = frame.f_back
        depth += 1
    return type(module).__name__


def near_miss(name: str) -> bool:
    """Whether an attribute name is requires_grad, misspelt."""
    if name in ("requires_grad", "grad", "_grad") or len(name) < 8 or ("grad" not in name and "gard" not in name):
        return False
    if name.endswith(("_sync", "_fn", "hook", "hooks", "_norm", "_mode")):
        return False
    return difflib.SequenceMatcher(None, name.lower().strip("_"), "requires_grad").ratio() >= 0.82
