"""The reader: the state of one abstract reading: frames, branches, grad mode, the story it writes.

Both arms of a branch that cannot be decided are read, one after the other, and their writes joined; loops over
something known are unrolled, others read twice; calls of project functions are followed to a bounded depth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from freezelint.gradient_map import Cause, Cut, Kind
from freezelint.records import field, record
from freezelint.source import cst, library
from freezelint.source.project import FunctionInfo, ModuleInfo, Project
from freezelint.source.story import Context, Event, Mode, ModeChange, Saved, Spot, Story
from freezelint.source.values import UNKNOWN, Data, Instance, Param, Params, Tensor, Union, Value, tensors_in, union

E = TypeVar("E", bound=Event)
Thunk = Callable[[], "str | None"]
MAX_DEPTH = 14
LEAVES = ("return", "continue", "break")
_MISSING = object()


class BudgetSpent(Exception):
    """The reading took more steps than a file may cost."""


@record(eq=False)
class Frame:
    """One call: its names, where it was made, what it has returned and yielded."""

    file: ModuleInfo
    env: dict[str, Value] = field(default_factory=dict)
    given: dict[str, Value] = field(default_factory=dict)  # what its parameters held when it was called
    info: FunctionInfo | None = None
    parent: Frame | None = None
    self_value: Value | None = None
    returns: list[Value] = field(default_factory=list)
    yields: list[Value] = field(default_factory=list)
    on_yield: Callable[[], None] | None = None
    nonlocals: dict[str, Frame] = field(default_factory=dict)


class Reader:
    def __init__(self, file: ModuleInfo, project: Project, entry: str) -> None:
        self.project = project
        self.story = Story(entry, file)
        self.map = self.story.map
        self.budget = 0
        self.frames: list[Frame] = [Frame(file)]
        self.module_frames: dict[str, Frame] = {file.path: self.frames[0]}
        self.arms: list[tuple[int, int]] = []
        self.loops: list[tuple[int, int]] = []
        self.open_loops = 0  # how many of them have a length nobody knows
        self.calls: list[FunctionInfo] = []
        self.sites: list[Spot] = []  # where each of `calls` was called
        self.autocasts: list[Any] = []
        self.state: dict[str, Any] = {"mode": Mode()}
        self.journal: list[tuple[dict[Any, Any], Any, Any]] = []
        self.seen: set[FunctionInfo] = set()
        self._branch_ids: dict[str, int] = {}
        self.subject: Instance | None = None  # the first object made: what a class story is about
        self.froze = False  # something has been frozen or unfrozen: initialisation after it matters
        self.lasting = 0  # calls of functions that may do more than give a plain value back
        self.tables: dict[int, Any] = {}  # by the node a top level assigns: registries, and whose entries they have
        self._counter = 0
        self._unknown: int | None = None

    # -- where we are ------------------------------------------------------------------------------------------------

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    @property
    def mode(self) -> Mode:
        mode = self.state["mode"]
        return mode if isinstance(mode, Mode) else Mode(None, "unknown")

    def spot(self, node: cst.CSTNode) -> Spot:
        return Spot(self.frames[-1].file, node)

    def context(self) -> Context:
        return Context(
            tuple(self.arms),
            tuple(self.loops),
            tuple(self.calls),
            self.mode,
            tuple(self.autocasts),
            tuple(self.sites),
        )

    def emit(self, kind: type[E], node: cst.CSTNode | Spot, *values: Any, **more: Any) -> E:
        spot = node if isinstance(node, Spot) else self.spot(node)
        event = kind(spot, self.context(), len(self.story.events), *values, **more)
        self.story.events.append(event)
        return event

    def spent(self) -> None:
        """The budget has run out."""
        self.story.incomplete = True
        raise BudgetSpent

    def within_budget(self, share: int, body: Callable[[], object]) -> bool:
        """Read something for at most `share` steps; False where it was given up, the rest of the story goes on."""
        kept, was = self.budget - share, self.story.incomplete
        lists: tuple[list[Any], ...] = (self.frames, self.calls, self.sites, self.arms, self.loops, self.autocasts)
        depths = [len(held) for held in lists]
        self.budget = share
        try:
            body()
        except BudgetSpent:
            if kept <= 0:
                raise
            for held, depth in zip(lists, depths, strict=True):
                del held[depth:]
            self.story.incomplete = was
            self.story.given_up = True
            return False
        finally:
            self.budget = kept + max(self.budget, 0)
        return True

    def fresh(self) -> int:
        self._counter += 1
        return self._counter

    def branch_id(self, text: str) -> int:
        """The same number for the same unchanging condition, a new one otherwise ('')."""
        if not text:
            return self.fresh()
        if text not in self._branch_ids:
            self._branch_ids[text] = self.fresh()
        return self._branch_ids[text]

    # -- writes that a branch can take back --------------------------------------------------------------------------

    def put(self, where: dict[Any, Any], key: Any, value: Any) -> None:
        self.journal.append((where, key, where.get(key, _MISSING)))
        where[key] = value

    def set_mode(self, mode: Mode) -> None:
        self.put(self.state, "mode", mode)

    def _rewind(self, mark: int) -> dict[tuple[int, Any], tuple[dict[Any, Any], Any, Any]]:
        """Take back every write since `mark`; gives what each place held at the end."""
        writes: dict[tuple[int, Any], tuple[dict[Any, Any], Any, Any]] = {}
        since = self.journal[mark:]
        if not since:
            return writes
        for where, key, _ in since:
            if key in where:
                writes[(id(where), key)] = (where, key, where[key])
        for where, key, old in reversed(since):
            if old is _MISSING:
                where.pop(key, None)
            else:
                where[key] = old
        del self.journal[mark:]
        return writes

    def fork(self, branch: int, arms: Sequence[tuple[int, Thunk]]) -> str | None:
        """Read every arm from the same state and join their writes; the status is that of all arms, or None."""
        outcomes = []
        depth, left = len(self.arms), False
        for arm, thunk in arms:
            self.arms.append((branch, arm))
            mark = len(self.journal)
            status = thunk()
            left = left or len(self.arms) > depth + 1
            outcomes.append((status, self._rewind(mark)))
            del self.arms[depth:]
        going_on = [writes for status, writes in outcomes if status is None]
        if left or len(going_on) < len(outcomes):
            statuses = [(arm, status) for (arm, _), (status, _) in zip(arms, outcomes, strict=True)]
            self._go_on(branch, statuses, left=left)
        returned = [writes for status, writes in outcomes if status == "return"]
        if any(going_on) or any(returned):
            self._join(going_on or returned, returned if going_on else [])
        return None if going_on else outcomes[0][0]

    def _go_on(self, branch: int, arms: list[tuple[int, str | None]], *, left: bool) -> None:
        """What follows a branch that some arms leave, by `return` or `continue`, happens in the others only."""
        on = [arm for arm, status in arms if status is None]
        if on and (left or any(status in LEAVES for _, status in arms)):
            guard = (branch, on[0]) if len(on) == 1 else (self.fresh(), 0)
            self.arms.append(guard)
            self.story.guards.add(guard)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """A function, or a pass of a loop: what was left early in it is left with it."""
        depth = len(self.arms)
        try:
            yield
        finally:
            del self.arms[depth:]

    def _join(self, joined: list[dict[Any, Any]], returned: list[dict[Any, Any]]) -> None:
        env = id(self.frames[-1].env)
        held: dict[Any, list[Any]] = {}
        for writes in joined:
            for place, write in writes.items():
                held.setdefault(place, []).append(write)
        for writes in returned:
            for place, write in writes.items():
                if place[0] != env:
                    held.setdefault(place, []).append(write)
        for having in held.values():
            where, key, _ = having[0]
            values = [value for _, _, value in having]
            if len(having) < len(joined) and key in where:
                values.append(where[key])
            if isinstance(where, Params):
                for number, value in enumerate({id(value): value for value in values}.values()):
                    self.put(where, f"{key}*{self.fresh()}" if number else key, value)
                continue
            self.put(where, key, self.join(values))

    def join(self, values: list[Any]) -> Any:
        first = values[0]
        if len(values) == 1:
            return first
        distinct = list({id(value): value for value in values}.values())
        if len(distinct) == 1:
            return first
        if type(first) is Mode and all(type(value) is Mode for value in values):
            return first if all(value == first for value in values) else Mode(None, "unknown")
        tensors = [value for value in distinct if isinstance(value, Tensor)]
        if len(tensors) > 1:
            merged = self.tensor("join", tensors, None, sure=True)
            distinct = [merged, *(value for value in distinct if not isinstance(value, Tensor))]
        return union(distinct)

    # -- the gradient map --------------------------------------------------------------------------------------------

    def node_of(self, value: Value) -> int | None:
        if isinstance(value, (Tensor, Data)):
            return value.node
        if isinstance(value, Param):
            if value.node is None:
                value.node = self.map.node(
                    Kind.PARAMETER, value.label or value.name, place=value.spot, trainable=value.born
                )
                self.story.of_node[value.node] = value
            return value.node
        return None

    def tensor(
        self,
        name: str,
        sources: Sequence[Value],
        node: cst.CSTNode | None,
        cut: Cut | None = None,
        *,
        sure: bool = True,
        unknown: bool = False,
    ) -> Tensor:
        """A new value on the map, computed from `sources` in the grad mode in force; `unknown`: from others too."""
        spot = self.spot(node) if node is not None else None
        new = self.map.node(Kind.VALUE, name, place=spot)
        mode = self.mode
        if cut is None and mode.flag is False and mode.spot is not None and name != "join":
            cause = Cause.INFERENCE_MODE if mode.kind == "inference_mode" else Cause.NO_GRAD
            cut = Cut(cause, mode.spot, mode.text, scope=spot)
        inference = (mode.spot or spot) if mode.kind == "inference_mode" and name != "join" else None
        saved: Tensor | None = None
        for source in dict.fromkeys(t for value in sources for t in tensors_in(value)):
            origin = self.node_of(source)
            if origin is not None:
                self.map.edge(origin, new, cut, sure=sure)
            if isinstance(source, Tensor) and source.inference is not None:
                inference = inference or source.inference if name == "join" else inference
                saved = source
        if unknown:
            self.map.edge(self.unknown_source(), new, cut, sure=False)
        if saved is not None and cut is None and spot is not None and name.split(".")[-1] in library.SAVES:
            self.emit(Saved, spot, saved, new, name)
        return Tensor(new, inference=inference, spot=spot)

    def unknown_source(self) -> int:
        """The node that stands for every value nobody could follow."""
        if self._unknown is None:
            self._unknown = self.map.node(Kind.UNKNOWN, "unknown")
        return self._unknown

    def input(self, name: str, node: cst.CSTNode, *, leaf: bool = False) -> Tensor:
        spot = self.spot(node)
        inference = (self.mode.spot or spot) if self.mode.kind == "inference_mode" else None
        return Tensor(
            self.map.node(Kind.INPUT, name, place=spot, trainable=leaf), leaf=leaf, spot=spot, inference=inference
        )

    def data(self, name: str, node: cst.CSTNode) -> Data:
        spot = self.spot(node)
        return Data(self.map.node(Kind.INPUT, name, place=spot, trainable=False), spot, name)

    # -- grad mode ---------------------------------------------------------------------------------------------------

    def within(self, mode: Mode, how: str, body: Thunk) -> str | None:
        before = self.state["mode"]
        self.set_mode(mode)
        if mode.spot:
            self.emit(ModeChange, mode.spot, mode, how)
        status = body()
        self.set_mode(before)
        return status

    def escape(self, values: Sequence[Value]) -> None:
        """Modules handed to code that cannot be read: anything may happen to them there."""
        for value in values:
            for option in value.options if isinstance(value, Union) else (value,):
                if isinstance(option, Instance):
                    option.escaped = True
                    if option.stands_in is not None:
                        option.stands_in.escaped = True

    def unknown(self) -> Value:
        return UNKNOWN
