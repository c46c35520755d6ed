"""From Python's parse of a file to ours."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from freezelint.source.cst import statements as cst
from freezelint.source.cst.base import BaseStatement, CSTNode, Span
from freezelint.source.cst.expressions import Annotation, Attribute, Name
from freezelint.source.cst.from_expressions import (
    argument,
    below,
    binary_operator,
    expression,
    keyword,
    maybe,
    parameters,
    span,
)

BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)  # what `parse` raises


def parse(text: str) -> cst.Module:
    """The tree of a file. Raises SyntaxError, ValueError (a null byte), RecursionError or MemoryError (too deep)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = ast.parse(text)
    return cst.Module(Span(1, 0, 1, 0), _Maker(text).lines(old.body))


class _Maker:
    """Makes statements; the text tells where a body stands on its statement's own line, and `elif` from `else: if`."""

    def __init__(self, text: str) -> None:
        self._encoded = [line.encode() for line in _split(text)]

    def lines(self, body: Iterable[ast.stmt]) -> list[BaseStatement]:
        made: list[BaseStatement] = []
        small: list[CSTNode] = []
        for old in body:
            compound = _COMPOUND.get(type(old))
            if compound is not None:
                made.append(compound(self, old))
                continue
            one = _small(old)
            last = made[-1] if made else None
            if small and last is not None and getattr(last, "body", None) is small and last.at.end_lineno == old.lineno:
                small.append(one)
                last.at = span(last.at, old)
            else:
                small = [one]
                made.append(cst.SimpleStatementLine(one.at, small))
        return made

    def suite(self, body: Sequence[ast.stmt]) -> cst.BaseSuite:
        first = _first(body[0])
        at = Span(first.lineno, first.col_offset, *_end(body[-1]))
        if type(body[0]) not in _COMPOUND and self._encoded[first.lineno - 1][: first.col_offset].strip():
            return cst.SimpleStatementSuite(at, [_small(old) for old in body])
        return cst.IndentedBlock(at, self.lines(body))

    def defined(self, old: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, word: str) -> Name:
        """The name behind `def` or `class`."""
        name = old.name.encode()
        start = max(self._encoded[old.lineno - 1].find(name, old.col_offset + len(word)), old.col_offset)
        return Name(Span(old.lineno, start, old.lineno, start + len(name)), old.name)

    def other(self, body: Sequence[ast.stmt]) -> cst.Else | None:
        if not body:
            return None
        suite = self.suite(body)
        return cst.Else(suite.at, suite)

    def is_elif(self, body: Sequence[ast.stmt]) -> bool:
        first = body[0]
        if len(body) > 1 or type(first) is not ast.If:
            return False
        return self._encoded[first.lineno - 1].startswith(b"elif", first.col_offset)


