"""What set-up code did to a model while it was built: where each parameter was made and frozen, which filters by name
matched nothing."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.overrides import TorchFunctionMode

from .frames import Line, project_line

SETTERS = {Tensor.requires_grad_, vars(torch._C.TensorBase)["requires_grad"].__set__}


class SetupLog(TorchFunctionMode):
    """Active while the user's set-up code runs; lines are those of the user's project."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, Line] = {}
        self.frozen: dict[int, Line] = {}
        self.filters: dict[Line, int] = {}  # `for name, p in model.named_parameters()` -> names that it saw
        self.set_lines: set[Line] = set()
        self.attributes: dict[int, tuple[Line, bool]] = {}  # modules given a plain attribute `requires_grad`
        self.flags: dict[int, list[tuple[Line, bool]]] = {}  # what each parameter's flag was set to, in order
        self.plain: dict[tuple[int, str], Line] = {}  # plain attributes that hold containers or tensors
        self.replaced: list[tuple[Line, str, Any, Any]] = []  # line, name, old and new module or parameter
        self.asked: Line | None = None  # where a model that is already built was asked about
        self._alive: list[Any] = []

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in SETTERS and args:
            self._note_switch(args[0], bool(args[1] if len(args) > 1 else kwargs.get("requires_grad", True)))
        return func(*args, **kwargs)

    def _note_switch(self, tensor: Tensor, on: bool) -> None:
        line = project_line()
        if line is None:
            return
        self.set_lines.add(line)
        self.flags.setdefault(id(tensor), []).append((line, on))
        if on:
            self.frozen.pop(id(tensor), None)
        else:
            self.frozen[id(tensor)] = line
            self._alive.append(tensor)

    def _note_made(self, module: nn.Module, name: str, parameter: Any) -> None:
        line = project_line() if isinstance(parameter, Tensor) else None
        if line is not None:
            self.made[id(parameter)] = line
            self._alive.append(parameter)
            self._note_replaced(line, name, module._parameters.get(name), parameter)

    def _note_built(self, module: nn.Module, name: str, part: Any) -> None:
        old = module._modules.get(name)
        line = project_line() if old is not None and old is not part else None
        if line is not None:
            self._note_replaced(line, name, old, part)

    def _note_replaced(self, line: Line, name: str, old: Any, new: Any) -> None:
        if old is not None and old is not new:
            self.replaced.append((line, name, old, new))

    def _noting_attributes(self, original: Callable[..., None]) -> Callable[..., None]:
        def __setattr__(module: nn.Module, name: str, value: Any) -> None:  # noqa: N807
            original(module, name, value)
            if isinstance(value, (list, tuple, dict, Tensor)) and name in vars(module):
                line = project_line()
                if line is not None:
                    self.plain[id(module), name] = line
            elif name == "requires_grad" and isinstance(value, bool) and name in vars(module):
                line = project_line()
                if line is not None:
                    self.attributes[id(module)] = (line, value)
                    self._alive.append(module)

        return __setattr__

    def _counted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def named_parameters(module: nn.Module, *args: Any, **kwargs: Any) -> Iterator[Any]:
            line = project_line()
            rows = list(original(module, *args, **kwargs))
            if line is not None:
                self.filters[line] = self.filters.get(line, 0) + len(rows)
            return iter(rows)

        return named_parameters

    @contextmanager
    def active(self) -> Iterator[SetupLog]:
        handles = (
            modules.register_module_parameter_registration_hook(self._note_made),
            modules.register_module_module_registration_hook(self._note_built),
        )
        original = nn.Module.named_parameters
        nn.Module.named_parameters = self._counted(original)  # type: ignore[method-assign]
        set_attribute = nn.Module.__setattr__
        nn.Module.__setattr__ = self._noting_attributes(set_attribute)  # type: ignore[method-assign]
        try:
            with self:
                yield self
        finally:
            nn.Module.__setattr__ = set_attribute  # type: ignore[method-assign]
            nn.Module.named_parameters = original  # type: ignore[method-assign]
            for handle in handles:
                handle.remove()

    def idle_filters(self) -> list[tuple[str, int, int, str]]:
        """(path, first line, last line, test) of every `if` that chooses parameters by name to set `requires_grad`,
        looked at names, and chose none."""
        found = []
        for (path, line), names in self.filters.items():
            idle = [choice for choice in filters_at(path, line) if names and not self._chose(path, choice)]
            found += [(path, i.lineno, i.test.end_lineno or i.lineno, ast.unparse(i.test)) for i in idle]
        return found

    def _chose(self, path: str, choice: ast.If) -> bool:
        body = range(choice.body[0].lineno, (choice.body[-1].end_lineno or choice.body[-1].lineno) + 1)
        return any(at == path and number in body for at, number in self.set_lines)


def filters_at(path: str, line: int) -> list[ast.If]:
    """The `if`s directly in the loop whose head is at this line, that only set `requires_grad` and have no `else`."""
    bodies = [loop.body for loop in loops(path) if loop.lineno <= line <= (loop.iter.end_lineno or loop.lineno)]
    choices = [statement for body in bodies for statement in body if isinstance(statement, ast.If)]
    return [choice for choice in choices if not choice.orelse and all(map(only_switches, choice.body))]


@cache
def loops(path: str) -> tuple[ast.For, ...]:
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.For))


def only_switches(statement: ast.stmt) -> bool:
    """Whether a statement does nothing but set `requires_grad`; one that also counts or prints guards the filter."""
    if isinstance(statement, ast.Assign):
        return all(isinstance(t, ast.Attribute) and t.attr == "requires_grad" for t in statement.targets)
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "requires_grad_"
