"""Parts of a model as Python that a user can paste: `model.layers[3]`, or the very words of the line that names one."""

from __future__ import annotations

import ast
import keyword
from functools import cache
from pathlib import Path

from torch import nn

from .frames import Line

BY_INDEX = (nn.Sequential, nn.ModuleList, nn.ParameterList)
BY_KEY = (nn.ModuleDict, nn.ParameterDict)


def spelt(model: nn.Module, path: str, name: str = "model") -> str:
    """The expression that gives the submodule at a dotted path of the model that is called `name`."""
    text, holder = name, model
    for part in filter(None, path.split(".")):
        if isinstance(holder, BY_INDEX) and part.isdigit():
            text += f"[{part}]"
        elif isinstance(holder, BY_KEY):
            text += f"[{part!r}]".replace("'", '"')
        elif part.isidentifier() and not keyword.iskeyword(part):
            text += f".{part}"
        else:
            text += f'.get_submodule("{part}")'
        holder = holder.get_submodule(part)
    return text


def owner_at(line: Line, attribute: str) -> str:
    """What the statement `owner.attribute = …` at a line calls the owner; an empty text where there is none."""
    targets = [
        target
        for node in assignments(line[0])
        if node.lineno <= line[1] <= (node.end_lineno or node.lineno)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    owners = {ast.unparse(t.value) for t in targets if isinstance(t, ast.Attribute) and t.attr == attribute}
    return owners.pop() if len(owners) == 1 else ""


@cache
def assignments(path: str) -> tuple[ast.Assign | ast.AnnAssign, ...]:
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, (ast.Assign, ast.AnnAssign)))
