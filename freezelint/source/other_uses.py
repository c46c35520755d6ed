"""Whether a class uses a part of itself where a step need not come by: in another method, or behind a test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TypeGuard

from freezelint.findings import Location

RUN = frozenset({"forward", "__call__", "training_step"})
NO_USE = re.compile(r"__init__|_*(init|reset|build|setup|freeze|unfreeze|train|eval|load|tie|extra_repr|param)")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def used_otherwise(place: Location, name: str) -> bool:
    """Whether the class that builds a part at `place`, which the model calls `name`, reads it somewhere, and nowhere
    that every forward comes by."""
    cls = None if place.cell is not None else _class_at(place)
    attribute = _built(cls, place, name) if cls is not None else ""
    if cls is None or not attribute:
        return False
    methods = {one.name: one for one in cls.body if isinstance(one, Function)}
    sure = _sure(methods)
    reads = [(one.name, always) for one in methods.values() for read, always in _reads(one) if read == attribute]
    uses = [(method, always) for method, always in reads if method in sure or not NO_USE.match(method)]
    return bool(uses) and not any(always and method in sure for method, always in uses)


def _class_at(place: Location) -> ast.ClassDef | None:
    found = [one for one in _classes(place.path) if one.lineno <= place.line <= (one.end_lineno or 0)]
    return max(found, key=lambda one: one.lineno, default=None)


@lru_cache(maxsize=64)
def _classes(path: str) -> list[ast.ClassDef]:
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def _built(cls: ast.ClassDef, place: Location, name: str) -> str:
    """The attribute of `self` that the statement at a place sets, if the name of the part holds it."""
    for node in ast.walk(cls):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.lineno <= place.line <= (node.end_lineno or 0):
            stored = [one.attr for one in ast.walk(node) if _own(one) and isinstance(one.ctx, ast.Store)]
            return next((one for one in stored if one in name.split(".")), "")
    return ""


def _own(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _sure(methods: dict[str, Function]) -> set[str]:
    """The methods that every forward comes by."""
    sure: set[str] = set()
    todo = [name for name in methods if name in RUN]
    while todo:
        name = todo.pop()
        if name not in sure:
            sure.add(name)
            todo += [read for read, always in _reads(methods[name]) if always and read in methods]
    return sure


def _reads(function: Function) -> Iterator[tuple[str, bool]]:
    """Each attribute of `self` that a function reads, and whether every call of it comes by there."""
    always = True
    for statement in function.body:
        yield from _within(statement, always)
        always = always and not any(isinstance(node, ast.Return) for node in ast.walk(statement))


def _within(node: ast.AST, always: bool) -> Iterator[tuple[str, bool]]:
    if _own(node) and isinstance(node.ctx, ast.Load):
        yield node.attr, always
    inner = node.test if isinstance(node, (ast.If, ast.IfExp)) else None
    branches = isinstance(node, (ast.If, ast.IfExp, ast.Try, ast.Lambda, *Function.__args__))
    for child in ast.iter_child_nodes(node):
        yield from _within(child, always and (not branches or child is inner))
