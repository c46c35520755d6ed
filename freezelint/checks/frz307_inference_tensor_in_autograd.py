"""FRZ307: a tensor made under `inference_mode` goes into a layer that must save it for backward."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding, Safety
from freezelint.rule import Rule
from freezelint.source import library
from freezelint.source.inference import block_of, without_inference_mode
from freezelint.source.story import ModuleCall, Story
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
    module = event.module
    if event.context.mode.flag is not True or not module.params or module.cls is not None:
        return
    short = module.external.split(".")[-1]
    saves = library.WEIGHT_AND_BIAS.match(short) or short in (*library.WEIGHT_ONLY, *library.RECURRENT, *library.OPAQUE)
    if not saves or not any(story.flag_at(param, event) and story.optimised(param) for param in module.params.values()):
        return
    for tensor in (t for value in event.args for t in tensors_in(value) if isinstance(t, Tensor)):
        if tensor.inference is not None and story.trains:
            place, text = block_of(story, tensor.inference)
            yield RULE.report(
                place,
                name=module.name or short,
                text=text,
                edits=without_inference_mode(place),
                related=((event.spot, "saved for backward here"),),
                subject=module.name or short,
            )
            return


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("inference_saved"):
        message = "`{subject}` gets a tensor made under `inference_mode` that autograd must save: the step raises"
        yield fact.report(RULE, message, "raised in the run")
