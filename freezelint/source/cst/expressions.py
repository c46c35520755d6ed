"""Expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from freezelint.records import record
from freezelint.source.cst.base import BaseExpression, CSTNode


@record(eq=False)
class Name(BaseExpression):
    value: str


@record(eq=False)
class Attribute(BaseExpression):
    FIELDS = ("value", "attr")
    value: BaseExpression
    attr: Name


@record(eq=False)
class Integer(BaseExpression):
    value: int


@record(eq=False)
class Float(BaseExpression):
    value: float


@record(eq=False)
class Imaginary(BaseExpression):
    value: complex


@record(eq=False)
class EllipsisLiteral(BaseExpression):
    pass


@record(eq=False)
class SimpleString(BaseExpression):
    """A string or bytes literal, also one written in several parts; `value` is what it stands for."""

    value: str | bytes


@record(eq=False)
class FormattedString(BaseExpression):
    FIELDS = ("parts",)
    parts: Sequence[CSTNode]


@record(eq=False)
class FormattedStringText(CSTNode):
    value: str


@record(eq=False)
class FormattedStringExpression(CSTNode):
    FIELDS = ("expression", "format_spec")
    expression: BaseExpression
    format_spec: FormattedString | None


@record(eq=False)
class Arg(CSTNode):
    FIELDS = ("value", "keyword")
    value: BaseExpression
    keyword: Name | None
    star: str


@record(eq=False)
class Call(BaseExpression):
    FIELDS = ("func", "args")
    func: BaseExpression
    args: Sequence[Arg]


@record(eq=False)
class Index(CSTNode):
    FIELDS = ("value",)
    value: BaseExpression


@record(eq=False)
class Slice(CSTNode):
    FIELDS = ("lower", "upper", "step")
    lower: BaseExpression | None
    upper: BaseExpression | None
    step: BaseExpression | None


@record(eq=False)
class SubscriptElement(CSTNode):
    FIELDS = ("slice",)
    slice: Index | Slice


@record(eq=False)
class Subscript(BaseExpression):
    FIELDS = ("value", "slice")
    value: BaseExpression
    slice: Sequence[SubscriptElement]


@record(eq=False)
class BinaryOperation(BaseExpression):
    FIELDS = ("left", "right")
    left: BaseExpression
    operator: str
    right: BaseExpression


@record(eq=False)
class BooleanOperation(BaseExpression):
    FIELDS = ("left", "right")
    left: BaseExpression
    operator: str
    right: BaseExpression


@record(eq=False)
class UnaryOperation(BaseExpression):
    FIELDS = ("expression",)
    operator: str
    expression: BaseExpression


@record(eq=False)
class ComparisonTarget(CSTNode):
    FIELDS = ("comparator",)
    operator: str
    comparator: BaseExpression


@record(eq=False)
class Comparison(BaseExpression):
    FIELDS = ("left", "comparisons")
    left: BaseExpression
    comparisons: Sequence[ComparisonTarget]


@record(eq=False)
class IfExp(BaseExpression):
    FIELDS = ("test", "body", "orelse")
    test: BaseExpression
    body: BaseExpression
    orelse: BaseExpression


@record(eq=False)
class NamedExpr(BaseExpression):
    FIELDS = ("target", "value")
    target: BaseExpression
    value: BaseExpression


@record(eq=False)
class Element(CSTNode):
    FIELDS = ("value",)
    value: BaseExpression


@record(eq=False)
class StarredElement(BaseExpression):
    FIELDS = ("value",)
    value: BaseExpression


@record(eq=False)
class _Elements(BaseExpression):
    FIELDS = ("elements",)
    elements: Sequence[Any]


class Tuple(_Elements):
    __slots__ = ()


class List(_Elements):
    __slots__ = ()


class Set(_Elements):
    __slots__ = ()


class Dict(_Elements):
    __slots__ = ()


@record(eq=False)
class DictElement(CSTNode):
    FIELDS = ("key", "value")
    key: BaseExpression
    value: BaseExpression


@record(eq=False)
class StarredDictElement(CSTNode):
    FIELDS = ("value",)
    value: BaseExpression


@record(eq=False)
class CompIf(CSTNode):
    FIELDS = ("test",)
    test: BaseExpression


@record(eq=False)
class CompFor(CSTNode):
    FIELDS = ("target", "iter", "ifs", "inner_for_in")
    target: BaseExpression
    iter: BaseExpression
    ifs: Sequence[CompIf]
    inner_for_in: CompFor | None


@record(eq=False)
class _Comprehension(BaseExpression):
    FIELDS = ("elt", "for_in")
    elt: BaseExpression
    for_in: CompFor


class ListComp(_Comprehension):
    __slots__ = ()


class SetComp(_Comprehension):
    __slots__ = ()


class GeneratorExp(_Comprehension):
    __slots__ = ()


@record(eq=False)
class DictComp(BaseExpression):
    FIELDS = ("key", "value", "for_in")
    key: BaseExpression
    value: BaseExpression
    for_in: CompFor


@record(eq=False)
class Annotation(CSTNode):
    FIELDS = ("annotation",)
    annotation: BaseExpression


@record(eq=False)
class Param(CSTNode):
    FIELDS = ("name", "annotation", "default")
    name: Name
    annotation: Annotation | None
    default: BaseExpression | None


@record(eq=False)
class Parameters(CSTNode):
    FIELDS = ("params", "star_arg", "kwonly_params", "star_kwarg", "posonly_params")
    params: Sequence[Param]
    star_arg: Param | None
    kwonly_params: Sequence[Param]
    star_kwarg: Param | None
    posonly_params: Sequence[Param]


@record(eq=False)
class Lambda(BaseExpression):
    FIELDS = ("params", "body")
    params: Parameters
    body: BaseExpression


@record(eq=False)
class Await(BaseExpression):
    FIELDS = ("expression",)
    expression: BaseExpression


@record(eq=False)
class From(CSTNode):
    FIELDS = ("item",)
    item: BaseExpression


@record(eq=False)
class Yield(BaseExpression):
    FIELDS = ("value",)
    value: BaseExpression | From | None


@record(eq=False)
class OtherExpression(BaseExpression):
    """What this version knows no name for, and what it holds."""

    FIELDS = ("parts",)
    parts: Sequence[CSTNode]
