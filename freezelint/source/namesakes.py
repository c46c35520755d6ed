"""Classes that are their base under another name: all they do is give it, in `__init__`, what they were given."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.source import cst
from freezelint.source.objects import told
from freezelint.source.project import ClassInfo, FunctionInfo, dotted


def namesake(info: ClassInfo) -> ClassInfo | None:
    """The base in whose story such a class would be read once more, with arguments as unknown as here."""
    base = next(iter(info.lineage()[0][1:]), None)
    if base is None or list(info.methods) != ["__init__"] or info.assigns or len(info.node.bases) > 1:
        return None
    own, inherited = info.methods["__init__"], base.method("__init__")
    call = _only_call(own)
    if inherited is None or call is None or own.decorators:
        return None
    passed = list(_passed(call, own, inherited))
    return base if passed and all(passed) else None


def _only_call(init: FunctionInfo) -> cst.Call | None:
    """The `super().__init__(...)` that is all of a body."""
    assert isinstance(init.node, cst.FunctionDef)
    calls = [
        small.value if isinstance(small, cst.Expr) else None
        for line in init.node.body.body
        for small in (line.body if isinstance(line, cst.SimpleStatementLine) else (line,))
    ]
    calls = [value for value in calls if not isinstance(value, cst.SimpleString)]
    call = calls[0] if len(calls) == 1 else None
    if not isinstance(call, cst.Call) or not isinstance(call.func, cst.Attribute):
        return None
    return call if dotted(call.func) == "super.__init__" and isinstance(call.func.value, cst.Call) else None


def _passed(call: cst.Call, own: FunctionInfo, inherited: FunctionInfo) -> Iterator[bool]:
    """For each argument, whether it is a parameter as it came, for one that tells as much in the base."""
    given = {parameter.name.value: parameter for parameter in _positional(own)[1:]}
    wanted = _positional(inherited)[1:]
    by_name = {parameter.name.value: parameter for parameter in wanted}
    yield not own.node.params.kwonly_params
    for number, argument in enumerate(call.args):
        mine = given.get(argument.value.value) if isinstance(argument.value, cst.Name) and not argument.star else None
        if argument.keyword is not None:
            theirs = by_name.get(argument.keyword.value)
        else:
            theirs = wanted[number] if number < len(wanted) else None
        yield mine is not None and theirs is not None and told(mine) == told(theirs)


def _positional(function: FunctionInfo) -> list[cst.Param]:
    return [*function.node.params.posonly_params, *function.node.params.params]
