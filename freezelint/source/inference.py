"""Where inference mode is entered, and the edit that makes it `no_grad`."""

from __future__ import annotations

from freezelint.rule import Place
from freezelint.source import cst
from freezelint.source.story import ModeChange, Spot, Story


def block_of(story: Story, spot: Spot) -> tuple[Spot, str]:
    """The place that put inference mode in force, and its text."""
    for event in story.of(ModeChange):
        if event.mode.spot == spot:
            return spot, event.mode.text.lstrip("@")
    return spot, "torch.inference_mode()"


def without_inference_mode(place: Spot) -> tuple[tuple[Place, str], ...]:
    """`inference_mode` written as `no_grad`."""
    node = place.node.func if isinstance(place.node, cst.Call) else place.node
    if isinstance(place.node, cst.Call) and place.node.args:
        return ()
    if isinstance(node, cst.Attribute) and node.attr.value == "inference_mode":
        return ((Spot(place.file, node.attr), "no_grad"),)
    return ()
