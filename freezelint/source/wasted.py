"""Who reads the gradient of an input: what a training pass reaches, and what is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterable

from freezelint.gradient_map import Kind
from freezelint.source import cst
from freezelint.source.edits import assigned_name
from freezelint.source.story import Backward, Checkpointed, GradRead, Spot, Story, TensorFlag
from freezelint.source.values import Data, Tensor, Value, tensors_in

DATA = re.compile(r"(x|xs|inputs?|batch|data|imgs?|images?|samples?|features?)\w?$", re.IGNORECASE)
NEW = frozenset("randn rand zeros ones full empty eye randint normal".split())  # made, not loaded


def training_passes(story: Story) -> list[frozenset[int]]:
    """What each backward pass of a training step reaches; `autograd.grad` and `backward(inputs=...)` stop early."""
    return [
        event.reached
        for event in story.of(Backward)
        if event.node is not None and event.via != "autograd.grad" and "inputs=" not in event.spot.text
    ]


def read_inputs(story: Story) -> set[int]:
    """Inputs whose gradient somebody reads, may read, or needs: everything where a reader cannot be told apart."""
    graph = story.map
    reads = story.of(GradRead)
    if story.incomplete or any(event.node is None for event in reads):
        return {node.id for node in graph.nodes}
    read = graph.behind(event.node for event in reads if event.node is not None)
    places = [graph.nodes[i].place for i in read]
    read |= {node.id for node in graph.nodes if node.kind is Kind.INPUT and node.place in places}
    held = [tensor.node for optimizer in story.optimizers for tensor in optimizer.tensors]
    held += [t.node for event in story.of(Checkpointed) if event.reentrant is not False for t in flowing(event.args)]
    held += [t.node for t in flowing(story.returned)]
    meant = {t.node for event in story.of(TensorFlag) if not _input(story, event) for t in flowing([event.result])}
    return read | graph.behind(held) | meant | {edge.source for edge in graph.edges if not edge.sure}


def _input(story: Story, event: TensorFlag) -> bool:
    """Whether a tensor that was made to require grad is data of one step, not an accumulator or a weight by hand."""
    if any(info.name == "__init__" and info.owner and info.owner.is_module for info in event.context.calls):
        return False
    for made in flowing([event.result]):
        behind = story.map.behind([made.node])
        names = {story.map.nodes[i].name for i in behind if story.map.nodes[i].kind is Kind.INPUT}
        learnt = not event.context.loops and bool(names & NEW) and not DATA.match(_name_of(event.spot))
        if getattr(made, "literal", False) or story.map.parameters(behind) or learnt:
            return False
    return True


def _name_of(spot: Spot) -> str:
    """The name of what was made to require grad: of `x.requires_grad = True` x, else what its statement assigns."""
    node = spot.node.func if isinstance(spot.node, cst.Call) else spot.node
    owner = node.value if isinstance(node, cst.Attribute) and node.attr.value.startswith("requires_grad") else None
    return owner.value if isinstance(owner, cst.Name) else assigned_name(spot)


def flowing(values: Iterable[Value | None]) -> list[Tensor | Data]:
    """The tensors and data among some values."""
    found = [t for value in values if value is not None for t in tensors_in(value)]
    return [t for t in found if isinstance(t, (Tensor, Data))]
