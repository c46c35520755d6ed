"""Tensors that train but that `nn.Module` does not know: in plain attributes, computed, or made in the forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

MOST = 512  # items of a container that are looked at


@dataclass(eq=False)
class Hidden:
    """One plain attribute that holds trainable tensors; `computed`: the result of an operation on a parameter."""

    module: nn.Module
    path: str
    name: str
    kind: str  # list, tuple, dict, Tensor
    tensors: list[Tensor]
    computed: bool = False

    @property
    def subject(self) -> str:
        return f"{self.path or type(self.module).__name__}.{self.name}"


def hidden_in(model: nn.Module) -> list[Hidden]:
    """What plain attributes of the model's modules hold and `parameters()` does not."""
    known = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    found = []
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor):
                if value.requires_grad and id(value) not in known:
                    found.append(Hidden(module, path, name, "Tensor", [value], value.grad_fn is not None))
            elif isinstance(value, (list, tuple, dict)) and not name.startswith("_"):
                lost = [t for t in _tensors(value) if t.requires_grad and t.is_leaf and id(t) not in known]
                if lost:
                    found.append(Hidden(module, path, name, type(value).__name__, lost))
    return found


def _tensors(value: Any, depth: int = 2) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.parameters()
    elif depth and isinstance(value, (list, tuple, dict)):
        for item in list(value.values() if isinstance(value, dict) else value)[:MOST]:
            yield from _tensors(item, depth - 1)


def parameter_behind(tensor: Tensor) -> nn.Parameter | None:
    """The one parameter that a tensor was computed from, if it is no more than that."""
    todo: list[Any] = [tensor.grad_fn]
    leaves: list[Tensor] = []
    while todo and len(leaves) < 2:
        node = todo.pop()
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            leaves.append(variable)
        todo.extend(following for following, _ in node.next_functions if following is not None)
    return leaves[0] if len(leaves) == 1 and isinstance(leaves[0], nn.Parameter) else None
