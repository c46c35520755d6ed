"""What a name can hold while the code is read: abstract values, and the heap objects behind them.

A value never guesses: what is not known is UNKNOWN, and two possibilities are a `Union`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freezelint.records import field, record

if TYPE_CHECKING:
    from freezelint.source.project import ClassInfo, FunctionInfo, ModuleInfo
    from freezelint.source.story import Context, Spot


class Value:
    """Something nobody can tell more about."""

    __slots__ = ()


UNKNOWN = Value()


@record(frozen=True)
class Const(Value):
    value: Any


NONE, TRUE, FALSE = Const(None), Const(True), Const(False)


@record(frozen=True)
class Option(Value):
    """A setting: its default is known, its value on the day is not."""

    default: Any = None


@record(eq=False)
class Union(Value):
    options: tuple[Value, ...]


@record(eq=False)
class Seq(Value):
    """A list, tuple or set. `open`: more elements like these may be in it."""

    items: list[Value]
    open: bool = False
    kind: str = "list"
    spot: Spot | None = None
    some: bool = False  # a slice of unknown bounds: each item may be in it or not
    filled: bool = False  # such a slice that surely holds something
    numbers: range | None = None  # of `range(...)`
    grown: bool = False  # appended to in a loop of unknown length
    depth: int = 0  # how many such loops it was made in


@record(eq=False)
class Dict(Value):
    items: dict[Any, Value]
    rest: Value | None = None  # what lies under keys that are not known
    spot: Spot | None = None
    missing: Value | None = None  # what makes the value of a missing key: `defaultdict(list)`
    wide: bool = False  # a registry of so many that a key nobody knows gives anything


@record(eq=False)
class Func(Value):
    """A project function, or a method bound to `owner`."""

    info: FunctionInfo
    owner: Value | None = None
    env: Any = None  # the frame a closure was made in
    defaults: dict[str, Value] = field(default_factory=dict)


@record(eq=False)
class Partial(Value):
    function: Value
    args: list[Value]
    kwargs: dict[str, Value]


@record(eq=False)
class Super(Value):
    """`super()`: the next method after `after` in the lineage of `owner`."""

    owner: Instance
    after: ClassInfo


@record(eq=False)
class Cls(Value):
    info: ClassInfo


@record(frozen=True)
class External(Value):
    """A name that lives outside the project: `torch.nn.Linear`."""

    name: str


@record(eq=False)
class Project(Value):
    """A module (file) of the project."""

    info: ModuleInfo


@record(eq=False)
class Method(Value):
    """An attribute of a value that has not been called yet: `x.detach`."""

    owner: Value
    name: str


@record(eq=False)
class Manager(Value):
    """A context manager: no_grad, inference_mode, enable_grad, set_grad_enabled, autocast."""

    kind: str
    flag: bool | None
    spot: Spot
    text: str
    cache: bool = True


@record(eq=False)
class Param(Value):
    """One parameter, or all the parameters of a module nobody can look into (`many`).

    `flags` is its history of requires_grad: (sequence number, flag, context, spot).
    """

    name: str
    owner: Instance | None = None
    spot: Spot | None = None
    many: bool = False
    born: bool = True  # requires_grad at birth
    flags: list[tuple[int, bool | None, Context, Spot]] = field(default_factory=list)
    node: int | None = None
    label: str = ""
    made_from: int | None = None  # the node of the tensor handed to `nn.Parameter(...)`
    arms: frozenset[tuple[int, int]] = frozenset()  # the branches it was born under

    def __repr__(self) -> str:
        return f"<Param {self.name}>"


@record(eq=False)
class Grad(Value):
    """`.grad` of a parameter, or a part of it."""

    param: Param
    part: bool = False


class Params(dict[str, Param]):
    """The parameters a module registers itself, by name; where branches disagree, each of them (`weight*7`)."""


@record(eq=False)
class Instance(Value):
    """An object: a module of torch, of the project, from a factory, or any other object of a project class."""

    cls: ClassInfo | None = None
    external: str = ""  # the class or factory it came from, where that is outside the project
    is_module: bool = False
    spot: Spot | None = None
    attrs: dict[str, Value] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=Params)
    children: list[Value] | None = None  # of a container, in order
    norm: bool | None = False  # holds a norm with running statistics of its own; None: cannot tell
    pretrained: bool = False
    args: list[Value] = field(default_factory=list)
    kwargs: dict[str, Value] = field(default_factory=dict)
    name: str = ""  # as the source first calls it, in the outermost function that does
    named_at: int = 0  # how deep that function was called
    escaped: bool = False  # handed to code that cannot be seen
    opaque: bool = False  # its inside is not known
    wraps: Value | None = None
    modes: list[tuple[int, bool | None, Context, Spot]] = field(default_factory=list)  # train (True) and eval (False)
    hooks: list[Value] = field(default_factory=list)
    some: bool = False  # a slice of unknown bounds: each child may be in it or not
    filled: bool = False  # such a slice that surely holds something
    part_of: Instance | None = None  # stands for some module inside one nobody can look into
    open: bool = False  # of a container: more children like these may be in it
    depth: int = 0  # how many loops of unknown length it was made in
    ones: dict[bool, Instance] = field(default_factory=dict)  # each stands for one of the several this one stands for
    stands_in: Instance | None = None  # the other way round

    def __repr__(self) -> str:
        return f"<{self.cls.name if self.cls else self.external} {self.name}>"


@record(eq=False)
class Tensor(Value):
    """A tensor on the map. `leaf`: requires_grad was asked for on it."""

    node: int
    leaf: bool = False
    inference: Spot | None = None  # made under inference_mode, here
    spot: Spot | None = None
    integral: bool = False
    literal: bool = False  # made from literals: an accumulator


@record(eq=False)
class Data(Value):
    """A batch, or a part of one: tensors from outside, in a shape nobody knows."""

    node: int
    spot: Spot | None = None
    name: str = ""


@record(eq=False)
class Loader(Value):
    """Something that gives batches when looped over."""

    name: str = ""


@record(eq=False)
class ParamIter(Value):
    """`parameters()`, `named_parameters()`, a filter, map, chain or generator over them.

    `one_shot`: an iterator, empty after the first use. `used` are the places that used it up.
    """

    items: list[Value]
    one_shot: bool = True
    named: bool = False
    spot: Spot | None = None
    owner: Value | None = None
    filtered: bool = False  # by requires_grad, at the time it is consumed
    used: list[Any] = field(default_factory=list)
    sources: list[ParamIter] = field(default_factory=list)  # iterators this one draws from
    name: str = ""
    some: bool = False  # of a slice of unknown bounds
    filled: bool = False  # one that surely holds something


@record(eq=False)
class Optimizer(Value):
    external: str
    groups: list[Value] = field(default_factory=list)
    params: list[Param] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    kwargs: dict[str, Value] = field(default_factory=dict)
    spot: Spot | None = None
    name: str = ""
    known: bool = True  # everything handed to it is understood
    of: list[Instance] = field(default_factory=list)  # the modules whose parameters it was given
    after: int = 0  # how many parameters the story knew when it was built


@record(eq=False)
class Object(Value):
    """An object of a library: `torch.cuda.amp.GradScaler()`, `accelerate.Accelerator()`, a Trainer."""

    external: str
    args: list[Value] = field(default_factory=list)
    kwargs: dict[str, Value] = field(default_factory=dict)
    spot: Spot | None = None
    attrs: dict[str, Value] = field(default_factory=dict)


FLAT = frozenset(
    {Value, Const, Option, External, Func, Cls, Method, Project, Super, Manager, Optimizer}
)  # hold nothing


def union(values: list[Value]) -> Value:
    """The join of several possibilities; tensors are joined by the reader, which has the map."""
    flat: list[Value] = []
    for value in values:
        for option in value.options if isinstance(value, Union) else (value,):
            if option not in flat:  # `==` is identity but for what cannot change
                flat.append(option)
    if not flat:
        return UNKNOWN
    if len(flat) == 1:
        return flat[0]
    if all(isinstance(value, (Const, Option)) for value in flat) and NONE not in flat:
        first = flat[0]
        return Option(first.value if isinstance(first, Const) else getattr(first, "default", None))
    return Union(tuple(flat[:8]))


def options(value: Value) -> tuple[Value, ...]:
    return value.options if type(value) is Union else (value,)


def hides(value: Value) -> bool:
    """Whether a tensor nobody could follow may be in a value."""
    if isinstance(value, Seq):
        return any(hides(item) for item in value.items)
    return type(value) is Value or (isinstance(value, Union) and any(hides(option) for option in value.options))


def tensors_in(value: Value, depth: int = 4) -> list[Value]:
    """The tensors, data and parameters held by a value, at any depth a batch usually has."""
    if type(value) in FLAT:
        return []
    if isinstance(value, (Tensor, Data, Param)):
        return [value]
    if depth and isinstance(value, Union):
        return [t for option in value.options for t in tensors_in(option, depth - 1)]
    if depth and isinstance(value, Seq):
        return [t for item in value.items for t in tensors_in(item, depth - 1)]
    if depth and isinstance(value, Dict):
        inner = [*value.items.values(), *([value.rest] if value.rest else [])]
        return [t for item in inner for t in tensors_in(item, depth - 1)]
    if depth and isinstance(value, Object) and value.external == "output":
        return [t for item in value.attrs.values() for t in tensors_in(item, depth - 1)]
    return []


def modules_in(value: Value, depth: int = 3) -> list[Instance]:
    """The modules a value holds."""
    if type(value) in FLAT:
        return []
    if isinstance(value, Instance) and value.is_module:
        return [value]
    if depth and isinstance(value, (Union, Seq)):
        inner = value.options if isinstance(value, Union) else tuple(value.items)
        return [m for item in inner for m in modules_in(item, depth - 1)]
    if depth and isinstance(value, Dict):
        inner_ = [*value.items.values(), *([value.rest] if value.rest else [])]
        return [m for item in inner_ for m in modules_in(item, depth - 1)]
    return []


def submodules(module: Instance, seen: set[int] | None = None) -> list[Instance]:
    """The module and everything registered below it, each once, in order."""
    seen = set() if seen is None else seen
    if id(module) in seen:
        return []
    seen.add(id(module))
    found = [module]
    for child in direct_children(module):
        found += submodules(child, seen)
    return found


def direct_children(module: Instance) -> list[Instance]:
    found: dict[int, Instance] = {}
    for value in (*(module.children or ()), *module.attrs.values(), module.wraps):
        kind = type(value)
        for option in value.options if kind is Union else (value,) if kind is Instance else ():
            if type(option) is Instance and option.is_module:
                found[id(option)] = option
    return list(found.values())


def parameters_of(module: Instance) -> list[Param]:
    """Every registered parameter below `module`, each once (tied weights are one)."""
    found: dict[int, Param] = {}
    for part in submodules(module):
        for value in part.params.values():
            for param in options(value):
                if isinstance(param, Param):
                    found.setdefault(id(param), param)
    return list(found.values())


def named_parameters(module: Instance, prefix: str = "", seen: set[int] | None = None) -> list[tuple[str, Param]]:
    """(dotted name, parameter); inside a module nobody can look into the name ends with `*`."""
    seen = set() if seen is None else seen
    if id(module) in seen:
        return []
    seen.add(id(module))
    rows = [(prefix + (name.partition("*")[0] or name), param) for name, param in module.params.items()]
    for name, child in named_children(module):
        rows += named_parameters(child, f"{prefix}{name}.", seen)
    return rows


def named_children(module: Instance) -> list[tuple[str, Instance]]:
    rows: list[tuple[str, Instance]] = []
    numbered = [(str(i), value) for i, value in enumerate(module.children or ())]
    for name, value in [*numbered, *module.attrs.items(), *([("module", module.wraps)] if module.wraps else [])]:
        for option in options(value):
            if isinstance(option, Instance) and option.is_module and not any(option is seen for _, seen in rows):
                rows.append((name, option))
    return rows