def _split(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _first(old: ast.stmt) -> Any:
    decorators = getattr(old, "decorator_list", ())
    return decorators[0] if decorators else old


def _end(old: Any) -> tuple[int, int]:
    return old.end_lineno, old.end_col_offset


def _small(old: ast.stmt) -> CSTNode:
    make = _SMALL.get(type(old))
    return make(old) if make else cst.OtherStatement(old, below(old))


def _assign(old: ast.Assign) -> CSTNode:
    return cst.Assign(old, [cst.AssignTarget(t, expression(t)) for t in old.targets], expression(old.value))


def _annotated(old: ast.AnnAssign) -> CSTNode:
    annotation = Annotation(old.annotation, expression(old.annotation))
    return cst.AnnAssign(old, expression(old.target), annotation, maybe(old.value))


def _augmented(old: ast.AugAssign) -> CSTNode:
    return cst.AugAssign(old, expression(old.target), f"{binary_operator(old.op)}Assign", expression(old.value))


def _delete(old: ast.Delete) -> CSTNode:
    if len(old.targets) == 1:
        return cst.Del(old, expression(old.targets[0]))
    targets = ast.Tuple(old.targets, ast.Del())
    return cst.Del(old, expression(ast.copy_location(targets, old)))


def _dotted(at: Any, name: str) -> Name | Attribute:
    head, *rest = name.split(".")
    made: Name | Attribute = Name(at, head)
    for part in rest:
        made = Attribute(at, made, Name(at, part))
    return made


def _alias(old: ast.alias) -> cst.ImportAlias:
    asname = cst.AsName(old, Name(old, old.asname)) if old.asname else None
    return cst.ImportAlias(old, _dotted(old, old.name), asname)


def _import(old: ast.Import) -> CSTNode:
    return cst.Import(old, [_alias(alias) for alias in old.names])


def _import_from(old: ast.ImportFrom) -> CSTNode:
    star = old.names[0].name == "*"
    names = cst.ImportStar(old.names[0]) if star else [_alias(alias) for alias in old.names]
    return cst.ImportFrom(old, _dotted(old, old.module) if old.module else None, names, old.level)


def _names(old: ast.Global | ast.Nonlocal) -> list[cst.NameItem]:
    return [cst.NameItem(old, Name(old, name)) for name in old.names]


_SMALL: dict[type[ast.AST], Callable[[Any], CSTNode]] = {
    ast.Expr: lambda old: cst.Expr(old, expression(old.value)),
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.Return: lambda old: cst.Return(old, maybe(old.value)),
    ast.Raise: lambda old: cst.Raise(old, maybe(old.exc), maybe(old.cause)),
    ast.Pass: cst.Pass,
    ast.Break: cst.Break,
    ast.Continue: cst.Continue,
    ast.Assert: lambda old: cst.Assert(old, expression(old.test), maybe(old.msg)),
    ast.Delete: _delete,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.Global: lambda old: cst.Global(old, _names(old)),
    ast.Nonlocal: lambda old: cst.Nonlocal(old, _names(old)),
}


def _decorators(old: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[cst.Decorator]:
    return [cst.Decorator(one, expression(one)) for one in old.decorator_list]


def _function(maker: _Maker, old: ast.FunctionDef | ast.AsyncFunctionDef) -> BaseStatement:
    name = maker.defined(old, "def" if isinstance(old, ast.FunctionDef) else "async def")
    returns = None if old.returns is None else Annotation(old.returns, expression(old.returns))
    return cst.FunctionDef(old, name, parameters(old.args), lambda: maker.suite(old.body), _decorators(old), returns)


def _class(maker: _Maker, old: ast.ClassDef) -> BaseStatement:
    bases = [argument(base) for base in old.bases]
    keywords = [keyword(word) for word in old.keywords]
    return cst.ClassDef(old, maker.defined(old, "class"), maker.suite(old.body), bases, keywords, _decorators(old))


def _if(maker: _Maker, old: ast.If) -> BaseStatement:
    other: cst.If | cst.Else | None = None
    if old.orelse:
        inner = old.orelse[0]
        is_elif = maker.is_elif(old.orelse)
        other = _if(maker, inner) if is_elif else maker.other(old.orelse)  # type: ignore[assignment,arg-type]
    return cst.If(old, expression(old.test), maker.suite(old.body), other)


def _for(maker: _Maker, old: ast.For | ast.AsyncFor) -> BaseStatement:
    body, other = maker.suite(old.body), maker.other(old.orelse)
    return cst.For(old, expression(old.target), expression(old.iter), body, other)


def _while(maker: _Maker, old: ast.While) -> BaseStatement:
    return cst.While(old, expression(old.test), maker.suite(old.body), maker.other(old.orelse))


def _as(old: ast.expr | None) -> cst.AsName | None:
    return None if old is None else cst.AsName(old, expression(old))


def _with(maker: _Maker, old: ast.With | ast.AsyncWith) -> BaseStatement:
    items = [
        cst.WithItem(
            span(item.context_expr, item.optional_vars or item.context_expr),
            expression(item.context_expr),
            _as(item.optional_vars),
        )
        for item in old.items
    ]
    return cst.With(old, items, maker.suite(old.body))


def _handler(maker: _Maker, old: ast.ExceptHandler) -> cst.ExceptHandler:
    name = cst.AsName(old, Name(old, old.name)) if old.name else None
    return cst.ExceptHandler(old, maybe(old.type), name, maker.suite(old.body))


def _try(kind: type[cst.Try]) -> Callable[[_Maker, Any], BaseStatement]:
    def make(maker: _Maker, old: ast.Try) -> BaseStatement:
        final = maker.suite(old.finalbody) if old.finalbody else None
        handlers = [_handler(maker, handler) for handler in old.handlers]
        end = cst.Finally(final.at, final) if final else None
        return kind(old, maker.suite(old.body), handlers, maker.other(old.orelse), end)

    return make


def _match(maker: _Maker, old: ast.Match) -> BaseStatement:
    cases = []
    for case in old.cases:
        at, body = span(case.pattern, case.body[-1]), maker.suite(case.body)
        cases.append(cst.MatchCase(at, below(case.pattern), maybe(case.guard), body))
    return cst.Match(old, expression(old.subject), cases)


_COMPOUND: dict[type[ast.AST], Callable[[_Maker, Any], BaseStatement]] = {
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
    ast.If: _if,
    ast.For: _for,
    ast.AsyncFor: _for,
    ast.While: _while,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Try: _try(cst.Try),
    ast.Match: _match,
}
if hasattr(ast, "TryStar"):  # Python 3.11
    _COMPOUND[ast.TryStar] = _try(cst.TryStar)
