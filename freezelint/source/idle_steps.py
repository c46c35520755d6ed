"""What a step does to a parameter whose gradient is zero."""

from __future__ import annotations

import re

from freezelint.source import cst
from freezelint.source.story import GradRead
from freezelint.source.values import Const, Dict, Optimizer, Seq, Value

DECAY = "weight decay does not look at the gradient"
MOMENTUM = "the momentum of earlier steps goes on"


def moves(optimizer: Optimizer) -> str:
    """Why a step with a gradient of zero moves a parameter; '' where it does not, or where that is not known."""
    name = optimizer.external.split(".")[-1]
    if decay(optimizer):
        return DECAY
    if "Adam" in name or name in ("Lion", "Adamax", "LAMB", "Lamb"):
        return MOMENTUM
    return MOMENTUM if name in ("SGD", "RMSprop") and given(optimizer, "momentum") else ""


def decay(optimizer: Optimizer) -> str:
    by_default = "AdamW" in optimizer.external and "weight_decay" not in optimizer.kwargs
    return DECAY if given(optimizer, "weight_decay") or by_default else ""


def given(optimizer: Optimizer, option: str) -> bool:
    """Whether an option that is off by default was turned on."""
    values: list[Value | None] = [optimizer.kwargs.get(option)]
    for group in optimizer.groups:
        values += (
            [one.items.get(option) for one in group.items if isinstance(one, Dict)] if isinstance(group, Seq) else []
        )
    return any(v is not None and not (isinstance(v, Const) and not v.value) for v in values)


def masks_by_hook(event: GradRead, mask: re.Pattern[str]) -> bool:
    """Whether this is `p.register_hook(lambda grad: grad * mask)`."""
    node = event.spot.node
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute) or len(node.args) != 1:
        return False
    hook = node.args[0].value
    body = hook.body if node.func.attr.value == "register_hook" and isinstance(hook, cst.Lambda) else None
    if not isinstance(body, cst.BinaryOperation) or body.operator != "Multiply":
        return False
    names = [part for part in (body.left, body.right) if isinstance(part, (cst.Name, cst.Attribute))]
    return any(mask.search(event.spot.file.code(name)) for name in names)
