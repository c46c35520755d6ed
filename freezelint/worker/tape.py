"""What a record is made of: nodes, cuts, stretches without grad mode, and walks over autograd's own graph."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from .operations import KIND, name_of
from .places import Place

_order = itertools.count()


class Cut:
    """Why and where the gradient stops on a way."""

    __slots__ = ("bare", "cause", "module", "place", "scope", "text")

    def __init__(self, cause: str, place: Place | None, text: str, module: str = "", scope: Place | None = None):
        self.cause, self.place, self.text, self.module, self.scope = cause, place, text, module, scope
        self.bare = False  # grad mode was switched off for good, not for a stretch of code


class Node:
    """A parameter, an input that requires grad, or a value that depends on one."""

    __slots__ = ("asked", "detail", "grad", "into", "kind", "order", "place", "shape", "site", "text", "used")

    def __init__(self, kind: str, text: str, place: Place | None, grad: bool) -> None:
        self.kind, self.text, self.place, self.grad = kind, text, place, grad
        self.order = next(_order)
        self.into: list[tuple[Node, Cut | None]] = []
        self.detail: Any = None  # the ledger's entry of a parameter or an input
        self.used = False
        self.asked = False  # autograd.grad was asked for its gradient
        self.shape: tuple[int, ...] = ()
        self.site: Place | None = None


class Region:
    """A stretch of the run with grad mode switched: a block, a decorated function, or a bare switch."""

    __slots__ = ("bare", "code", "depth", "enabled", "frame", "kind", "owner", "place", "text")

    def __init__(self, kind: str, enabled: bool, place: Place | None, text: str) -> None:
        self.kind, self.enabled, self.place, self.text = kind, enabled, place, text
        self.frame: Any = None
        self.code: Any = None
        self.owner: Any = None
        self.bare = False
        self.depth = 0  # how many modules were being called when it began


class Call:
    """One call of torch's API, to be made exactly once, whatever becomes of the notes about it."""

    __slots__ = ("error", "func", "made", "name", "result")

    def __init__(self, func: Any) -> None:
        self.func, self.name = func, name_of(func)
        self.made = False
        self.result: Any = None
        self.error: BaseException | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.made = True
        try:
            self.result = self.func(*args, **kwargs)
        except BaseException as error:
            self.error = error
            raise
        return self.result


def tensors(*values: Any) -> Iterator[Tensor]:
    """Tensors among arguments, two levels of tuples, lists and dicts deep."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            if len(value) > 4096:
                continue
            for item in value:
                if isinstance(item, Tensor):
                    yield item
                elif isinstance(item, (tuple, list, dict)):
                    yield from tensors(item)
        elif isinstance(value, dict):
            yield from tensors(*value.values())


def connected(start: Any, fns: set[int], variables: set[int], limit: int = 400) -> set[int]:
    """Which of the known autograd nodes and leaves lie behind `start` without crossing another of them.

    Nearest first, and no further than where all are met: an operation's inputs mostly lie one step behind it.
    """
    met: set[int] = set()
    wanted = len(fns) + len(variables)
    keep = [start]  # also holds them: an id must not be used again while we look
    seen = {id(start)}
    for fn in keep:
        if id(fn) in fns:
            met.add(id(fn))
        elif type(fn).__name__ == "AccumulateGrad":
            if id(fn.variable) in variables:
                met.add(id(fn.variable))
        else:
            for following, _ in fn.next_functions:
                if following is not None and id(following) not in seen:
                    seen.add(id(following))
                    keep.append(following)
        if len(met) == wanted or len(keep) > limit:
            break
    return met


def leaves(start: Any, limit: int = 200_000) -> list[Tensor]:
    """The leaf tensors whose gradient a backward from `start` computes."""
    found: list[Tensor] = []
    todo, seen = [start], {start}
    while todo and len(seen) < limit:
        fn = todo.pop()
        if fn is None:
            continue
        variable = fn.variable if type(fn).__name__ == "AccumulateGrad" else None
        if variable is not None:
            found.append(variable)
            continue
        for following, _ in fn.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    return found


def number_is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0


def written(name: str) -> str:
    return f".{name}()" if name not in KIND.functions else f"torch.{name}()"


def all_nodes(starts: Iterable[Node]) -> list[Node]:
    """`starts` and everything behind them."""
    found: dict[int, Node] = {id(node): node for node in starts}
    todo = list(found.values())
    while todo:
        for source, _ in todo.pop().into:
            if id(source) not in found:
                found[id(source)] = source
                todo.append(source)
    return list(found.values())
