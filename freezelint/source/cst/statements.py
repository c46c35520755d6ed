"""Statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from freezelint.source.cst.base import BaseExpression, BaseStatement, CSTNode, node
from freezelint.source.cst.expressions import Annotation, Arg, Attribute, Name, Parameters, SimpleString


@node
class Expr(CSTNode):
    FIELDS = ("value",)
    value: BaseExpression


@node
class AssignTarget(CSTNode):
    FIELDS = ("target",)
    target: BaseExpression


@node
class Assign(CSTNode):
    FIELDS = ("targets", "value")
    targets: Sequence[AssignTarget]
    value: BaseExpression


@node
class AnnAssign(CSTNode):
    FIELDS = ("target", "annotation", "value")
    target: BaseExpression
    annotation: Annotation
    value: BaseExpression | None


@node
class AugAssign(CSTNode):
    """`operator`: AddAssign, MultiplyAssign, ..."""

    FIELDS = ("target", "value")
    target: BaseExpression
    operator: str
    value: BaseExpression


@node
class Return(CSTNode):
    FIELDS = ("value",)
    value: BaseExpression | None


@node
class Raise(CSTNode):
    FIELDS = ("exc", "cause")
    exc: BaseExpression | None
    cause: BaseExpression | None


@node
class Pass(CSTNode):
    pass


@node
class Break(CSTNode):
    pass


@node
class Continue(CSTNode):
    pass


@node
class Assert(CSTNode):
    FIELDS = ("test", "msg")
    test: BaseExpression
    msg: BaseExpression | None


@node
class Del(CSTNode):
    FIELDS = ("target",)
    target: BaseExpression


@node
class NameItem(CSTNode):
    FIELDS = ("name",)
    name: Name


@node
class Global(CSTNode):
    FIELDS = ("names",)
    names: Sequence[NameItem]


@node
class Nonlocal(CSTNode):
    FIELDS = ("names",)
    names: Sequence[NameItem]


@node
class AsName(CSTNode):
    FIELDS = ("name",)
    name: BaseExpression


@node
class ImportAlias(CSTNode):
    FIELDS = ("name", "asname")
    name: Name | Attribute
    asname: AsName | None


@node
class Import(CSTNode):
    FIELDS = ("names",)
    names: Sequence[ImportAlias]


@node
class ImportStar(CSTNode):
    pass


@node
class ImportFrom(CSTNode):
    """`dots`: how many stand before the module's name."""

    FIELDS = ("module", "names")
    module: Name | Attribute | None
    names: Sequence[ImportAlias] | ImportStar
    dots: int


@node
class SimpleStatementLine(BaseStatement):
    """Small statements on one line, with `;` between them."""

    FIELDS = ("body",)
    body: Sequence[CSTNode]


@node
class BaseSuite(CSTNode):
    FIELDS = ("body",)
    body: Sequence[Any]


class SimpleStatementSuite(BaseSuite):
    """Small statements on the line of the statement that holds them."""

    __slots__ = ()


class IndentedBlock(BaseSuite):
    __slots__ = ()


@node
class Module(CSTNode):
    FIELDS = ("body",)
    body: Sequence[BaseStatement]


@node
class Else(CSTNode):
    FIELDS = ("body",)
    body: BaseSuite


@node
class If(BaseStatement):
    FIELDS = ("test", "body", "orelse")
    test: BaseExpression
    body: BaseSuite
    orelse: If | Else | None


@node
class For(BaseStatement):
    FIELDS = ("target", "iter", "body", "orelse")
    target: BaseExpression
    iter: BaseExpression
    body: BaseSuite
    orelse: Else | None


@node
class While(BaseStatement):
    FIELDS = ("test", "body", "orelse")
    test: BaseExpression
    body: BaseSuite
    orelse: Else | None


@node
class WithItem(CSTNode):
    FIELDS = ("item", "asname")
    item: BaseExpression
    asname: AsName | None


@node
class With(BaseStatement):
    FIELDS = ("items", "body")
    items: Sequence[WithItem]
    body: BaseSuite


@node
class ExceptHandler(CSTNode):
    FIELDS = ("type", "name", "body")
    type: BaseExpression | None
    name: AsName | None
    body: BaseSuite


@node
class Finally(CSTNode):
    FIELDS = ("body",)
    body: BaseSuite


@node
class Try(BaseStatement):
    FIELDS = ("body", "handlers", "orelse", "finalbody")
    body: BaseSuite
    handlers: Sequence[ExceptHandler]
    orelse: Else | None
    finalbody: Finally | None


class TryStar(Try):
    __slots__ = ()


@node
class MatchCase(CSTNode):
    """`pattern`: the expressions in it."""

    FIELDS = ("pattern", "guard", "body")
    pattern: Sequence[CSTNode]
    guard: BaseExpression | None
    body: BaseSuite


@node
class Match(BaseStatement):
    FIELDS = ("subject", "cases")
    subject: BaseExpression
    cases: Sequence[MatchCase]


@node
class Decorator(CSTNode):
    FIELDS = ("decorator",)
    decorator: BaseExpression


@node
class ClassDef(BaseStatement):
    FIELDS = ("name", "body", "bases", "keywords", "decorators")
    name: Name
    body: BaseSuite
    bases: Sequence[Arg]
    keywords: Sequence[Arg]
    decorators: Sequence[Decorator]

    @property
    def docstring(self) -> str:
        first = self.body.body[0]
        words = first.body[0] if isinstance(first, SimpleStatementLine) else first
        said = words.value if isinstance(words, Expr) else None
        return said.value if isinstance(said, SimpleString) and isinstance(said.value, str) else ""


@node
class _FunctionDef(BaseStatement):
    FIELDS = ("name", "params", "body", "decorators", "returns")
    name: Name
    params: Parameters
    made: BaseSuite | Callable[[], BaseSuite]
    decorators: Sequence[Decorator]
    returns: Annotation | None


class FunctionDef(_FunctionDef):
    """A function; most are never read, so its body is made when it is asked for."""

    __slots__ = ()

    @property
    def body(self) -> BaseSuite:
        if not isinstance(self.made, BaseSuite):
            self.made = self.made()
        return self.made


@node
class OtherStatement(BaseStatement):
    """What this version knows no name for, and what it holds."""

    FIELDS = ("parts",)
    parts: Sequence[CSTNode]
