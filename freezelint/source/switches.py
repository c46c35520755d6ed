"""Bare switches of the grad mode: what holds after them, and whether every way out of a function restores it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freezelint.source import cst
from freezelint.source.project import ModuleInfo, dotted
from freezelint.source.story import Spot
from freezelint.source.tree import children, walk

SWITCHES = (
    "torch.set_grad_enabled",
    "torch.autograd.set_grad_enabled",
    "torch._C._set_grad_enabled",
    "set_grad_enabled",
)


def switch(statement: cst.CSTNode) -> cst.Call | None:
    """The call of a statement that is nothing but `torch.set_grad_enabled(...)`."""
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return None
    small = statement.body[0]
    if not isinstance(small, cst.Expr) or not isinstance(small.value, cst.Call):
        return None
    return small.value if dotted(small.value.func) in SWITCHES else None


def turns_off(call: cst.Call | None) -> bool:
    if call is None or not call.args:
        return False
    given = call.args[0].value
    return isinstance(given, cst.Name) and given.value == "False"


def left_off_by_import(file: ModuleInfo, seen: set[str] | None = None) -> Iterator[Spot]:
    """Switches at the top level of the project's files that importing `file` runs and that nothing there takes back."""
    if seen is None:
        if not file.project.texts.mention(file.path, "set_grad_enabled(False"):
            return
        seen = {file.path}
    for module, name, dots in file.imports.values():
        for path in (module, f"{module}.{name}" if name and module else name or ""):
            other = file.project.file(file, path, dots) if path else None
            if other is None or other.path in seen:
                continue
            seen.add(other.path)
            off = top_level_switch(other)
            if off is not None:
                yield off
            yield from left_off_by_import(other, seen)


def top_level_switch(file: ModuleInfo) -> Spot | None:
    found: Spot | None = None
    for statement in file.tree.body:
        call = switch(statement)
        if call is not None:
            found = Spot(file, call) if turns_off(call) else None
    return found


def leaks(function: cst.FunctionDef, call: cst.CSTNode) -> cst.CSTNode | None:
    """The `raise` or `return` on which a function leaves grad mode off, though its end would restore it."""
    for body in _bodies(function.body):
        places = [i for i, statement in enumerate(body) if switch(statement) is call]
        if not places:
            continue
        after = body[places[0] + 1 :]
        ends = [
            i for i, statement in enumerate(after) if (made := switch(statement)) is not None and not turns_off(made)
        ]
        if ends:
            return next(_ways_out(after[: ends[0]]), None)
    return None


def _bodies(suite: cst.BaseSuite) -> Iterator[Sequence[cst.BaseStatement]]:
    if not isinstance(suite, cst.IndentedBlock):
        return
    yield suite.body
    for statement in suite.body:
        for child in children(statement):
            if isinstance(child, cst.IndentedBlock) and not isinstance(statement, (cst.FunctionDef, cst.ClassDef)):
                yield from _bodies(child)


def _ways_out(statements: Sequence[cst.CSTNode]) -> Iterator[cst.CSTNode]:
    """`raise` and `return` of this function before grad mode is back on; a `finally` could restore what it likes."""
    for statement in statements:
        if isinstance(statement, (cst.FunctionDef, cst.ClassDef, cst.Try)):
            continue
        if isinstance(statement, (cst.SimpleStatementLine, cst.SimpleStatementSuite)):
            if restores(statement):
                return
            yield from (part for part in statement.body if isinstance(part, (cst.Raise, cst.Return)))
            continue
        for suite in walk(statement, cst.IndentedBlock, cst.SimpleStatementSuite):
            if isinstance(suite, cst.IndentedBlock):
                yield from _ways_out(suite.body)
            elif isinstance(suite, cst.SimpleStatementSuite):
                yield from _ways_out([suite])


def restores(line: cst.SimpleStatementLine | cst.SimpleStatementSuite) -> bool:
    """Whether a line switches grad mode back on, be it as one of several statements."""
    calls = (part.value for part in line.body if isinstance(part, cst.Expr) and isinstance(part.value, cst.Call))
    return any(dotted(call.func) in SWITCHES and not turns_off(call) for call in calls)
