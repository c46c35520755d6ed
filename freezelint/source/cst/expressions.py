"""Expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from freezelint.source.cst.base import BaseExpression, CSTNode, node


@node
class Name(BaseExpression):
    value: str


@node
class Attribute(BaseExpression):
    FIELDS = ("value", "attr")
    value: BaseExpression
    attr: Name


@node
class Integer(BaseExpression):
    value: int


@node
class Float(BaseExpression):
    value: float


@node
class Imaginary(BaseExpression):
    value: complex


@node
class EllipsisLiteral(BaseExpression):
    pass


@node
class SimpleString(BaseExpression):
    """A string or bytes literal, also one written in several parts; `value` is what it stands for."""

    value: str | bytes


@node
class FormattedString(BaseExpression):
    FIELDS = ("parts",)
    parts: Sequence[CSTNode]


@node
class FormattedStringText(CSTNode):
    value: str


@node
class FormattedStringExpression(CSTNode):
    FIELDS = ("expression", "format_spec")
    expression: BaseExpression
    format_spec: FormattedString | None


@node
class Arg(CSTNode):
    FIELDS = ("value", "keyword")
    value: BaseExpression
    keyword: Name | None
    star: str


@node
class Call(BaseExpression):
    FIELDS = ("func", "args")
    func: BaseExpression
    args: Sequence[Arg]


@node
class Index(CSTNode):
    FIELDS = ("value",)
    value: BaseExpression


@node
class Slice(CSTNode):
    FIELDS = ("lower", "upper", "step")
    lower: BaseExpression | None
    upper: BaseExpression | None
    step: BaseExpression | None


@node
class SubscriptElement(CSTNode):
    FIELDS = ("slice",)
    slice: Index | Slice


@node
class Subscript(BaseExpression):
    FIELDS = ("value", "slice")
    value: BaseExpression
    slice: Sequence[SubscriptElement]


@node
class BinaryOperation(BaseExpression):
    FIELDS = ("left", "right")
    left: BaseExpression
    operator: str
    right: BaseExpression


@node
class BooleanOperation(BaseExpression):
    FIELDS = ("left", "right")
    left: BaseExpression
    operator: str
    right: BaseExpression


@node
class UnaryOperation(BaseExpression):
    FIELDS = ("expression",)
    operator: str
    expression: BaseExpression


@node
class ComparisonTarget(CSTNode):
    FIELDS = ("comparator",)
    operator: str
    comparator: BaseExpression


@node
class Comparison(BaseExpression):
    FIELDS = ("left", "comparisons")
    left: BaseExpression
    comparisons: Sequence[ComparisonTarget]


@node
class IfExp(BaseExpression):
    FIELDS = ("test", "body", "orelse")
    test: BaseExpression
    body: BaseExpression
    orelse: BaseExpression


@node
class NamedExpr(BaseExpression):
    FIELDS = ("target", "value")
    target: BaseExpression
    value: BaseExpression


@node
class Element(CSTNode):
    FIELDS = ("value",)
    value: BaseExpression


@node
class StarredElement(BaseExpression):
    FIELDS = ("value",)
    value: BaseExpression


@node
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


@node
class DictElement(CSTNode):
    FIELDS = ("key", "value")
    key: BaseExpression
    value: BaseExpression


@node
class StarredDictElement(CSTNode):
    FIELDS = ("value",)
    value: BaseExpression


@node
class CompIf(CSTNode):
    FIELDS = ("test",)
    test: BaseExpression


@node
class CompFor(CSTNode):
    FIELDS = ("target", "iter", "ifs", "inner_for_in")
    target: BaseExpression
    iter: BaseExpression
    ifs: Sequence[CompIf]
    inner_for_in: CompFor | None


@node
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


@node
class DictComp(BaseExpression):
    FIELDS = ("key", "value", "for_in")
    key: BaseExpression
    value: BaseExpression
    for_in: CompFor


@node
class Annotation(CSTNode):
    FIELDS = ("annotation",)
    annotation: BaseExpression


@node
class Param(CSTNode):
    FIELDS = ("name", "annotation", "default")
    name: Name
    annotation: Annotation | None
    default: BaseExpression | None


@node
class Parameters(CSTNode):
    FIELDS = ("params", "star_arg", "kwonly_params", "star_kwarg", "posonly_params")
    params: Sequence[Param]
    star_arg: Param | None
    kwonly_params: Sequence[Param]
    star_kwarg: Param | None
    posonly_params: Sequence[Param]


@node
class Lambda(BaseExpression):
    FIELDS = ("params", "body")
    params: Parameters
    body: BaseExpression


@node
class Await(BaseExpression):
    FIELDS = ("expression",)
    expression: BaseExpression


@node
class From(CSTNode):
    FIELDS = ("item",)
    item: BaseExpression


@node
class Yield(BaseExpression):
    FIELDS = ("value",)
    value: BaseExpression | From | None


@node
class OtherExpression(BaseExpression):
    """What this version knows no name for, and what it holds."""

    FIELDS = ("parts",)
    parts: Sequence[CSTNode]
