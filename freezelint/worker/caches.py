"""Caches of functions behind a model (`functools.lru_cache`): a step on fake tensors may leave none of them there.

Later steps, the user's own among them, would be handed a tensor without values.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import _lru_cache_wrapper
from types import FunctionType
from typing import Any

from torch import nn

Cache = _lru_cache_wrapper


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
