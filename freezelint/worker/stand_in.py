"""An empty torchvision, for as long as timm is imported where that is not installed.

timm asks it for names alone: transforms of images, and a way to take features out of a model, neither of which building
one takes. Nothing in it computes.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Name(type):
    """A class that has every attribute one asks for."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds torchvision and all below it; each module holds an empty class for every name."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: types.ModuleType) -> None:
        def missing(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return Name(name, (), {})

        module.__getattr__ = missing  # type: ignore[method-assign]


@contextmanager
def torchvision_stand_in() -> Iterator[bool]:
    """True where a stand-in was needed."""
    if importlib.util.find_spec("torchvision") is not None:
        yield False
        return
    finder = StandIn()
    sys.meta_path.append(finder)
    try:
        yield True
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
