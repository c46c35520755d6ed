"""Records: classes of named fields, as `dataclasses` makes them, in an eighth of the time.

A check of one file makes 170 such classes before it reads a line; with `dataclasses` that was half of its start-up
(`tests/bench/records.py` prints both). What differs: a record always has slots, and that one is frozen is left to the
type checker, so that making it costs no more than making any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: object) -> Any:
        return lambda decorator: decorator


T = TypeVar("T")
REQUIRED: Any = object()


class Made:
    """The default of a field that each record gets anew."""

    __slots__ = ("by",)

    def __init__(self, by: Callable[[], Any]) -> None:
        self.by = by


def field(*, default_factory: Callable[[], Any]) -> Any:
    """A default made for each record: `rows: list[Row] = field(default_factory=list)`."""
    return Made(default_factory)


@dataclass_transform(field_specifiers=(field,))
def record(cls: Any = None, /, *, frozen: bool = False, eq: bool = True, order: bool = False) -> Any:
    """Make a class a record: `@record`, or `@record(frozen=True)`. The options mean what they do for a dataclass."""
    if cls is None:
        return lambda decorated: _made(decorated, frozen=frozen, eq=eq, order=order)
    return _made(cls, frozen=frozen, eq=eq, order=order)


def fields(of: Any) -> Mapping[str, Any]:
    """The fields of a record or its class: name -> default (REQUIRED without one, a Made for one made anew)."""
    known: Mapping[str, Any] = of.__fields__
    return known


def replace(of: T, **changes: Any) -> T:
    """A record like `of` but for some fields."""
    return type(of)(**{**{name: getattr(of, name) for name in fields(of)}, **changes})


def asdict(of: Any) -> dict[str, Any]:
    """A record as a dict, and so every record in it."""
    return {name: _plain(getattr(of, name)) for name in fields(of)}


def _plain(value: Any) -> Any:
    if hasattr(value, "__fields__"):
        return asdict(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _made(cls: type, *, frozen: bool, eq: bool, order: bool) -> type:
    """The class anew, with slots and the methods its fields ask for."""
    space = {name: value for name, value in cls.__dict__.items() if name not in ("__dict__", "__weakref__")}
    hints = space.get("__annotations__", {})
    own = {
        name: space.pop(name, REQUIRED)
        for name, hint in hints.items()
        if not str(hint).startswith(("ClassVar", "typing.ClassVar"))
    }
    shared = [name for name, default in own.items() if isinstance(default, (list, dict, set))]
    if shared:
        raise TypeError(
            f"{cls.__name__}.{shared[0]}: every record would share this default; say field(default_factory=…)"
        )
    inherited = [base.__dict__.get("__fields__", {}) for base in reversed(cls.__mro__[1:])]
    known = {name: default for fields_ in inherited for name, default in fields_.items()}
    all_ = {**known, **own}
    space.update(__slots__=tuple(name for name in own if name not in known), __fields__=all_)
    space.setdefault("__init__", _init(all_))
    space.setdefault("__repr__", _repr)
    key = attrgetter(*all_) if all_ else type
    if eq:
        space.setdefault("__eq__", lambda a, b: key(a) == key(b) if type(a) is type(b) else NotImplemented)
        space.setdefault("__hash__", (lambda a: hash(key(a))) if frozen else None)
    if order:
        space["__lt__"] = lambda a, b: key(a) < key(b)
    return type(cls)(cls.__name__, cls.__bases__, space)


def _init(of: dict[str, Any]) -> Any:
    """`__init__`, compiled: no shared one is as quick, and a check makes records by the hundred thousand."""
    parameters, body = ["self"], []
    for name, default in of.items():
        if isinstance(default, Made):
            parameters.append(f"{name}=REQUIRED")
            body.append(f" self.{name} = d_{name}() if {name} is REQUIRED else {name}")
        else:
            parameters.append(name if default is REQUIRED else f"{name}=d_{name}")
            body.append(f" self.{name} = {name}")
    scope = {f"d_{name}": default.by if isinstance(default, Made) else default for name, default in of.items()}
    scope["REQUIRED"] = REQUIRED
    exec("\n".join([f"def __init__({', '.join(parameters)}):", *(body or [" pass"])]), scope)
    return scope["__init__"]


def _repr(self: Any) -> str:
    return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__fields__)})"
