"""Example inputs that a script writes out itself: `model(torch.randn(4, 8))`, also by way of a name."""

from __future__ import annotations

import ast
from typing import Any

import torch

from .inputs import Inputs

FACTORIES = set("rand randn randint zeros ones full arange tensor linspace".split())
METHODS = set("float long int half bool to reshape view unsqueeze clamp abs cpu".split())


def inputs_in(tree: ast.Module, names: set[str], space: dict[str, Any]) -> Inputs | None:
    """The arguments of a model's first call, by one of its names, that are constants and factories of torch alone."""
    known = {name: value for name, value in space.items() if isinstance(value, (int, float, str, bool, torch.dtype))}
    made = written_out(tree)
    for part in ast.walk(tree):
        if not isinstance(part, ast.Call) or not isinstance(part.func, ast.Name) or part.func.id not in names:
            continue
        args = [spelt_out(argument, made) for argument in part.args]
        kwargs = {k.arg: spelt_out(k.value, made) for k in part.keywords if k.arg}
        every = [*args, *kwargs.values()]
        if len(kwargs) == len(part.keywords) and every and all(map(is_made_of_factories, every)):
            try:
                return Inputs(
                    tuple(evaluated(a, known) for a in args),
                    {n: evaluated(v, known) for n, v in kwargs.items()},
                    "script",
                )
            except Exception:  # a size that is known only when the script runs
                return None
    return None


def written_out(tree: ast.Module) -> dict[str, ast.expr]:
    """Names given a value in one place only."""
    found: dict[str, list[ast.expr]] = {}
    for part in ast.walk(tree):
        if isinstance(part, ast.Assign) and len(part.targets) == 1:
            pairs = [(part.targets[0], part.value)]
            if isinstance(part.targets[0], ast.Tuple) and isinstance(part.value, ast.Tuple):
                pairs = list(zip(part.targets[0].elts, part.value.elts))
            for target, value in pairs:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(value)
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def spelt_out(node: ast.expr, made: dict[str, ast.expr]) -> ast.expr:
    return made.get(node.id, node) if isinstance(node, ast.Name) else node


def is_made_of_factories(node: ast.expr) -> bool:
    """`torch.randn(...)`, and methods that only reshape or cast what it gives."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "torch":
            return node.func.attr in FACTORIES
        if node.func.attr not in METHODS:
            return False
        node = node.func.value
    return False


def evaluated(node: ast.expr, known: dict[str, Any]) -> Any:
    code = compile(ast.Expression(node), "<inputs>", "eval")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return eval(code, {"__builtins__": {"range": range, "len": len}, "torch": torch, **known})
