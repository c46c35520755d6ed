"""Conditions: whether they are true, false or not to be told, and which text makes two of them the same one."""

from __future__ import annotations

from freezelint.source import cst, expressions
from freezelint.source.project import dotted
from freezelint.source.reader import Reader
from freezelint.source.story import Decided, Tested
from freezelint.source.values import (
    NONE,
    Cls,
    Const,
    Data,
    Dict,
    External,
    Func,
    Instance,
    Loader,
    Method,
    Optimizer,
    Option,
    Param,
    Seq,
    Tensor,
    Union,
    Value,
)


def truth(reader: Reader, node: cst.BaseExpression) -> tuple[bool | None, str, bool]:
    """(True, False or None where it cannot be told; the text that makes it the same condition elsewhere; negated)."""
    negated = False
    inner: cst.BaseExpression = node
    while type(inner) is cst.UnaryOperation and inner.operator == "Not":
        negated, inner = not negated, inner.expression
    value = expressions.evaluate(reader, inner)
    tested(reader, inner, value)
    known = truth_of(reader, value)
    text = dotted(inner) if type(inner) in (cst.Attribute, cst.Name) else ""
    if type(inner) is cst.Name and not isinstance(value, Option):
        text = ""
    if known is not None and negated:
        known = not known
    return known, text, negated


def tested(reader: Reader, node: cst.BaseExpression, value: Value) -> None:
    """A condition that is a method nobody has called, or a tensor, is noted."""
    if isinstance(value, Method) and value.name == "requires_grad_":
        reader.emit(Tested, node, node, value)
    elif isinstance(value, Tensor):
        reader.emit(Decided, node, value.node)


def truth_of(reader: Reader, value: Value) -> bool | None:
    if isinstance(value, Method) and value.name == "requires_grad_":
        return True
    if isinstance(value, Const):
        return bool(value.value)
    if isinstance(value, (Func, Cls, Optimizer)):
        return True
    if isinstance(value, Instance):
        return True if not value.children and value.is_module else None
    if isinstance(value, (Seq, Dict)):
        if value.items:
            return True
        return False if isinstance(value, Seq) and not value.open else None
    if isinstance(value, Union):
        known = {truth_of(reader, option) for option in value.options}
        return known.pop() if len(known) == 1 else None
    return None


def is_none(value: Value) -> bool | None:
    if value == NONE:
        return True
    if isinstance(value, (Const, Instance, Tensor, Param, Seq, Dict, Func, Cls, External, Optimizer, Data, Loader)):
        return False
    return None
