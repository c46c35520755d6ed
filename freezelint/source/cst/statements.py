"""Statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from freezelint.records import record
from freezelint.source.cst.base import BaseExpression, BaseStatement, CSTNode
from freezelint.source.cst.expressions import Annotation, Arg, Attribute, Name, Parameters, SimpleString


@record(eq=False)
class Expr(CSTNode):
    FIELDS = ("value",)
    value: BaseExpression


@record(eq=False)
class AssignTarget(CSTNode):
    FIELDS = ("target",)
    target: BaseExpression


@record(eq=False)
class Assign(CSTNode):
    FIELDS = ("targets", "value")
    targets: Sequence[AssignTarget]
    value: BaseExpression


@record(eq=False)
class AnnAssign(CSTNode):
    FIELDS = ("target", "annotation", "value")
    target: BaseExpression
    annotation: Annotation
    value: BaseExpression | None


@record(eq=False)
class AugAssign(CSTNode):
    """`operator`: AddAssign, MultiplyAssign, ..."""

    FIELDS = ("target", "value")
    target: BaseExpression
    operator: str
    value: BaseExpression


@record(eq=False)
class Return(CSTNode):
    FIELDS = ("value",)
    value: BaseExpression | None


@record(eq=False)
class Raise(CSTNode):
    FIELDS = ("exc", "cause")
    exc: BaseExpression | None
    cause: BaseExpression | None


@record(eq=False)
class Pass(CSTNode):
    pass


@record(eq=False)
class Break(CSTNode):
    pass


@record(eq=False)
class Continue(CSTNode):
    pass


@record(eq=False)
class Assert(CSTNode):
    FIELDS = ("test", "msg")
    test: BaseExpression
    msg: BaseExpression | None


@record(eq=False)
class Del(CSTNode):
    FIELDS = ("target",)
    target: BaseExpression


@record(eq=False)
class NameItem(CSTNode):
    FIELDS = ("name",)
    name: Name


@record(eq=False)
class Global(CSTNode):
    FIELDS = ("names",)
    names: Sequence[NameItem]


@record(eq=False)
class Nonlocal(CSTNode):
    FIELDS = ("names",)
    names: Sequence[NameItem]


@record(eq=False)
class AsName(CSTNode):
    FIELDS = ("name",)
    name: BaseExpression


@record(eq=False)
class ImportAlias(CSTNode):
    FIELDS = ("name", "asname")
    name: Name | Attribute
    asname: AsName | None


@record(eq=False)
class Import(CSTNode):
    FIELDS = ("names",)
    names: Sequence[ImportAlias]


@record(eq=False)
class ImportStar(CSTNode):
    pass


@record(eq=False)
class ImportFrom(CSTNode):
    """`dots`: how many stand before the module's name."""

    FIELDS = ("module", "names")
    module: Name | Attribute | None
    names: Sequence[ImportAlias] | ImportStar
    dots: int


@record(eq=False)
class SimpleStatementLine(BaseStatement):
    """Small statements on one line, with `;` between them."""

    FIELDS = ("body",)
    body: Sequence[CSTNode]


@record(eq=False)
class BaseSuite(CSTNode):
    FIELDS = ("body",)
    body: Sequence[Any]


class SimpleStatementSuite(BaseSuite):
    """Small statements on the line of the statement that holds them."""

    __slots__ = ()


class IndentedBlock(BaseSuite):
    __slots__ = ()


@record(eq=False)
class Module(CSTNode):
    FIELDS = ("body",)
    body: Sequence[BaseStatement]


@record(eq=False)
class Else(CSTNode):
    FIELDS = ("body",)
    body: BaseSuite


@record(eq=False)
class If(BaseStatement):
    FIELDS = ("test", "body", "orelse")
    test: BaseExpression
    body: BaseSuite
    orelse: If | Else | None


@record(eq=False)
class For(BaseStatement):
    FIELDS = ("target", "iter", "body", "orelse")
    target: BaseExpression
    iter: BaseExpression
    body: BaseSuite
    orelse: Else | None


@record(eq=False)
class While(BaseStatement):
    FIELDS = ("test", "body", "orelse")
    test: BaseExpression
    body: BaseSuite
    orelse: Else | None


@record(eq=False)
class WithItem(CSTNode):
    FIELDS = ("item", "asname")
    item: BaseExpression
    asname: AsName | None


@record(eq=False)
class With(BaseStatement):
    FIELDS = ("items", "body")
    items: Sequence[WithItem]
    body: BaseSuite


@record(eq=False)
class ExceptHandler(CSTNode):
    FIELDS = ("type", "name", "body")
    type: BaseExpression | None
    name: AsName | None
    body: BaseSuite


@record(eq=False)
class Finally(CSTNode):
    FIELDS = ("body",)
    body: BaseSuite


@record(eq=False)
class Try(BaseStatement):
    FIELDS = ("body", "handlers", "orelse", "finalbody")
    body: BaseSuite
    handlers: Sequence[ExceptHandler]
    orelse: Else | None
    finalbody: Finally | None


class TryStar(Try):
    __slots__ = ()


@record(eq=False)
class MatchCase(CSTNode):
    """`pattern`: the expressions in it."""

    FIELDS = ("pattern", "guard", "body")
    pattern: Sequence[CSTNode]
    guard: BaseExpression | None
    body: BaseSuite


@record(eq=False)
class Match(BaseStatement):
    FIELDS = ("subject", "cases")
    subject: BaseExpression
    cases: Sequence[MatchCase]


@record(eq=False)
class Decorator(CSTNode):
    FIELDS = ("decorator",)
    decorator: BaseExpression


@record(eq=False)
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


@record(eq=False)
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


@record(eq=False)
class OtherStatement(BaseStatement):
    """What this version knows no name for, and what it holds."""

    FIELDS = ("parts",)
    parts: Sequence[CSTNode]
