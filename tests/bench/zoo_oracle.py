"""What a recording is compared with: a real step, torch's own FLOP counter, and the operations its profiler saw.

torch's counter is corrected where it is wrong: grouped weight gradients; fused attention, LSTM and grouped
products on the CPU; vectors.
"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils import flop_counter
from torch.utils.flop_counter import FlopCounterMode

from freezelint.worker.capture import named_tensors
from freezelint.worker.inputs import Inputs

Freeze = set[str]
Products = Counter[str]  # heavy operations of a backward by name; a convolution's gradients apart


def step(model: nn.Module, inputs: Inputs, counter: Any = nullcontext, backward: Any = None) -> tuple[Any, Any]:
    """One forward and backward, each in a context of its own; both contexts, left."""
    torch.manual_seed(0)
    with counter() as forward:
        output = model(*inputs.args, **inputs.kwargs)
    own = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    ends = [own] if isinstance(own, torch.Tensor) else [t for _, t in named_tensors(output, "o")]
    ends = [t for t in ends if t.requires_grad]
    with (backward or counter)() as context:
        if ends:
            torch.autograd.backward(ends, [torch.ones_like(t) for t in ends])
    return forward, context


def freeze(model: nn.Module, keep: Freeze) -> None:
    for name, parameter in model.named_parameters():
        parameter.grad = None
        if parameter.is_floating_point():
            parameter.requires_grad_(name in keep)


def reached(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


def flops(model: nn.Module, inputs: Inputs) -> tuple[int, int] | None:
    """torch's counts of forward and backward; None where its counter cannot follow `autograd.grad` in a forward."""
    try:
        forward, backward = step(model, inputs, lambda: FlopCounterMode(display=False, custom_mapping=CORRECTED))
    except RuntimeError as error:
        if "_will_engine_execute_node" not in str(error):
            raise
        return None
    return forward.get_total_flops(), backward.get_total_flops()


PRODUCTS = frozenset("mm bmm mv dot addmm addbmm baddbmm addmv _grouped_mm mkldnn_rnn_layer_backward".split())

CONVOLUTION = ("convolution x", "convolution weight")


def profiled(model: nn.Module, inputs: Inputs) -> Products:
    """The heavy operations that torch's profiler saw in a real backward."""
    cpu = [torch.profiler.ProfilerActivity.CPU]
    _, profile = step(model, inputs, backward=lambda: torch.profiler.profile(activities=cpu, record_shapes=True))
    found: Products = Counter()
    for event in profile.events():
        name = event.name.removeprefix("aten::")
        if within_product(event) or any(0 in shape for shape in event.input_shapes[:3] if isinstance(shape, list)):
            continue  # what a fused kernel is made of; what works on nothing
        if name == "convolution_backward":
            mask = next((v for v in reversed(event.concrete_inputs) if isinstance(v, list) and len(v) == 3), [1, 1, 1])
            found.update(part for part, wanted in zip(CONVOLUTION, mask, strict=False) if wanted)
        elif name in PRODUCTS or (name.startswith("_scaled_dot_product") and name.endswith("backward")):
            found[name] += 1
    return found


def within_product(event: Any) -> bool:
    above = event.cpu_parent
    while above is not None:
        if above.name.removeprefix("aten::") in PRODUCTS or above.name.startswith("aten::_scaled_dot_product"):
            return True
        above = above.cpu_parent
    return False


def predicted(nodes: list[torch.fx.Node]) -> Products:
    """The same from the nodes of a recorded backward."""
    found: Products = Counter()
    for node in nodes:
        if not (node.meta["flops"] or node.meta["parts"]):
            continue
        name = node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
        if name == "convolution_backward":
            found.update(CONVOLUTION[index] for index in node.meta["parts"])
        else:
            found[name] += 1
    return found


def convolution_backward(
    grad: Any, x: Any, weight: Any, _bias: Any, _stride: Any, _padding: Any, _dilation: Any, transposed: bool,
    _output_padding: Any, _groups: int, mask: Any, **_shapes: Any,
) -> int:  # fmt: skip
    return 2 * prod(x if transposed else grad) * prod(weight[1:]) * (int(mask[0]) + int(mask[1]))


def fused(query: Any, key: Any, value: Any, *_more: Any, **_shapes: Any) -> int:
    return flop_counter.sdpa_flop_count(query, key, value)


def fused_backward(grad: Any, query: Any, key: Any, value: Any, *_more: Any, **_shapes: Any) -> int:
    return flop_counter.sdpa_backward_flop_count(grad, query, key, value)


def lstm(x: Any, weight_ih: Any, weight_hh: Any, *_more: Any, **_shapes: Any) -> int:
    return 2 * prod(x[:-1]) * (prod(weight_ih) + prod(weight_hh))


def grouped(one: Any, other: Any, *_more: Any, out_shape: Any = None, **_shapes: Any) -> int:
    rows = out_shape[1:] if len(one) == len(other) == 2 else out_shape
    return 2 * prod(rows) * one[-1]


CORRECTED = {
    torch.ops.aten._grouped_mm: grouped,
    torch.ops.aten.mv: lambda matrix, _vector, **_shapes: 2 * prod(matrix),
    torch.ops.aten.dot: lambda vector, _other, **_shapes: 2 * prod(vector),
    torch.ops.aten.mkldnn_rnn_layer: lstm,
    torch.ops.aten.mkldnn_rnn_layer_backward: lambda *shapes, **more: 2 * lstm(*shapes, **more),
    torch.ops.aten.convolution_backward: convolution_backward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: fused,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: fused_backward,
}
