"""The nodes of a recording, light while it grows; `as_graph` makes the `torch.fx` graph of them.

Making an `fx.Node` costs more than running its operation on fake tensors, and few recordings are read as a graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import getitem
from typing import Any

from torch import fx

OF_THE_CALL = ("phase", "stack_trace")


class GraphNode:
    """What an `fx.Node` will hold; `node` is that one, once the graph is made."""

    __slots__ = ("args", "kwargs", "meta", "node", "target")

    def __init__(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], meta: dict[str, Any]) -> None:
        self.target = target  # the function; a name for an input of the graph
        self.args = args
        self.kwargs = kwargs
        self.meta = meta
        self.node: fx.Node | None = None

    @property
    def all_input_nodes(self) -> list[GraphNode]:
        return list(dict.fromkeys(_inside((self.args, self.kwargs))))


def as_graph(nodes: Iterable[GraphNode], returned: list[GraphNode]) -> fx.Graph:
    """The graph of nodes in the order of their recording, its inputs first; it returns one value or a tuple of them."""
    graph = fx.Graph()
    last: fx.Node | None = None
    for node in nodes:
        if isinstance(node.target, str):
            with graph.inserting_before(next(iter(graph.nodes), None)) if last is None else graph.inserting_after(last):
                last = node.node = graph.placeholder(node.target)
        else:
            node.node = graph.call_function(node.target, _made(node.args), _made(node.kwargs))
        node.node.meta = node.meta
        if node.target is getitem:  # of several results one, made where they were
            node.meta.update({key: node.args[0].meta[key] for key in OF_THE_CALL if key in node.args[0].meta})
        described = node.meta.get("tensor_meta")
        if described is not None:  # made before autograd was done with the result
            node.meta["tensor_meta"] = described._replace(requires_grad=node.meta.get("requires_grad", False))
    values = tuple(node.meta["val"] for node in returned)
    output = graph.output(_made(returned[0] if len(returned) == 1 else tuple(returned)))
    output.meta = {"val": values[0] if len(values) == 1 else values, "phase": "forward"}
    return graph


def _inside(value: Any) -> Iterator[GraphNode]:
    if isinstance(value, GraphNode):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _inside(item)
    elif isinstance(value, dict):
        yield from _inside(tuple(value.values()))


def _made(value: Any) -> Any:
    """The same with the nodes of the graph in place of these."""
    if isinstance(value, GraphNode):
        return value.node
    if type(value) in (tuple, list):
        return type(value)([_made(item) for item in value])
    if isinstance(value, dict):
        return {key: _made(item) for key, item in value.items()}
    return value
