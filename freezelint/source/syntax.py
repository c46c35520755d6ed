"""Where a node stands in its file: what encloses it, under which tests it runs, and how its statement can be moved."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import WeakKeyDictionary

from freezelint.findings import Location
from freezelint.source import cst
from freezelint.source.project import ModuleInfo, dotted
from freezelint.source.story import Spot
from freezelint.source.tree import children, walk
from freezelint.textfile import python_lines

Edits = tuple[tuple[Location, str], ...]
_PARENTS: WeakKeyDictionary[ModuleInfo, dict[int, cst.CSTNode]] = WeakKeyDictionary()


def parents(file: ModuleInfo) -> dict[int, cst.CSTNode]:
    """id of a node -> the node that holds it, found once a file."""
    if file not in _PARENTS:
        found: dict[int, cst.CSTNode] = {}
        todo: list[cst.CSTNode] = [file.tree]
        while todo:
            node = todo.pop()
            below = children(node)
            for child in below:
                found[id(child)] = node
            todo += below
        _PARENTS[file] = found
    return _PARENTS[file]


def enclosing(spot: Spot) -> Iterator[cst.CSTNode]:
    """What holds a node, from the inside out, the module last."""
    above = parents(spot.file)
    node = above.get(id(spot.node))
    while node is not None:
        yield node
        node = above.get(id(node))


def within_function(spot: Spot) -> Iterator[cst.CSTNode]:
    """What holds a node inside its function (or at the top level)."""
    for node in enclosing(spot):
        if isinstance(node, (cst.FunctionDef, cst.Lambda)):
            return
        yield node


def loop_numbers(spot: Spot) -> set[str]:
    """The names that count the passes of the loops round a node: `for i in range(n)`, `for i, x in enumerate(xs)`."""
    found: set[str] = set()
    for node in within_function(spot):
        if not isinstance(node, cst.For) or not isinstance(node.iter, cst.Call):
            continue
        target: cst.BaseExpression = node.target
        over = dotted(node.iter.func)
        if over == "enumerate" and isinstance(target, cst.Tuple):
            target = target.elements[0].value
        if over in ("range", "enumerate") and isinstance(target, cst.Name):
            found.add(target.value)
    return found


def tests_over(spot: Spot) -> list[tuple[cst.If, cst.BaseExpression]]:
    """The `if`s a node runs under in its function, also those that `continue` past it."""
    found: list[tuple[cst.If, cst.BaseExpression]] = []
    inner: cst.CSTNode = spot.node
    for node in within_function(spot):
        if isinstance(node, cst.If) and inner is not node.test:
            found.append((node, node.test))
        if isinstance(node, cst.IndentedBlock):
            for statement in node.body:
                if statement is inner:
                    break
                if isinstance(statement, cst.If) and _skips(statement):
                    found.append((statement, statement.test))
        inner = node
    return found


def _skips(statement: cst.If) -> bool:
    last = statement.body.body[-1] if statement.body.body else None
    small = last.body[-1] if isinstance(last, cst.SimpleStatementLine) else last
    return isinstance(small, cst.Continue)


def resolved(file: ModuleInfo, spot: Spot, test: cst.BaseExpression) -> cst.BaseExpression:
    """A test that is a name: the expression last assigned to it above, in the same function."""
    while isinstance(test, cst.UnaryOperation):
        test = test.expression
    name = dotted(test) if isinstance(test, (cst.Name, cst.Attribute)) else ""
    scope = next((node for node in enclosing(spot) if isinstance(node, (cst.FunctionDef, cst.Module))), None)
    if not name or scope is None:
        return test
    found = test
    for below in walk(scope):
        if isinstance(below, cst.Assign) and any(dotted(target.target) == name for target in below.targets):
            found = below.value
    return found


def statement_of(spot: Spot) -> tuple[cst.BaseSuite | cst.Module, cst.SimpleStatementLine] | None:
    """The block and the line of a node whose statement stands alone on its line."""
    line: cst.SimpleStatementLine | None = None
    for node in enclosing(spot):
        if isinstance(node, cst.SimpleStatementLine) and len(node.body) == 1:
            line = node
        elif isinstance(node, (cst.IndentedBlock, cst.Module)):
            return (node, line) if line is not None else None
    return None


def move_behind(moved: Spot, anchor: Spot) -> Edits:
    """The edits that put the statement of `moved` right behind that of `anchor`; () where they are not that simple."""
    one, other = statement_of(moved), statement_of(anchor)
    if one is None or other is None or moved.file is not anchor.file or moved.file.path.endswith(".ipynb"):
        return ()
    block, line = one
    if len(block.body) < 2:
        return ()
    at, after = moved.file.locate(line), anchor.file.locate(other[1])
    lines = python_lines(moved.file.text)
    if at.line != at.end_line or after.end_line >= len(lines) + 1:
        return ()
    text = lines[after.line - 1][: after.column] + lines[at.line - 1].strip()
    gone = Location(at.path, at.line, 0, at.line + 1, 0)
    if after.end_line == len(lines):
        end = len(lines[-1])
        return (gone, ""), (Location(at.path, after.end_line, end, after.end_line, end), f"\n{text}")
    return (gone, ""), (Location(at.path, after.end_line + 1, 0, after.end_line + 1, 0), f"{text}\n")


def torch_nn(file: ModuleInfo) -> str:
    """How a file writes `torch.nn`, '' where it has no name for it."""
    for name in ("nn", "torch.nn"):
        found = file.resolve(name)
        if found == "torch.nn":
            return name
    return ""
