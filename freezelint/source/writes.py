"""Values of parameters written by hand: `.data.copy_(...)`, `.data[...] = …`, in-place initialisation."""

from __future__ import annotations

from freezelint.source import cst
from freezelint.source.reader import Reader
from freezelint.source.story import Written
from freezelint.source.values import Param, Tensor, Value

ALIASES = frozenset("data detach item view reshape flatten T t squeeze unsqueeze narrow select".split())


def note(reader: Reader, owner: Value, how: str, node: cst.CSTNode) -> None:
    """An in-place method or an element assignment: noted where it writes a parameter."""
    param = parameter_behind(reader, owner)
    if param is not None:
        reader.emit(Written, node, param, how)


def parameter_behind(reader: Reader, value: Value) -> Param | None:
    """The parameter a tensor is an alias of, through `.data`, `.detach()`, slices and views."""
    if isinstance(value, Param):
        return value
    node = value.node if isinstance(value, Tensor) else None
    for _ in range(6):
        if node is None:
            return None
        if node in reader.story.of_node:
            return reader.story.of_node[node]
        into = reader.map.into(node)
        known = reader.map.nodes[node].name in ALIASES
        node = into[0].source if known and into else None
    return None
