"""From Python's parse of an expression to ours."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from freezelint.source.cst import expressions as cst
from freezelint.source.cst.base import BaseExpression, CSTNode, Span

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "Add", ast.Sub: "Subtract", ast.Mult: "Multiply", ast.MatMult: "MatrixMultiply", ast.Div: "Divide",
    ast.Mod: "Modulo", ast.Pow: "Power", ast.LShift: "LeftShift", ast.RShift: "RightShift", ast.BitOr: "BitOr",
    ast.BitXor: "BitXor", ast.BitAnd: "BitAnd", ast.FloorDiv: "FloorDivide",
}  # fmt: skip
_UNARY: dict[type[ast.unaryop], str] = {
    ast.Not: "Not", ast.USub: "Minus", ast.UAdd: "Plus", ast.Invert: "BitInvert",
}  # fmt: skip
_COMPARED: dict[type[ast.cmpop], str] = {
    ast.Eq: "Equal", ast.NotEq: "NotEqual", ast.Lt: "LessThan", ast.LtE: "LessThanEqual", ast.Gt: "GreaterThan",
    ast.GtE: "GreaterThanEqual", ast.Is: "Is", ast.IsNot: "IsNot", ast.In: "In", ast.NotIn: "NotIn",
}  # fmt: skip


def binary_operator(operator: ast.operator) -> str:
    """The name of an operator: Add, Subtract, ..."""
    return _BINARY[type(operator)]


def expression(old: ast.expr) -> BaseExpression:
    """The node for one expression."""
    make = _MAKERS.get(type(old))
    return make(old) if make else cst.OtherExpression(old, below(old))


def maybe(old: ast.expr | None) -> BaseExpression | None:
    return None if old is None else expression(old)


def below(old: ast.AST) -> list[CSTNode]:
    """The expressions that stand in a thing, the outermost ones."""
    found: list[CSTNode] = []
    for part in ast.iter_child_nodes(old):
        found += [expression(part)] if isinstance(part, ast.expr) else below(part)
    return found


def span(first: Any, last: Any) -> Span:
    return Span(first.lineno, first.col_offset, last.end_lineno, last.end_col_offset)


def _name(old: ast.Name) -> BaseExpression:
    return cst.Name(old, old.id)


def _attribute(old: ast.Attribute) -> BaseExpression:
    line, end = old.end_lineno or 1, old.end_col_offset or 0
    at = Span(line, end - len(old.attr.encode()), line, end)
    return cst.Attribute(old, expression(old.value), cst.Name(at, old.attr))


def _constant(old: ast.Constant) -> BaseExpression:
    value = old.value
    kind = type(value)
    if kind is str or kind is bytes:
        return cst.SimpleString(old, value)  # type: ignore[arg-type]
    if value is None or kind is bool:
        return cst.Name(old, str(value))
    if kind is int:
        return cst.Integer(old, value)  # type: ignore[arg-type]
    if kind is float:
        return cst.Float(old, value)  # type: ignore[arg-type]
    return cst.Imaginary(old, value) if kind is complex else cst.EllipsisLiteral(old)  # type: ignore[arg-type]


def _formatted(old: ast.JoinedStr) -> cst.FormattedString:
    parts: list[CSTNode] = []
    for part in old.values:
        if isinstance(part, ast.FormattedValue):
            spec = _formatted(part.format_spec) if isinstance(part.format_spec, ast.JoinedStr) else None
            parts.append(cst.FormattedStringExpression(part, expression(part.value), spec))
        else:
            parts.append(cst.FormattedStringText(part, part.value))  # type: ignore[attr-defined]
    return cst.FormattedString(old, parts)


def argument(old: ast.expr) -> cst.Arg:
    if type(old) is ast.Starred:
        return cst.Arg(old, expression(old.value), None, "*")
    return cst.Arg(old, expression(old), None, "")


def keyword(old: ast.keyword) -> cst.Arg:
    if old.arg is None:
        return cst.Arg(old, expression(old.value), None, "**")
    at = Span(old.lineno, old.col_offset, old.lineno, old.col_offset + len(old.arg.encode()))
    return cst.Arg(old, expression(old.value), cst.Name(at, old.arg), "")


def _call(old: ast.Call) -> BaseExpression:
    args = [argument(arg) for arg in old.args]
    if old.keywords:
        args += [keyword(word) for word in old.keywords]
        if any(type(arg) is ast.Starred for arg in old.args):  # the only ones that may stand behind a keyword
            args.sort(key=lambda arg: (arg.at.lineno, arg.at.col_offset))
    return cst.Call(old, expression(old.func), args)


def _subscript(old: ast.Subscript) -> BaseExpression:
    inner = old.slice
    several = inner.elts if type(inner) is ast.Tuple and inner.elts else [inner]
    return cst.Subscript(old, expression(old.value), [_index(one) for one in several])


def _index(old: ast.expr) -> cst.SubscriptElement:
    if type(old) is ast.Slice:
        return cst.SubscriptElement(old, cst.Slice(old, maybe(old.lower), maybe(old.upper), maybe(old.step)))
    inner = old.value if type(old) is ast.Starred else old
    return cst.SubscriptElement(old, cst.Index(old, expression(inner)))


def _operation(old: ast.BinOp) -> BaseExpression:
    return cst.BinaryOperation(old, expression(old.left), _BINARY[type(old.op)], expression(old.right))


def _boolean(old: ast.BoolOp) -> BaseExpression:
    operator = "And" if type(old.op) is ast.And else "Or"
    made = expression(old.values[0])
    for value in old.values[1:]:
        made = cst.BooleanOperation(span(old.values[0], value), made, operator, expression(value))
    made.at = old
    return made


def _unary(old: ast.UnaryOp) -> BaseExpression:
    return cst.UnaryOperation(old, _UNARY[type(old.op)], expression(old.operand))


def _comparison(old: ast.Compare) -> BaseExpression:
    targets = [
        cst.ComparisonTarget(right, _COMPARED[type(operator)], expression(right))
        for operator, right in zip(old.ops, old.comparators, strict=True)
    ]
    return cst.Comparison(old, expression(old.left), targets)


def _conditional(old: ast.IfExp) -> BaseExpression:
    return cst.IfExp(old, expression(old.test), expression(old.body), expression(old.orelse))


def _named(old: ast.NamedExpr) -> BaseExpression:
    return cst.NamedExpr(old, expression(old.target), expression(old.value))


def _element(old: ast.expr) -> CSTNode:
    if type(old) is ast.Starred:
        return cst.StarredElement(old, expression(old.value))
    return cst.Element(old, expression(old))


def _sequence(kind: Any) -> Callable[[Any], BaseExpression]:
    return lambda old: kind(old, [_element(element) for element in old.elts])


def _dictionary(old: ast.Dict) -> BaseExpression:
    elements: list[CSTNode] = []
    for key, value in zip(old.keys, old.values, strict=True):
        if key is None:
            elements.append(cst.StarredDictElement(value, expression(value)))
        else:
            elements.append(cst.DictElement(span(key, value), expression(key), expression(value)))
    return cst.Dict(old, elements)


def _loops(old: Sequence[ast.comprehension]) -> cst.CompFor:
    first, rest = old[0], old[1:]
    ifs = [cst.CompIf(test, expression(test)) for test in first.ifs]
    inner = _loops(rest) if rest else None
    at = span(first.target, first.ifs[-1] if first.ifs else first.iter)
    return cst.CompFor(at, expression(first.target), expression(first.iter), ifs, inner)


def _comprehension(kind: Any) -> Callable[[Any], BaseExpression]:
    return lambda old: kind(old, expression(old.elt), _loops(old.generators))


def _dict_comprehension(old: ast.DictComp) -> BaseExpression:
    return cst.DictComp(old, expression(old.key), expression(old.value), _loops(old.generators))


def parameters(old: ast.arguments) -> cst.Parameters:
    positional = [*old.posonlyargs, *old.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(old.defaults))
    made = [_parameter(arg, value) for arg, value in zip(positional, [*defaults, *old.defaults], strict=True)]
    only = [_parameter(arg, value) for arg, value in zip(old.kwonlyargs, old.kw_defaults, strict=True)]
    star = _parameter(old.vararg) if old.vararg else None
    stars = _parameter(old.kwarg) if old.kwarg else None
    cut = len(old.posonlyargs)
    at = made[0].at if made else None
    return cst.Parameters(at, made[cut:], star, only, stars, made[:cut])


def _parameter(old: ast.arg, default: ast.expr | None = None) -> cst.Param:
    at = Span(old.lineno, old.col_offset, old.lineno, old.col_offset + len(old.arg.encode()))
    annotation = None if old.annotation is None else cst.Annotation(old.annotation, expression(old.annotation))
    return cst.Param(span(old, default or old), cst.Name(at, old.arg), annotation, maybe(default))


def _lambda(old: ast.Lambda) -> BaseExpression:
    return cst.Lambda(old, parameters(old.args), expression(old.body))


def _await(old: ast.Await) -> BaseExpression:
    return cst.Await(old, expression(old.value))


def _yield(old: ast.Yield) -> BaseExpression:
    return cst.Yield(old, maybe(old.value))


def _yield_from(old: ast.YieldFrom) -> BaseExpression:
    return cst.Yield(old, cst.From(old.value, expression(old.value)))


_MAKERS: dict[type[ast.AST], Callable[[Any], BaseExpression]] = {
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Constant: _constant,
    ast.JoinedStr: _formatted,
    ast.Call: _call,
    ast.Subscript: _subscript,
    ast.BinOp: _operation,
    ast.BoolOp: _boolean,
    ast.UnaryOp: _unary,
    ast.Compare: _comparison,
    ast.IfExp: _conditional,
    ast.NamedExpr: _named,
    ast.Starred: lambda old: cst.StarredElement(old, expression(old.value)),
    ast.Tuple: _sequence(cst.Tuple),
    ast.List: _sequence(cst.List),
    ast.Set: _sequence(cst.Set),
    ast.Dict: _dictionary,
    ast.ListComp: _comprehension(cst.ListComp),
    ast.SetComp: _comprehension(cst.SetComp),
    ast.GeneratorExp: _comprehension(cst.GeneratorExp),
    ast.DictComp: _dict_comprehension,
    ast.Lambda: _lambda,
    ast.Await: _await,
    ast.Yield: _yield,
    ast.YieldFrom: _yield_from,
}
