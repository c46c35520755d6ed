"""Modules that stand for several: the elements of a container of a length nobody knows.

`ModuleList([Block() for _ in range(depth)])` holds one block that stands for all of them. What is done to all is done
to it; what is done to `layers[-1]` is done to one of them only, and a name with a number in it may have another number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from freezelint.source import library
from freezelint.source.values import UNKNOWN, Const, Instance, Seq, Value, named_children, options

NUMBERS = (*range(40), 97)
PLACE, ANY = "\0", "\1"  # a number, or a name, that nobody knows


class Numbered(str):
    """A dotted name with a number in it that stands for others; `template` has `PLACE` where that number is."""

    template: str


def named(template: str | None) -> Value:
    """The name of a part of a module as the source may compare it."""
    if template is None or ANY in template:
        return UNKNOWN
    made = Numbered(template.replace(PLACE, "0"))
    made.template = template
    return Const(made if PLACE in template else template)


def number(value: Any, chosen: int) -> Any:
    """A constant with one number in the place of those that stand for others."""
    if isinstance(value, Numbered):
        return value.template.replace(PLACE, str(chosen))
    if type(value) in (list, tuple):
        return type(value)(number(item, chosen) for item in value)
    return value


def holds_number(value: Any) -> bool:
    return isinstance(value, Numbered) or (type(value) in (list, tuple) and any(map(holds_number, value)))


def decided(compute: Callable[..., Any], *given: Any) -> Value:
    """What a function gives for constants; unknown where that depends on a number that stands for others."""
    if not any(map(holds_number, given)):
        return Const(compute(*given))
    found = [compute(*(number(value, chosen) for value in given)) for chosen in NUMBERS]
    return Const(found[0]) if all(result == found[0] for result in found) else UNKNOWN


def one_of(value: Value, *, filled: bool = True) -> Value:
    """One of the modules that a value stands for, or perhaps none: what is done to it is not done to all of them."""
    if not isinstance(value, Instance) or not value.is_module or value.some:
        return value
    if filled not in value.ones:
        one = Instance(value.cls, value.external, True, value.spot, some=True, filled=filled, stands_in=value)
        one.attrs, one.params, one.modes, one.hooks = value.attrs, value.params, value.modes, value.hooks
        value.ones[filled] = one
    one = value.ones[filled]
    for name in ("children", "norm", "pretrained", "escaped", "opaque", "args", "kwargs", "wraps", "part_of", "open"):
        setattr(one, name, getattr(value, name))
    return one


def surely(bounds: bool | slice) -> bool:
    """Whether a slice of a list of any length holds something: `[:3]`, `[-2:]`."""
    if not isinstance(bounds, slice) or bounds.step not in (None, 1):
        return False
    start, stop = bounds.start, bounds.stop
    return (start in (None, 0) and (stop or 0) > 0) or (stop is None and (start or 0) < 0)


def uncounted(value: Value) -> bool:
    """Whether a list or container may hold more elements like those it is known to hold."""
    if isinstance(value, Seq):
        return value.open or value.grown
    return isinstance(value, Instance) and (value.open or (value.children is not None and value.opaque))


def dotted_templates(module: Instance) -> dict[int, str]:
    """The dotted name of each part, and of each of its parameters, by identity; `PLACE` for a number nobody knows."""
    found: dict[int, str] = {}
    for prefix, part in _walk(module, "", set()):
        found.setdefault(id(part), prefix.rstrip("."))
        for name, held in part.params.items():
            for param in options(held):
                found.setdefault(id(param), prefix + (name.partition("*")[0] or name))
    return found


def _walk(module: Instance, prefix: str, seen: set[int]) -> Iterator[tuple[str, Instance]]:
    if id(module) in seen:
        return
    seen.add(id(module))
    yield prefix, module
    container = module.external.rpartition(".")[2] in library.CONTAINERS
    loose = uncounted(module)
    for name, child in named_children(module):
        unknown = name.isdigit() and (loose or not container)
        part = (PLACE if container else ANY) if unknown else name
        yield from _walk(child, f"{prefix}{part}.", seen)
