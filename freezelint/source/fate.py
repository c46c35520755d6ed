"""What becomes of the gradients of one backward pass: stepped, mixed with others, or zeroed unused."""

from __future__ import annotations

from freezelint.source.story import Backward, Step, Story, ZeroGrad
from freezelint.source.values import Optimizer

WASTED = "those gradients are thrown away"
MIXED = "those gradients are mixed into its own step"


def later(story: Story, event: Backward) -> list[Step | ZeroGrad | Backward]:
    """What happens to gradients after a backward pass, in order; the end of a loop leads to its start."""
    loops = {loop for loop, _ in event.context.loops}
    events = [one for one in story.events if isinstance(one, (Step, ZeroGrad, Backward))]
    after = [one for one in events if one.seq > event.seq]
    again = [one for one in events if one.seq < event.seq and loops & {loop for loop, _ in one.context.loops}]
    return [one for one in (*after, *again) if not event.context.excludes(one.context)]


def served(story: Story, event: Backward, optimizer: Optimizer) -> bool:
    """Whether the gradients of this pass are stepped by `optimizer` before they are zeroed."""
    for one in later(story, event):
        if isinstance(one, Step) and one.optimizer is optimizer:
            return fate(story, event, optimizer) == ""
        if isinstance(one, ZeroGrad) and clears(one, optimizer):
            return False
    return False


def fate(story: Story, event: Backward, optimizer: Optimizer) -> str:
    """What becomes of the gradients this pass gives the parameters of `optimizer`; '' where they are used."""
    for one in later(story, event):
        if isinstance(one, ZeroGrad) and clears(one, optimizer):
            return WASTED
        if isinstance(one, Backward) and "inputs=" in one.spot.text:
            mine = {param.node for param in optimizer.params}
            if mine & one.reached:
                return MIXED
        if isinstance(one, Step) and one.optimizer is optimizer:
            return ""
    return ""


def clears(event: ZeroGrad, optimizer: Optimizer) -> bool:
    return event.target is optimizer or (
        bool(optimizer.params) and all(any(param is known for known in event.params) for param in optimizer.params)
    )
