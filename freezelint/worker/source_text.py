"""The user's source as far as the facts need it: the call at a place, comments above it, uses of a name."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from .places import CELL_MARK, Place


def filename(place: Place) -> str:
    return f"{place[0]}{CELL_MARK}{place[5]}" if place[5] else place[0]


@lru_cache(maxsize=256)
def tree(name: str) -> ast.Module | None:
    try:
        return ast.parse("".join(linecache.getlines(name)))
    except (SyntaxError, ValueError):
        return None


def lines_above(place: Place, count: int) -> list[str]:
    """The line of a place and the `count` lines above it."""
    name = filename(place)
    return [linecache.getline(name, line) for line in range(max(1, place[1] - count), place[1] + 1)]


def call_at(place: Place, function: str) -> ast.Call | None:
    """The call of `function` that touches the lines of a place."""
    module = tree(filename(place))
    for node in ast.walk(module) if module else ():
        if isinstance(node, ast.Call) and node.lineno <= place[3] and (node.end_lineno or 0) >= place[1]:
            target = node.func
            name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
            if not function or name == function:
                return node
    return None


def thrown_away(place: Place) -> bool:
    """Whether the call at a place is a statement of its own: nobody looks at what it gives."""
    module = tree(filename(place))
    calls = (node for node in ast.walk(module) if isinstance(node, ast.Expr)) if module else ()
    return any(isinstance(node.value, ast.Call) and node.lineno == place[1] for node in calls)


def loop_around(place: Place) -> ast.For | None:
    """The innermost `for` whose body holds a place."""
    module = tree(filename(place))
    found: ast.For | None = None
    for node in ast.walk(module) if module else ():
        if isinstance(node, ast.For) and node.lineno < place[1] <= (node.end_lineno or 0):
            found = node
    return found


def function_at(place: Place) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.Module | None:
    """The innermost function around a place, or the module."""
    module = tree(filename(place))
    found: ast.FunctionDef | ast.AsyncFunctionDef | ast.Module | None = module
    for node in ast.walk(module) if module else ():
        inside = getattr(node, "lineno", 0) <= place[1] <= (getattr(node, "end_lineno", 0) or 0)
        if inside and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found = node
    return found


@lru_cache(maxsize=4096)
def statement_at(place: Place) -> ast.stmt | None:
    """The innermost simple statement that covers a place."""
    module = tree(filename(place))
    found: ast.stmt | None = None
    for node in ast.walk(module) if module else ():
        if isinstance(node, ast.stmt) and node.lineno <= place[1] and (node.end_lineno or 0) >= place[3]:
            found = node
    return found


def statement_lines(place: Place) -> tuple[int, int]:
    statement = statement_at(place)
    if statement is None or hasattr(statement, "body"):
        return place[1], place[3]
    return statement.lineno, statement.end_lineno or statement.lineno


def named_values(frame: Any, place: Place) -> Iterator[Any]:
    """What the names of the running statement hold, containers opened one level."""
    statement = statement_at(place)
    if statement is None or hasattr(statement, "body"):
        return
    for node in ast.walk(statement):
        value: Any = None
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            value = frame.f_locals.get(node.id, frame.f_globals.get(node.id))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            value = getattr(frame.f_locals.get("self"), "__dict__", {}).get(node.attr)
        if value is None:
            continue
        yield value
        if isinstance(value, (list, tuple)) and len(value) < 1000:
            yield from value
        elif isinstance(value, dict) and len(value) < 1000:
            yield from list(value.values())


def discarded_comparison(place: Place) -> str:
    """The text of a statement that is only a comparison, or nothing."""
    statement = statement_at(place)
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Compare):
        return ast.unparse(statement)
    return ""


def span(place: Place, node: ast.expr) -> Place:
    """Where an expression of the same file stands."""
    return (
        place[0],
        node.lineno,
        node.col_offset,
        node.end_lineno or node.lineno,
        node.end_col_offset or 0,
        place[5],
    )
