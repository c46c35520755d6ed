"""A story: one reading of a program from an entry point: its timeline of events and its gradient map."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from freezelint.findings import Location
from freezelint.gradient_map import GradientMap
from freezelint.records import field, record
from freezelint.source import cst
from freezelint.source.values import Dict, Instance, Optimizer, Param, Tensor, Value

if TYPE_CHECKING:
    from freezelint.source.project import FunctionInfo, ModuleInfo

E = TypeVar("E", bound="Event")
Entry = tuple[int, "bool | None", "Context", "Spot"]  # (sequence number, flag or mode, context, place)


@record(eq=False, frozen=True)
class Spot:
    """A node of a file; becomes a Location when a finding needs it."""

    file: ModuleInfo
    node: cst.CSTNode

    def locate(self) -> Location:
        return self.file.locate(self.node)

    @property
    def text(self) -> str:
        return self.file.code(self.node)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spot) and self.node is other.node

    def __hash__(self) -> int:
        return id(self.node)


@record(frozen=True)
class Mode:
    """The grad mode in force: True, False, or None where it cannot be told."""

    flag: bool | None = True
    kind: str = "default"  # no_grad, inference_mode, enable_grad, set_grad_enabled, global
    spot: Spot | None = None
    text: str = ""


@record(frozen=True)
class Context:
    """Where in the program an event happens."""

    arms: tuple[tuple[int, int], ...] = ()  # (branch, arm taken)
    loops: tuple[tuple[int, int], ...] = ()  # (loop, pass)
    calls: tuple[FunctionInfo, ...] = ()
    mode: Mode = Mode()
    autocast: tuple[Any, ...] = ()
    sites: tuple[Spot, ...] = ()  # where each of `calls` was called

    def excludes(self, other: Context) -> bool:
        """Whether both can not happen in one execution of the same pass."""
        mine = dict(self.arms)
        return any(branch in mine and mine[branch] != arm for branch, arm in other.arms)

    def implies(self, other: Context) -> bool:
        """Whether `other` has surely happened when this happens (it came first, under no other condition)."""
        return set(other.arms) <= set(self.arms)


@record(eq=False)
class Event:
    spot: Spot
    context: Context
    seq: int


@record(eq=False)
class AttributeSet(Event):
    """`target.name = value`."""

    target: Value
    name: str
    value: Value
    old: Value | None
    node: cst.CSTNode  # the Attribute
    value_node: cst.BaseExpression | None = None


@record(eq=False)
class Statement(Event):
    """An expression whose result is thrown away."""

    node: cst.BaseExpression
    value: Value


@record(eq=False)
class Tested(Event):
    """A method that is not called, used as a condition."""

    node: cst.BaseExpression
    method: Value


@record(eq=False)
class Decided(Event):
    """A tensor used as a condition; `node` is its value on the map."""

    node: int


@record(eq=False)
class GradFlag(Event):
    """requires_grad of parameters set: a freeze (False), an unfreeze (True), or either (None)."""

    target: Value
    params: list[Param]
    flag: bool | None
    via: str  # attribute, requires_grad_, freeze=, …
    partly: bool | None = None  # the flag that some of what the parameters stand for are given


@record(eq=False)
class TensorFlag(Event):
    """requires_grad of a tensor that is no parameter set, or a tensor made with it."""

    target: Value
    flag: bool | None
    via: str
    node: int | None = None  # of the gradient map, before the call
    result: Value | None = None


@record(eq=False)
class TrainMode(Event):
    target: Instance
    flag: bool | None
    via: str  # train, eval, held


@record(eq=False)
class Built(Event):
    """A module made."""

    module: Instance


@record(eq=False)
class Replaced(Event):
    """An attribute (or element) of a module that held a module or parameter holds another."""

    owner: Value
    name: str
    old: Value
    new: Value


@record(eq=False)
class OptimizerBuilt(Event):
    optimizer: Optimizer


@record(eq=False)
class GroupAdded(Event):
    optimizer: Optimizer
    params: list[Param]


@record(eq=False)
class ZeroGrad(Event):
    target: Value  # an optimizer or a module
    set_to_none: bool | None
    params: list[Param] = field(default_factory=list)


@record(eq=False)
class Backward(Event):
    loss: Value
    node: int | None  # the loss on the map
    via: str
    reached: frozenset[int] = frozenset()
    loss_spot: Spot | None = None


@record(eq=False)
class Step(Event):
    optimizer: Value
    params: list[Param] = field(default_factory=list)


@record(eq=False)
class ModuleCall(Event):
    module: Instance
    args: list[Value]
    result: Value


@record(eq=False)
class Loaded(Event):
    """Weights put into a module."""

    target: Value
    via: str


@record(eq=False)
class Written(Event):
    """The values of a parameter written in place: `how` is the method, or `item` for an assignment to elements."""

    param: Param
    how: str


@record(eq=False)
class Saved(Event):
    """An operation that may have to save a tensor made under inference mode; `node` is its result."""

    tensor: Tensor
    node: int
    name: str


@record(eq=False)
class Rebound(Event):
    """A name that held a module holds another."""

    name: str
    old: Instance
    new: Instance


@record(eq=False)
class Consumed(Event):
    """An iterator of parameters used up; `before` is the use that had emptied it already."""

    iterator: Any
    before: Event | None
    purpose: str
    empty: bool = False
    handed: bool = False  # the function that uses it up was given it


@record(eq=False)
class GradRead(Event):
    """`.grad` read, or asked for by autograd.grad."""

    target: Value
    node: int | None = None


@record(eq=False)
class ModeChange(Event):
    """Grad mode entered by a block or decorator, or switched for good."""

    mode: Mode
    how: str  # block, decorator, switch, restore


@record(eq=False)
class Checkpointed(Event):
    """torch.utils.checkpoint: what it runs, on what, and whether it is the reentrant kind."""

    function: Value
    args: list[Value]
    reentrant: bool | None
    params: list[Param]
    fed: bool  # an argument carries, or may carry, a gradient
    node: cst.Call | None = None


@record(eq=False)
class Autocast(Event):
    enter: bool
    block: Any
    cache: bool = True


@record(eq=False)
class Called(Event):
    """Any other call worth asking about."""

    name: str
    owner: Value | None
    args: list[Value]
    kwargs: dict[str, Value]
    result: Value


def state_in(context: Context, born: bool | None, history: Iterable[Entry]) -> bool | None:
    """What a history of flags (or modes) leaves where `context` is; None: cannot tell."""
    possible = (entry for entry in history if not context.excludes(entry[2]))
    return _replayed(born, ((flag, context.implies(made)) for _, flag, made, _ in possible))


def _replayed(state: bool | None, flags: Iterable[tuple[bool | None, bool]]) -> bool | None:
    """The last of some flags, each with whether it has surely been set."""
    for flag, surely in flags:
        if surely:
            state = flag
        elif flag != state:
            state = None
    return state


class Story:
    """The timeline and the map of one entry point."""

    def __init__(self, entry: str, file: ModuleInfo) -> None:
        self.entry = entry
        self.file = file
        self.events: list[Event] = []
        self.map = GradientMap("source")
        self.modules: list[Instance] = []
        self.optimizers: list[Optimizer] = []
        self.parameters: list[Param] = []
        self.incomplete = False  # the budget ran out, or something central could not be followed
        self.given_up = False  # a part was given up for what it cost; the rest is whole
        self.of_node: dict[int, Param] = {}
        self._kinds: dict[type, tuple[int, list[Any]]] = {}
        self.returned: list[Value] = []  # what the entry point hands back to whoever calls it
        self.branches: dict[int, Spot] = {}  # the test of each branch of an `if`
        self.guards: set[tuple[int, int]] = set()  # arms that go on where another leaves early
        self.partial: set[int] = set()  # branches taken for some of several modules that one stands for
        self.groups: list[Dict] = []  # dicts with "params" in them: groups for an optimizer

    def of(self, kind: type[E]) -> list[E]:
        """The events of one type, in order."""
        known = self._kinds.get(kind)
        if known is None or known[0] != len(self.events):
            known = self._kinds[kind] = (len(self.events), [event for event in self.events if type(event) is kind])
        return known[1]

    @property
    def trains(self) -> bool:
        return any(isinstance(event, (Backward, Step)) for event in self.events)

    def flag_at(self, param: Param, when: Event | None = None) -> bool | None:
        """requires_grad of a parameter when an event happens (the end of the story for None); None: cannot tell."""
        if when is not None:
            return state_in(when.context, param.born, (entry for entry in param.flags if entry[0] <= when.seq))
        passed = self._passed()
        return _replayed(param.born, ((flag, passed.issuperset(made.arms)) for _, flag, made, _ in param.flags))

    def by_hand(self, param: Param) -> list[Entry]:
        """The flags of a parameter without what calls of a library may have done to it."""
        events = ((entry, self.events[entry[0]]) for entry in param.flags)
        return [entry for entry, event in events if not (isinstance(event, GradFlag) and event.via == "handed")]

    def _passed(self) -> set[tuple[int, int]]:
        """The early exits that the last pass of training has gone by."""
        last: list[Event] = [*self.of(Backward)[-1:], *self.of(Step)[-1:]] if self.guards else []
        return self.guards.intersection(max(last, key=lambda event: event.seq).context.arms) if last else set()

    def optimised(self, param: Param) -> bool:
        return any(param is known for optimizer in self.optimizers for known in optimizer.params)
