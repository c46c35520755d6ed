"""Iterators of parameters that are used up: noticed the moment they end, in the frame that drained them."""

from __future__ import annotations

import ast
import functools
import gc
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .places import Place, Places, called_from_torch
from .source_text import function_at, statement_at, tree

ITERATORS = (types.GeneratorType, filter, map, zip, itertools.chain, itertools.islice)
MOST_WALKS, MOST_NAMES = 500, 5000
LOOKS = 4  # a line that drained nothing named this often is not looked at again


@dataclass
class Walk:
    """A loop of the user's over named parameters or modules, to its end: what it met, and names that hold nothing."""

    names: list[str] = field(default_factory=list)
    empty: set[str] = field(default_factory=set)


class Drains:
    """Uses of a name after the iterator it holds was drained; and the names that walks over a model met."""

    def __init__(self, places: Places, busy: Callable[[], bool]) -> None:
        self.places = places
        self.busy = busy
        self.found: list[tuple[Place, Place, str]] = []  # (use, where it was drained, name)
        self.walks: dict[Place, Walk] = {}
        self._looked: dict[Any, int] = {}

    def wrap(self, original: Any) -> Any:
        """`Module.parameters` and its like, still a generator function, which tells when a generator ends."""

        @functools.wraps(original)
        def parameters(*args: Any, **kwargs: Any) -> Iterator[Any]:
            yield from original(*args, **kwargs)
            if not self.busy():
                self.drained(sys._getframe())

        return parameters

    def wrap_named(self, original: Any) -> Any:
        """The same of `named_parameters` and its like, with the names that were handed out."""

        @functools.wraps(original)
        def named(*args: Any, **kwargs: Any) -> Iterator[Any]:
            names = []
            for pair in original(*args, **kwargs):
                names.append(pair[0])
                yield pair
            if not self.busy() and not called_from_torch():
                self.walked(names)
                self.drained(sys._getframe())

        return named

    def walked(self, names: list[str]) -> None:
        user = self.places.frame()
        if user is None or len(self.walks) > MOST_WALKS:
            return
        walk = self.walks.setdefault(self.places.of(user), Walk())
        walk.names += names[: MOST_NAMES - len(walk.names)]
        walk.empty |= {name for name, value in user.f_locals.items() if value is None or is_empty(value)}

    def drained(self, generator_frame: types.FrameType) -> None:
        user = self.places.frame()
        if user is None:
            return
        key = (user.f_code, user.f_lasti)
        if self._looked.get(key, 0) >= LOOKS:
            return
        self._looked[key] = self._looked.get(key, 0) + 1
        owners = {id(generator_frame)}
        at: types.FrameType | None = user
        where = self.places.of(user)
        if user.f_code.co_name == "<genexpr>" and user.f_back is not None:
            owners.add(id(user))
            outer = user.f_back
            while outer is not None and not self.places.is_user(outer.f_code) and outer.f_back is not None:
                outer = outer.f_back
            at, where = outer, self.places.of(outer)
        while at is not None:
            if self.places.is_user(at.f_code):
                for name, value in list(at.f_locals.items()):
                    if isinstance(value, ITERATORS) and holds(value, owners):
                        self.later_uses(name, self.places.of(at), where)
                owner = at.f_locals.get("self")
                for name, value in list(getattr(owner, "__dict__", {}).items()):
                    if isinstance(value, ITERATORS) and holds(value, owners):
                        self.later_uses(f"self.{name}", self.places.of(at), where)
            at = at.f_back

    def later_uses(self, name: str, place: Place, where: Place) -> None:
        for first, last in uses_after(name, place):
            use = (place[0], first, 0, last, 0, place[5])
            if all(use != known for known, _, _ in self.found):
                self.found.append((use, where, name))


def is_empty(value: Any) -> bool:
    return isinstance(value, (str, list, tuple, set, frozenset, dict)) and not value


def holds(value: Any, frames: set[int], depth: int = 3) -> bool:
    """Whether an iterator is, or draws from, the generator that runs in one of `frames`."""
    if isinstance(value, types.GeneratorType):
        return id(value.gi_frame) in frames
    if depth == 0:
        return False
    referents: list[Any] = []
    for inner in gc.get_referents(value):
        referents.extend(inner if isinstance(inner, tuple) else (inner,))
    return any(holds(inner, frames, depth - 1) for inner in referents if isinstance(inner, ITERATORS))


def uses_after(name: str, place: Place) -> list[tuple[int, int]]:
    """Lines after `place` that iterate over `name` (or an alias of it) again, up to where it is bound anew."""
    if name.startswith("self."):
        body: Any = tree(place[0])
    else:
        body = function_at(place)
    if body is None:
        return []
    names = {name}
    if name in bound_by(place):
        return []
    found: list[tuple[int, int]] = []
    nodes = sorted(
        (node for node in own_nodes(body) if isinstance(node, (ast.stmt, ast.expr))),
        key=lambda node: (node.lineno, node.col_offset),
    )
    for node in nodes:
        if node.lineno <= place[3]:
            continue
        if isinstance(node, ast.Assign):
            targets = {dotted(target) for target in node.targets}
            if dotted(node.value) in names:
                names |= targets
                continue
            names -= targets
        elif isinstance(node, ast.For) and dotted(node.iter) in names:
            found.append((node.lineno, node.iter.end_lineno or node.lineno))
        elif isinstance(node, ast.expr) and consumes(node, names):
            found.append((node.lineno, node.end_lineno or node.lineno))
    return [use for use in found if not exclusive(body, place[1], use[0])]


def bound_by(place: Place) -> set[str]:
    """What the running statement itself binds anew: `params = list(params)` leaves nothing used up."""
    statement = statement_at(place)
    return {dotted(target) for target in statement.targets} if isinstance(statement, ast.Assign) else set()


def consumes(node: ast.expr, names: set[str]) -> bool:
    """A call that takes one of the names, or a comprehension over it."""
    if isinstance(node, ast.Call):
        return drains(node) and any(dotted(item) in names for item in node.args)
    return isinstance(node, (ast.ListComp, ast.GeneratorExp)) and dotted(node.generators[0].iter) in names


def own_nodes(body: ast.AST) -> Iterator[ast.AST]:
    """Every node of a function, those of functions defined inside it included; a module gives all of them."""
    yield from ast.walk(body)


def drains(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name not in ("isinstance", "type", "print", "id", "len", "iter", "next", "repr", "str")


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def exclusive(body: ast.AST, first: int, second: int) -> bool:
    """Whether two lines lie in different arms of one `if`, or the first arm leaves the function."""
    for node in ast.walk(body):
        if isinstance(node, ast.If) and within(node.body, first) and within(node.orelse, second):
            return True
        leaves = isinstance(node, ast.If) and isinstance(
            node.body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break)
        )
        if leaves and isinstance(node, ast.If) and within(node.body, first) and not within(node.body, second):
            return True
    return False


def within(body: list[ast.stmt], line: int) -> bool:
    return bool(body) and body[0].lineno <= line <= (body[-1].end_lineno or 0)
