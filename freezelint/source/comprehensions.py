"""Comprehensions and generator expressions."""

from __future__ import annotations

from collections.abc import Callable

from freezelint.source import conditions, cst, elements, expressions, ranges
from freezelint.source.project import dotted
from freezelint.source.reader import Reader
from freezelint.source.values import (
    Const,
    Dict,
    Param,
    ParamIter,
    Seq,
    Value,
)


def comprehension(reader: Reader, node: cst.ListComp | cst.SetComp | cst.GeneratorExp) -> Value:
    made: list[Value] = []
    exact = comprehend(reader, node.for_in, lambda: made.append(expressions.evaluate(reader, node.elt)), node.elt)
    if isinstance(node, cst.GeneratorExp) or any(isinstance(item, (Param, ParamIter)) for item in made):
        params = elements.params_in(made)
        if params is not None and (params or _over_parameters(reader, node)):
            filtered = any("requires_grad" in reader.frame.file.code(i.test) for i in node.for_in.ifs)
            one_shot = isinstance(node, cst.GeneratorExp)
            if one_shot or made:
                return ParamIter(list(made), one_shot=one_shot, spot=reader.spot(node), filtered=filtered)
    kind = "generator" if isinstance(node, cst.GeneratorExp) else "list"
    return Seq(made, open=not exact, kind=kind, spot=reader.spot(node))


def _over_parameters(reader: Reader, node: cst.GeneratorExp | cst.ListComp | cst.SetComp) -> bool:
    return dotted(node.for_in.iter).endswith("parameters")


def dict_comprehension(reader: Reader, node: cst.DictComp) -> Value:
    new = Dict({}, spot=reader.spot(node))

    def add() -> None:
        key, value = expressions.evaluate(reader, node.key), expressions.evaluate(reader, node.value)
        if isinstance(key, Const) and isinstance(key.value, (str, int)):
            new.items[key.value] = value
        else:
            new.rest = value if new.rest is None else reader.join([new.rest, value])

    comprehend(reader, node.for_in, add)
    return new


def comprehend(reader: Reader, loop: cst.CompFor, body: Callable[[], None], element: cst.CSTNode | None = None) -> bool:
    """Run `body` for what a comprehension loops over; True when exactly those elements are known."""
    iterable = expressions.evaluate(reader, loop.iter)
    numbers = None if element is None else ranges.picked(iterable, reader.frame.file, loop.target, element)
    items, exact = (numbers, True) if numbers is not None else expressions.iterate(reader, iterable, loop.iter)
    frame = reader.frame
    mark = dict(frame.env)
    unsure = not exact
    for number, item in enumerate(items):
        reader.loops.append((id(loop), number))
        reader.open_loops += unsure
        expressions.bind_target(reader, loop.target, item)
        passed: list[bool | None] = [conditions.truth(reader, condition.test)[0] for condition in loop.ifs]
        if False not in passed:
            exact = exact and None not in passed

            def inner() -> None:
                nonlocal exact
                if loop.inner_for_in:
                    exact = comprehend(reader, loop.inner_for_in, body) and exact
                else:
                    body()

            if None in passed:
                reader.fork(reader.fresh(), [(0, inner), (1, lambda: None)])
            else:
                inner()
        reader.open_loops -= unsure
        reader.loops.pop()
    for key in list(frame.env):
        if key not in mark:
            del frame.env[key]
        else:
            frame.env[key] = mark[key]
    return exact
