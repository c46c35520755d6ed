"""Reading statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from freezelint.source import arithmetic, calls, cst, elements, modules, objects, ranges, registries
from freezelint.source.conditions import truth
from freezelint.source.expressions import evaluate, iterate, lazy
from freezelint.source.module_methods import only_initialises
from freezelint.source.project import class_info, dotted, imported
from freezelint.source.reader import Reader
from freezelint.source.story import Autocast, Mode, Rebound, Statement
from freezelint.source.values import (
    UNKNOWN,
    Cls,
    Const,
    Func,
    Instance,
    Manager,
    Param,
    ParamIter,
    Partial,
    Seq,
    Tensor,
    Union,
    Value,
    modules_in,
)

LINES = (cst.SimpleStatementLine, cst.SimpleStatementSuite)


def block(reader: Reader, body: cst.BaseSuite | Sequence[cst.CSTNode]) -> str | None:
    statements: Sequence[cst.CSTNode] = body.body if hasattr(body, "body") else body
    for line in statements:
        for statement in line.body if isinstance(line, LINES) else (line,):
            reader.budget -= 1
            if reader.budget < 0:
                reader.spent()
            handler = STATEMENTS.get(type(statement))
            status = handler(reader, statement) if handler else None
            if status:
                return status
    return None


def expression(reader: Reader, node: cst.Expr) -> str | None:
    if type(node.value) is cst.SimpleString:  # a docstring
        return None
    value = UNKNOWN if lazy(reader, node.value) else evaluate(reader, node.value)
    reader.emit(Statement, node.value, node.value, value)
    if isinstance(node.value, cst.Call) and dotted(node.value.func) in ("sys.exit", "exit", "quit", "os._exit"):
        return "raise"
    return None


def assign(reader: Reader, node: cst.Assign) -> str | None:
    value = arithmetic.counted(reader, node, evaluate(reader, node.value))
    for target in node.targets:
        bind(reader, target.target, value, node.value)
    return None


def annotated(reader: Reader, node: cst.AnnAssign) -> str | None:
    if node.value is not None:
        bind(reader, node.target, evaluate(reader, node.value), node.value)
    return None


def augmented(reader: Reader, node: cst.AugAssign) -> str | None:
    old, value = evaluate(reader, node.target), evaluate(reader, node.value)
    if isinstance(old, Seq) and node.operator == "AddAssign":
        old.items += value.items if isinstance(value, Seq) else elements.elements(reader, value, node)
        old.open = old.open or not isinstance(value, Seq)
        old.grown = old.grown or reader.open_loops > old.depth
        return None
    held = isinstance(old, Tensor) and isinstance(node.target, (cst.Name, cst.Subscript, cst.Attribute))
    new = arithmetic.counted(reader, node, arithmetic.arithmetic(reader, node, [old, value], node.operator))
    if held and isinstance(node.target, cst.Subscript):
        return None
    bind(reader, node.target, new, node.value)
    return None


def bind(reader: Reader, target: cst.CSTNode, value: Value, value_node: cst.BaseExpression | None = None) -> None:
    """Assign a value to a name, attribute, element or pattern of them."""
    if isinstance(target, cst.Name):
        bind_name(reader, target.value, value, target)
    elif isinstance(target, cst.Attribute):
        owner = evaluate(reader, target.value)
        objects.set_attribute(reader, owner, target.attr.value, value, target, value_node)
    elif isinstance(target, cst.Subscript):
        elements.set_item(reader, evaluate(reader, target.value), target, value)
    elif isinstance(target, (cst.Tuple, cst.List)):
        unpack(reader, target, value, value_node)
    elif isinstance(target, cst.StarredElement):
        bind(reader, target.value, value, value_node)


def bind_name(reader: Reader, name: str, value: Value, node: cst.CSTNode | None = None) -> None:
    frame = reader.frame.nonlocals.get(name, reader.frame)
    old = frame.env.get(name)
    if isinstance(old, Instance) and isinstance(value, Instance) and old is not value and node is not None:
        reader.emit(Rebound, node, name, old, value)
    if isinstance(value, Instance) and (not value.name or len(reader.frames) < value.named_at):
        value.name, value.named_at = name, len(reader.frames)  # whoever gets it back calls it otherwise
    if isinstance(value, objects.NAMED) and not value.name:
        value.name = name
    if isinstance(value, Param) and value.owner is None and value.label == "parameter":
        value.label = name
    reader.put(frame.env, name, value)


def unpack(
    reader: Reader, target: cst.Tuple | cst.List, value: Value, value_node: cst.BaseExpression | None = None
) -> None:
    places = list(target.elements)
    starred = next((i for i, e in enumerate(places) if isinstance(e, cst.StarredElement)), None)
    parts = elements.parts(reader, value, len(places), target, starred)
    nodes: list[cst.BaseExpression | None] = [None] * len(places)
    if isinstance(value_node, (cst.Tuple, cst.List)) and len(value_node.elements) == len(places):
        nodes = [element.value for element in value_node.elements]
    for element, part, node in zip(places, parts, nodes, strict=False):
        bind(reader, element.value, part, node)


def if_statement(reader: Reader, node: cst.If) -> str | None:
    known, identity, negated = truth(reader, node.test)

    def body() -> str | None:
        return block(reader, node.body)

    def other() -> str | None:
        if node.orelse is None:
            return None
        return if_statement(reader, node.orelse) if isinstance(node.orelse, cst.If) else block(reader, node.orelse.body)

    if known is not None:
        return body() if known else other()
    narrowed = objects.narrow(reader, node.test)

    def narrowed_body() -> str | None:
        for name, value in narrowed:
            reader.put(reader.frame.env, name, value)
        return body()

    first, second = (1, 0) if negated else (0, 1)
    branch = reader.branch_id(identity)
    reader.story.branches[branch] = reader.spot(node.test)
    return reader.fork(branch, [(first, narrowed_body), (second, other)])


def for_loop(reader: Reader, node: cst.For) -> str | None:
    iterable = evaluate(reader, node.iter)
    walks = [option for option in iterable.options if type(option) is ParamIter] if type(iterable) is Union else []
    if len(walks) < 2:
        return _loop(reader, node, iterable)
    return reader.fork(reader.fresh(), [(i, partial(_loop, reader, node, walk)) for i, walk in enumerate(walks)])


def _loop(reader: Reader, node: cst.For, iterable: Value) -> str | None:
    if isinstance(iterable, Seq) and iterable.kind == "generator" and only_initialises(reader, reader.spot(node.body)):
        return None
    numbers = ranges.picked(iterable, reader.frame.file, node.target, node.body) if len(reader.loops) < 2 else None
    items, exact = (numbers, True) if numbers is not None else iterate(reader, iterable, node.iter)
    identity = reader.fresh()
    passes: list[Value] = items if exact or len(reader.loops) >= 3 else (items * 2 if len(items) == 1 else items)
    for number, item in enumerate(passes):
        reader.loops.append((identity, number))
        reader.open_loops += not exact
        bind(reader, node.target, item)
        with reader.scope():
            some = getattr(iterable, "some", False)
            status = _maybe(reader, node.body, iterable) if some else block(reader, node.body)
        reader.open_loops -= not exact
        reader.loops.pop()
        if status in ("return", "raise") and (exact or number):
            return status if status == "return" else None
        if status in ("break", "return", "raise"):
            break
    return block(reader, node.orelse.body) if node.orelse else None


def _maybe(reader: Reader, body: cst.BaseSuite, some: Value) -> str | None:
    """A body that is read for something that may not be there."""
    branch = reader.fresh()
    if getattr(some, "filled", False):
        reader.story.partial.add(branch)
    return reader.fork(branch, [(0, lambda: block(reader, body)), (1, lambda: None)])


def while_loop(reader: Reader, node: cst.While) -> str | None:
    known, _, _ = truth(reader, node.test)
    if known is False:
        return None
    identity = reader.fresh()
    for number in range(2 if len(reader.loops) < 3 else 1):
        reader.loops.append((identity, number))
        reader.open_loops += 1
        with reader.scope():
            status = block(reader, node.body)
        reader.open_loops -= 1
        reader.loops.pop()
        if status == "return" and number:
            return status
        if status in ("break", "return", "raise"):
            break
        if number == 0:
            truth(reader, node.test)
    waiting = walked(reader, node)
    if waiting and modules.switches(reader.frame.file.code(node)):
        modules.handed(reader, waiting, node, unread=True)  # what a longer walk would come to
    return None


def walked(reader: Reader, node: cst.While) -> list[Instance]:
    """The modules in a list that a loop empties and fills: `while stack:`, `while len(queue) > 0:`."""
    test = node.test.left if isinstance(node.test, cst.Comparison) else node.test
    if isinstance(test, cst.Call) and dotted(test.func) == "len" and len(test.args) == 1:
        test = test.args[0].value
    held = evaluate(reader, test) if isinstance(test, cst.Name) else None
    filled = isinstance(held, Seq) and (held.grown or held.open)
    return modules_in(held) if filled and isinstance(held, Seq) else []


def with_block(reader: Reader, node: cst.With, first: int = 0) -> str | None:
    """Enter the managers one by one, from `first`, then read the body."""
    if first == len(node.items):
        return block(reader, node.body)
    item = node.items[first]
    manager = evaluate(reader, item.item)
    target = item.asname.name if item.asname else None

    def rest() -> str | None:
        return with_block(reader, node, first + 1)

    if isinstance(manager, Union):
        contexts = [option for option in manager.options if isinstance(option, Manager)]
        if contexts:
            mode = Mode(None, "unknown", reader.spot(item.item), reader.frame.file.code(item.item))
            return reader.within(mode, "block", rest)
    if isinstance(manager, Manager):
        return enter(reader, manager, rest)
    if isinstance(manager, Func) and manager.info.decorated("contextmanager"):
        return calls.with_generator(reader, manager, [], {}, item.item, target, rest)
    if isinstance(manager, Partial) and isinstance(manager.function, Func):
        return calls.with_generator(reader, manager.function, manager.args, manager.kwargs, item.item, target, rest)
    if isinstance(manager, Instance) and not manager.is_module and manager.cls:
        entered = objects.call_method(reader, manager, "__enter__", [], {}, item.item)
        if target is not None:
            bind(reader, target, entered if entered is not None else manager)
        status = rest()
        objects.call_method(reader, manager, "__exit__", [Const(None)] * 3, {}, item.item)
        return status
    if target is not None:
        bind(reader, target, manager)
    return rest()


def enter(reader: Reader, manager: Manager, rest: object) -> str | None:
    assert callable(rest)
    if manager.kind == "autocast":
        reader.autocasts.append(manager)
        reader.emit(Autocast, manager.spot, True, manager, manager.cache)
        status: str | None = rest()
        reader.autocasts.pop()
        reader.emit(Autocast, manager.spot, False, manager, manager.cache)
        return status
    return reader.within(Mode(manager.flag, manager.kind, manager.spot, manager.text), "block", rest)


def try_block(reader: Reader, node: cst.Try) -> str | None:
    def body() -> str | None:
        status = block(reader, node.body)
        return block(reader, node.orelse.body) if node.orelse and status is None else status

    handlers = [(i + 1, partial(_handler, reader, handler)) for i, handler in enumerate(node.handlers)]
    with reader.scope():
        status = reader.fork(reader.fresh(), [(0, body), *handlers]) if handlers else body()
    if node.finalbody:
        final = block(reader, node.finalbody.body)
        status = final or status
    return status


def _handler(reader: Reader, handler: cst.ExceptHandler) -> str | None:
    if handler.name and isinstance(handler.name.name, cst.Name):
        reader.put(reader.frame.env, handler.name.name.value, UNKNOWN)
    return block(reader, handler.body)


def match_statement(reader: Reader, node: cst.Match) -> str | None:
    evaluate(reader, node.subject)
    arms = [(i, lambda case=case: block(reader, case.body)) for i, case in enumerate(node.cases)]
    return reader.fork(reader.fresh(), [*arms, (len(arms), lambda: None)])


def function(reader: Reader, node: cst.FunctionDef) -> str | None:
    info = calls.local_function(reader, node)
    value: Value = Func(info, env=reader.frame if reader.frame.info else None)
    for parameter in (*node.params.params, *node.params.kwonly_params):
        if parameter.default is not None and reader.frame.info is not None:
            assert isinstance(value, Func)
            value.defaults[parameter.name.value] = evaluate(reader, parameter.default)
    for decorator in node.decorators:
        value = registries.decorated(reader, decorator, value)
    bind_name(reader, node.name.value, value)
    return None


def class_definition(reader: Reader, node: cst.ClassDef) -> str | None:
    file = reader.frame.file
    info = file.classes.get(node.name.value)
    if info is None or info.node is not node:
        info = class_info(node, file)
        info.outer = reader.frame
    made: Value = Cls(info)
    for decorator in node.decorators:
        made = registries.decorated(reader, decorator, made)
    bind_name(reader, node.name.value, made)
    return None


def import_statement(reader: Reader, node: cst.Import | cst.ImportFrom) -> str | None:
    file = reader.frame.file
    at_top = reader.frame is reader.module_frames.get(file.path)
    for name, (module, inner, dots) in imported(node):
        if at_top and file.imports.get(name) == (module, inner, dots):
            continue  # `lookup` follows it when it is used
        if name != "*":
            found = reader.project.imported(file, module, inner, dots)
            reader.put(reader.frame.env, name, objects.from_project(reader, found, file))
    return None


def return_statement(reader: Reader, node: cst.Return) -> str | None:
    reader.frame.returns.append(evaluate(reader, node.value) if node.value else Const(None))
    return "return"


def raise_statement(reader: Reader, node: cst.Raise) -> str | None:
    return "raise"


def delete(reader: Reader, node: cst.Del) -> str | None:
    target = node.target
    if isinstance(target, cst.Attribute):
        owner = evaluate(reader, target.value)
        if isinstance(owner, Instance) and target.attr.value in owner.attrs:
            reader.put(owner.attrs, target.attr.value, UNKNOWN)
    return None


def assertion(reader: Reader, node: cst.Assert) -> str | None:
    evaluate(reader, node.test)
    return None


def declare(reader: Reader, node: cst.Global | cst.Nonlocal) -> str | None:
    for item in node.names:
        name = item.name.value
        frame = reader.module_frames.get(reader.frame.file.path, reader.frames[0])
        if isinstance(node, cst.Nonlocal) and reader.frame.parent is not None:
            frame = reader.frame.parent
        reader.frame.nonlocals[name] = frame
    return None


STATEMENTS: dict[type, Callable[[Reader, Any], str | None]] = {
    cst.Expr: expression,
    cst.Assign: assign,
    cst.AnnAssign: annotated,
    cst.AugAssign: augmented,
    cst.If: if_statement,
    cst.For: for_loop,
    cst.While: while_loop,
    cst.With: with_block,
    cst.Try: try_block,
    cst.TryStar: try_block,
    cst.Match: match_statement,
    cst.FunctionDef: function,
    cst.ClassDef: class_definition,
    cst.Import: import_statement,
    cst.ImportFrom: import_statement,
    cst.Return: return_statement,
    cst.Raise: raise_statement,
    cst.Del: delete,
    cst.Assert: assertion,
    cst.Global: declare,
    cst.Nonlocal: declare,
    cst.Break: lambda reader, node: "break",
    cst.Continue: lambda reader, node: "continue",
}
