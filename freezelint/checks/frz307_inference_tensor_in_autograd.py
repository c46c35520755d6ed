"""FRZ307: a tensor made under `inference_mode` goes into a layer that must save it for backward."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.rule import Rule
from freezelint.source import library
from freezelint.source.inference import block_of, without_inference_mode
from freezelint.source.story import Event, ModuleCall, Saved, Story
from freezelint.source.values import Tensor, tensors_in

RULE = Rule(
    code="FRZ307",
    name="inference-tensor-in-autograd",
    message="`{name}` must save a tensor for backward that is made under `{text}`: the training step raises",
    fix="use `torch.no_grad()` in its place",
    safety=Safety.UNSAFE,
    claim=ClaimKind.RAISES,
)


@RULE.on(ModuleCall)
def check(event: ModuleCall, story: Story) -> Iterator[Finding]:
    """A layer that trains, or a criterion that compares what trains, is fed such a tensor."""
    module = event.module
    if event.context.mode.flag is not True or module.cls is not None:
        return
    made = [t for value in event.args for t in tensors_in(value) if isinstance(t, Tensor) and t.inference is not None]
    if not made or not story.trains:
        return
    short = module.external.split(".")[-1]
    layer = library.WEIGHT_AND_BIAS.match(short) or short in (*library.WEIGHT_ONLY, *library.RECURRENT, *library.OPAQUE)
    own = any(story.flag_at(param, event) and story.optimised(param) for param in module.params.values())
    others = [t.node for value in event.args for t in tensors_in(value) if isinstance(t, Tensor) and t is not made[0]]
    compared = short in library.SAVING_CRITERIA and not event.context.autocast and trains(story, others, event)
    if (layer and own) or compared:
        yield report(made[0], module.name or short, event, story)


@RULE.on(Saved)
def check_operation(event: Saved, story: Story) -> Iterator[Finding]:
    """A product, a loss function or a lookup of what trains has to keep such a tensor."""
    if event.context.mode.flag is not True or event.context.autocast or not story.trains:
        return
    others = [edge.source for edge in story.map.into(event.node) if edge.source != event.tensor.node]
    if trains(story, others, event):
        yield report(event.tensor, event.spot.text.split("(")[0].strip(), event, story)


def trains(story: Story, nodes: list[int], event: Event) -> bool:
    """Whether any of these values surely carries a gradient to something that is optimised."""
    found = [story.of_node[i] for i in story.map.surely_reached(nodes) if i in story.of_node]
    return any(story.optimised(param) and story.flag_at(param, event) for param in found)


def report(made: Tensor, name: str, event: Event, story: Story) -> Finding:
    assert made.inference is not None
    place, text = block_of(story, made.inference)
    return RULE.report(
        place,
        name=name,
        text=text,
        edits=without_inference_mode(place),
        related=((event.spot, "saved for backward here"),),
        subject=name,
    )


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("inference_saved"):
        message = "`{subject}` gets a tensor made under `inference_mode` that autograd must save: the step raises"
        yield fact.report(RULE, message, "raised in the run")
