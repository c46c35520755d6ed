"""What the monitor knows of leaves (parameters and inputs), modules, optimizers and backward passes."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from .places import Place

_clock = itertools.count()


def now() -> int:
    """A running number that orders events."""
    return next(_clock)


class Flag:
    """requires_grad of one leaf, or an attribute of one module or tensor, was set."""

    __slots__ = ("place", "seq", "site", "value", "via", "was")

    def __init__(
        self, value: Any, place: Place | None, via: str, was: Any = None, site: tuple[Place | None, ...] = ()
    ) -> None:
        self.value, self.place, self.via, self.was, self.seq = value, place, via, was, now()
        self.site = site or (place,)  # the line, then the calls that led there, outwards


class Leaf:
    """A parameter, or an input that was made to require grad."""

    def __init__(self, tensor: Tensor, place: Place | None, is_parameter: bool) -> None:
        self.tensor = tensor if is_parameter else None
        self.ref = weakref.ref(tensor)
        self.is_parameter = is_parameter
        self.place = place
        self.seq = now()
        self.name = ""
        self.flags: list[Flag] = []
        self.writes: list[Flag] = []  # value: "init" or "load"
        self.pending: list[Backward] = []  # accumulated in .grad, not zeroed yet
        self.reached = 0
        self.had_gradient = 0  # steps at which .grad was there and not all zero
        self.zero_gradient = 0
        self.no_gradient = 0
        self.optimizers: list[Opt] = []
        self.read_by: list[Place | None] = []
        self.masked: list[Place | None] = []  # its gradient was overwritten in place
        self.zeroed_at: Place | None = None
        self.moved_frozen = 0.0
        self.moved_masked = 0.0
        self.kept: tuple[Tensor, Tensor] | None = None  # moved under a zero gradient; values before
        self.written_back = False  # the script itself undid what a step did to such values
        self.via = ""
        self.owner: Mod | None = None
        self.owners: list[Mod] = []
        self.attribute = ""
        self.registered = False
        self.made_inside = False  # by the forward of a module
        self.used = False
        self.averaged = False  # moved in place by the script itself
        self.attacked = False  # an input that autograd.grad optimises by hand
        self.needed = False  # an input whose gradient keeps a reentrant checkpoint alive
        self.wanted = False  # required a gradient when its optimizer stepped
        self.shape = tuple(tensor.shape)
        self.numel = tensor.numel()

    @property
    def requires_grad(self) -> bool:
        tensor = self.ref()
        return bool(tensor is not None and tensor.requires_grad)


class Mod:
    """A module of the user's program."""

    def __init__(self, module: nn.Module, place: Place | None) -> None:
        self.ref = weakref.ref(module)
        self.type = type(module).__name__
        self.place = place  # where it was made
        self.seq = now()
        self.grad_mode = torch.is_grad_enabled()
        self.no_grad_at: Place | None = None
        self.inside = ""  # the module in whose forward it was made
        self.modes: list[Flag] = []
        self.attributes: list[tuple[str, Flag]] = []
        self.children: dict[str, Flag] = {}  # name -> where it was registered
        self.calls = 0
        self.calls_training = 0
        self.calls_without_grad = 0
        self.called_at: Place | None = None
        self.fed: list[Any] = []  # values with a graph that its first calls were given
        self.frozen_weight: Any = None  # as it was when it first ran so
        self.rewritten = False  # that weight moved, though no optimizer holds it
        self.frozen_drift = 0  # forwards in train mode that moved running statistics while the weights were frozen
        self.drift_without_grad = 0  # those of them under no_grad
        self.drift_at: Place | None = None
        self.drift = 0.0
        self.statistics: Any = None  # a copy of the running mean at first sight
        self.name = ""
        self.variable = ""
        self.root: Mod | None = None
        self.path = ""
        self.parts: list[Mod] = []  # itself and every module below
        self.own: list[Leaf] = []  # every parameter it ever held
        self.current: dict[str, Leaf] = {}  # by attribute, those it holds now
        self.norm = False
        self.own_flag = False  # its class has a requires_grad of its own
        self.own_freeze = False  # frozen by the class that builds it
        self.training = True

    def hold(self, name: str, leaf: Leaf) -> None:
        """A parameter is registered here under `name`."""
        if self not in leaf.owners:
            leaf.owners.append(self)
            self.own.append(leaf)
        if leaf.owner is None:
            leaf.owner, leaf.attribute = self, name
        self.current[name] = leaf


class Opt:
    """An optimizer."""

    def __init__(self, optimizer: Any, place: Place | None) -> None:
        self.ref = weakref.ref(optimizer)
        self.type = type(optimizer).__name__
        self.place = place
        self.seq = now()
        self.leaves: list[Leaf] = []
        self.built_in: Any = None  # the code that built it
        self.added: list[tuple[Place | None, int]] = []
        self.frozen_at_start: list[Leaf] = []
        self.steps = 0
        self.empty_steps = 0
        self.step_at: Place | None = None
        self.empty_groups: list[int] = []  # groups by number that hold no parameter
        self.zero_lr: dict[int, bool] = {}  # id(leaf) -> every step so far had lr 0
        self.error = ""
        self.scheduled = False
        self.closure = False
        self.first_step = 0
        self.last_step = 0


class Backward:
    """One backward pass, or one autograd.grad."""

    def __init__(self, place: Place | None, roots: list[Any], reached: set[int], kind: str) -> None:
        self.place, self.roots, self.reached, self.kind = place, roots, reached, kind
        self.seq = now()
        self.steppers: list[Opt] = []  # optimizers that stepped what it left in .grad
        self.discarded: list[tuple[Place | None, Leaf]] = []  # zeroed before any step
        self.error = ""
        self.leaves: list[Leaf] = []
        self.inputs_given = False
        self.optimises_inputs = False
        self.since = 0  # where the record stood at the pass before


class Ledger:
    def __init__(self) -> None:
        self.leaves: dict[int, Leaf] = {}
        self.modules: dict[int, Mod] = {}
        self.optimizers: list[Opt] = []
        self.backwards: list[Backward] = []
        self.roots: list[Mod] = []  # modules called from outside any module
        self.kept: list[nn.Module] = []
        self.hidden: list[tuple[Mod, str, Flag, list[Leaf]]] = []  # trainable things in plain attributes
        self.non_leaf: list[tuple[Mod, str, Place | None]] = []

    def leaf(self, tensor: Tensor, place: Place | None = None, *, make: bool = True) -> Leaf | None:
        known = self.leaves.get(id(tensor))
        if known is not None and known.ref() is tensor:
            return known
        if not make:
            return None
        fresh = Leaf(tensor, place, isinstance(tensor, nn.Parameter))
        self.leaves[id(tensor)] = fresh
        return fresh

    def module(self, module: nn.Module, place: Place | None = None) -> Mod:
        known = self.modules.get(id(module))
        if known is not None and known.ref() is module:
            return known
        fresh = Mod(module, place)
        self.modules[id(module)] = fresh
        return fresh

    def optimizer(self, optimizer: Any) -> Opt | None:
        return next((entry for entry in reversed(self.optimizers) if entry.ref() is optimizer), None)
