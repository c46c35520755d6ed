"""Which of the models that set-up code built are looked at: those that an optimizer steps, the largest first."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from .targets import Built


def held_in(value: Any, name: str, kind: type) -> Iterator[tuple[str, Any]]:
    """A value of this kind, or those in a list, tuple or dict: `models[0]`, `nets["front"]`."""
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from held_in(item, f"{name}[{index}]", kind)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from held_in(item, f"{name}[{key!r}]".replace("'", '"'), kind)


def chosen(values: Iterable[tuple[str, Any]], steppers: Iterable[Any], where: str) -> Built | None:
    """The models among named values; `others` of the answer are further ones that an optimizer steps."""
    models: dict[int, tuple[str, nn.Module]] = {}
    for name, value in values:
        for path, model in held_in(value, name, nn.Module):
            models.setdefault(id(model), (path, model))
    inner = {id(part) for _, model in models.values() for part in model.modules() if part is not model}
    tops = {name: model for key, (name, model) in models.items() if key not in inner}
    if not tops:
        return None
    sizes = {name: sum(p.numel() for p in model.parameters()) for name, model in tops.items()}
    largest = sorted(tops, key=lambda name: -sizes[name])
    optimizers = list({id(one): one for value in steppers for _, one in held_in(value, "", Optimizer)}.values())
    stepped = [name for name in largest if steps(optimizers, tops[name])]
    first, *others = [_built(name, tops[name], optimizers) for name in stepped or largest[:1]]
    first.others = others
    left = [f"`{name}`" for name in largest if sizes[name] and name not in stepped and name != first.part]
    if left and stepped:
        first.notes.append(f"{', '.join(left)}: in no optimizer of {where}, and not looked at")
    elif left:
        first.notes.append(f"only `{first.part}` of {where} was looked at, not {', '.join(left)}")
    return first


def steps(optimizers: list[Optimizer], model: nn.Module) -> list[Optimizer]:
    """The optimizers that hold parameters of the model."""
    own = {id(parameter) for parameter in model.parameters()}
    return [one for one in optimizers if own & {id(p) for group in one.param_groups for p in group["params"]}]


def _built(name: str, model: nn.Module, optimizers: list[Optimizer]) -> Built:
    fitting = steps(optimizers, model) or (optimizers if len(optimizers) == 1 else [])
    return Built(model, next(iter(fitting), None), name=name, part=name)


def drawn_from(nodes: Iterable[ast.AST]) -> dict[str, set[str]]:
    """For each variable of a loop or comprehension, the names that its values come from."""
    found: dict[str, set[str]] = {}
    for part in (part for node in nodes for part in ast.walk(node)):
        if isinstance(part, (ast.For, ast.comprehension)):
            sources = {n.id for n in ast.walk(part.iter) if isinstance(n, ast.Name)}
            for target in (n for n in ast.walk(part.target) if isinstance(n, ast.Name)):
                found.setdefault(target.id, set()).update(sources)
    return found


def followed(names: set[str], drawn: dict[str, set[str]]) -> set[str]:
    """The names, and those that they are drawn from."""
    todo, seen = list(names), set(names)
    while todo:
        for source in drawn.get(todo.pop(), ()):
            if source not in seen:
                seen.add(source)
                todo.append(source)
    return seen
