"""What a step leaves behind beside tensors: caches of functions behind a model, and attributes of its modules.

A cache (`functools.lru_cache`) that a step on fake tensors filled would hand later steps, the user's own among them, a
tensor without values. A real step counts calls, keeps its last output, and the like.
"""

from __future__ import annotations

import copy
import sys
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import _lru_cache_wrapper
from types import FunctionType
from typing import Any

from torch import nn

Cache = _lru_cache_wrapper
CONTAINERS = (list, set, deque, dict, OrderedDict)


@contextmanager
def emptied_after(caches: list[Cache[Any]]) -> Iterator[None]:
    """Those that took something in meanwhile are empty afterwards."""
    before = [cache.cache_info().misses for cache in caches]
    try:
        yield
    finally:
        for cache, misses in zip(caches, before):
            if cache.cache_info().misses != misses:
                cache.cache_clear()


@contextmanager
def attributes_kept(modules: list[nn.Module]) -> Iterator[None]:
    """Plain attributes are bound to what they were, and lists, sets and dicts among them hold what they held."""
    of_torch = vars(nn.Module()).keys() - {"training"}
    before = [(vars(module), dict(vars(module))) for module in modules]
    values = {id(value): value for _, names in before for name, value in names.items() if name not in of_torch}
    held = [(value, copy.copy(value)) for value in values.values() if type(value) in CONTAINERS]
    try:
        yield
    finally:
        for now, names in before:
            for name in now.keys() - names.keys():
                del now[name]
            now.update(names)
        for value, kept in held:
            value.clear()
            (value.extend if isinstance(value, (list, deque)) else value.update)(kept)


def caches_of(model: nn.Module) -> list[Cache[Any]]:
    """Cached functions and methods in the classes of the model's modules and the files that these stand in."""
    classes = {kind for module in model.modules() for kind in type(module).__mro__}
    own = [kind for kind in classes if kind.__module__.partition(".")[0] not in ("torch", "builtins")]
    files = [sys.modules[name] for name in {kind.__module__ for kind in own} if name in sys.modules]
    return list({id(cache): cache for holder in (*own, *files) for cache in cached_in(holder)}.values())


def cached_in(holder: Any) -> Iterator[Cache[Any]]:
    for value in list(vars(holder).values()):
        plain = getattr(value, "__func__", value) if isinstance(value, (staticmethod, classmethod)) else value
        if isinstance(plain, _lru_cache_wrapper):
            yield plain
        elif isinstance(plain, FunctionType) and plain.__closure__:
            for cell in plain.__closure__:
                try:
                    kept = cell.cell_contents
                except ValueError:  # a name that is not bound yet
                    continue
                if isinstance(kept, _lru_cache_wrapper):
                    yield kept
