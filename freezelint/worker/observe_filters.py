"""Facts about choosing parameters: by names that no parameter has, and by a method where its flag was meant."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from .monitor import Monitor
from .observed import Fact, fact
from .places import CELL_MARK, Place
from .setup_log import only_switches
from .source_text import filename, function_at, span, tree

WALKS = ("named_parameters", "named_modules", "named_children")


def filters(monitor: Monitor) -> Iterator[Fact]:
    yield from idle(monitor)
    yield from empty_groups(monitor)
    yield from uncalled(monitor)


def idle(monitor: Monitor) -> Iterator[Fact]:
    """An `if` on the name, in a walk that went to its end, whose body sets `requires_grad` and never ran."""
    for place, walk in monitor.drains.walks.items():
        seen = monitor.places.seen.get((place[0], place[5]), set())
        for loop in loops_at(place):
            for choice in loop.body:
                if not isinstance(choice, ast.If) or choice.orelse or not all(map(only_switches, choice.body)):
                    continue
                body = range(choice.body[0].lineno, (choice.body[-1].end_lineno or 0) + 1)
                if by_name(choice.test, loop.target) and not seen & set(body) and not names_nothing(choice.test, walk):
                    text, tried = ast.unparse(choice.test), len(walk.names)
                    yield fact("idle_filter", span(place, choice.test), beginnings(walk.names), text=text, names=tried)
            yield from one_for_all(monitor, place, loop, walk.names)


def one_for_all(monitor: Monitor, place: Place, loop: ast.For, names: list[str]) -> Iterator[Fact]:
    """`p.requires_grad = "head" in name` that gave every parameter of the walk the same."""
    for line in (item for item in loop.body if isinstance(item, ast.Assign)):
        target = line.targets[0]
        flagged = isinstance(target, ast.Attribute) and target.attr == "requires_grad"
        if not flagged or not by_name(line.value, loop.target) or not any(map(is_text, ast.walk(line.value))):
            continue
        at = span(place, line.value)
        given = [
            bool(flag.value)
            for leaf in monitor.ledger.leaves.values()
            for flag in leaf.flags
            if flag.place is not None and flag.place[0] == at[0] and flag.place[1] == line.lineno
        ]
        if len(given) > 1 and len(set(given)) == 1:
            text = ast.unparse(line.value)
            yield fact("idle_filter", at, beginnings(names), text=text, names=len(names), same=len(given))


def empty_groups(monitor: Monitor) -> Iterator[Fact]:
    """A group with a rate of its own, chosen by name, that holds nothing."""
    for opt in monitor.ledger.optimizers:
        if opt.place is None or not opt.empty_groups:
            continue
        function = function_at(opt.place)
        lists = [] if function is None else [node for node in ast.walk(function) if is_group_list(node)]
        for number in opt.empty_groups:
            held = [node.elts[number] for node in lists if isinstance(node, ast.List) and number < len(node.elts)]
            for chosen in choices(held[0], function) if len(held) == 1 else ():
                text = ast.unparse(chosen.generators[0].ifs[0])
                yield fact("idle_filter", span(opt.place, chosen), "", text=text, names=0, group=number)


def is_group_list(node: ast.AST) -> bool:
    return isinstance(node, ast.List) and bool(node.elts) and all(isinstance(item, ast.Dict) for item in node.elts)


def choices(group: Any, function: Any) -> Iterator[Any]:
    """The comprehension over named parameters that fills a group which sets its own `lr`."""
    items = {key.value: value for key, value in zip(group.keys, group.values) if isinstance(key, ast.Constant)}
    value = items.get("params")
    if "lr" not in items or value is None:
        return
    if isinstance(value, ast.Name):
        assigned = [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and any(getattr(one, "id", "") == value.id for one in node.targets)
        ]
        value = assigned[0] if len(assigned) == 1 else None
    if isinstance(value, (ast.ListComp, ast.GeneratorExp)) and value.generators[0].ifs:
        first = value.generators[0]
        if walks(first.iter) and by_name(first.ifs[0], first.target) and any(map(is_text, ast.walk(first.ifs[0]))):
            yield value


def uncalled(monitor: Monitor) -> Iterator[Fact]:
    """`p.requires_grad_` as a test, which is always true, or as a whole statement of a loop: the method, not called."""
    frozen = sum(not leaf.requires_grad for opt in monitor.ledger.optimizers for leaf in opt.leaves)
    for (path, cell), lines in list(monitor.places.seen.items()):
        module = tree(f"{path}{CELL_MARK}{cell}" if cell else path)
        for node in ast.walk(module) if module is not None else ():
            for test in tests_of(node):
                if isinstance(test, ast.Attribute) and test.attr == "requires_grad_" and test.lineno in lines:
                    at = span((path, 0, 0, 0, 0, cell), test)
                    yield fact("always_true", at, ast.unparse(test.value), text=ast.unparse(test), frozen=frozen)
            for line in node.body if isinstance(node, ast.For) and node.lineno in lines else ():
                method = line.value if isinstance(line, ast.Expr) else None
                if isinstance(method, ast.Attribute) and method.attr == "requires_grad_":
                    at = span((path, 0, 0, 0, 0, cell), method)
                    yield fact("uncalled", at, ast.unparse(method.value), text=ast.unparse(method))


def tests_of(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Lambda):
        tests = [node.body]
    elif isinstance(node, ast.comprehension):
        tests = node.ifs
    else:
        tests = [node.test] if isinstance(node, (ast.If, ast.IfExp, ast.While, ast.Assert)) else []
    return [test.operand if isinstance(test, ast.UnaryOp) else test for test in tests]


def loops_at(place: Place) -> list[ast.For]:
    """The loops over named things whose head is at this line."""
    module = tree(filename(place))
    nodes = [node for node in ast.walk(module) if isinstance(node, ast.For)] if module is not None else []
    heads = [node for node in nodes if node.lineno <= place[1] <= (node.iter.end_lineno or node.lineno)]
    return [node for node in heads if walks(node.iter)]


def walks(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WALKS


def by_name(test: ast.expr, target: ast.expr) -> bool:
    """Whether a test reads the name that the loop hands out with each parameter."""
    first = target.elts[0] if isinstance(target, ast.Tuple) and target.elts else None
    return isinstance(first, ast.Name) and any(getattr(node, "id", "") == first.id for node in ast.walk(test))


def names_nothing(test: ast.expr, walk: Any) -> bool:
    """Whether the test asks for patterns of which there are none: an option left empty."""
    read = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    return bool(read & walk.empty)


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def beginnings(names: list[str]) -> str:
    heads = list(dict.fromkeys(name.split(".")[0] for name in names if name))
    return ", ".join(f"`{head}`" for head in heads[:4]) + (", ..." if len(heads) > 4 else "")
