"""What a recording is compared with: a real step, torch's own FLOP counter, and the operations its profiler saw.

torch's counter is corrected where it is wrong: grouped weight gradients; fused attention, LSTM and grouped
products on the CPU; vectors. Chance is the same for both: what is drawn begins anew with each forward, and a single
number from `torch.rand` (layers dropped at random) is the middling one that a trace supposes, and says so.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from math import prod
from typing import Any
from unittest import mock

import torch
import zoo_roles
from torch import Tensor, nn
from torch.utils import flop_counter
from torch.utils.flop_counter import FlopCounterMode
from zoo_roles import Operations

from freezelint.worker.capture import named_tensors
from freezelint.worker.cost import Costs
from freezelint.worker.inputs import Inputs

Freeze = set[str]


def forward(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """One real forward: its loss, else all it returns that requires grad."""
    seed()
    with mock.patch.object(torch, "rand", middling(torch.rand)):
        output = model(*inputs.args, **inputs.kwargs)
    own = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    ends = [own] if isinstance(own, Tensor) else [tensor for _, tensor in named_tensors(output, "o")]
    return [tensor for tensor in ends if tensor.requires_grad]


def seed() -> None:
    torch.manual_seed(0)
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)


def middling(rand: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def drawn(*size: Any, **options: Any) -> Tensor:
        numbers = rand(*size, **options)
        return numbers.fill_(0.5) if numbers.numel() == 1 else numbers

    return drawn


def step(model: nn.Module, inputs: Inputs, counter: Any = nullcontext) -> tuple[Any, Any]:
    """One forward and backward, each in a context of its own; both contexts, left."""
    with counter() as before:
        ends = forward(model, inputs)
    with counter() as after:
        if ends:
            torch.autograd.backward(ends, zoo_roles.ones(ends))
    return before, after


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
        before, after = step(model, inputs, lambda: FlopCounterMode(display=False, custom_mapping=CORRECTED))
    except RuntimeError as error:
        if "_will_engine_execute_node" not in str(error):
            raise
        return None
    return before.get_total_flops(), after.get_total_flops()


def operations(model: nn.Module, inputs: Inputs) -> Operations:
    """The heavy operations of a real backward, by name and role."""
    return zoo_roles.operations(lambda: forward(model, inputs), (inputs.args, inputs.kwargs))


def predicted(costs: Costs) -> Operations:
    """The same from a recording."""
    found: Operations = Counter(f"{name_of(unit.node)} {unit.role}" for unit in costs.units)
    for node in costs.flow.recording.recorder.backward_nodes:
        if node.meta["phase"] == "recompute" and node.meta["flops"]:
            found[f"{name_of(node)} {zoo_roles.RECOMPUTE}"] += 1
    return found


def of_role(found: Operations, role: str) -> int:
    return sum(count for name, count in found.items() if name.endswith(f" {role}"))


def name_of(node: torch.fx.Node) -> str:
    return str(node.target._schema.name.removeprefix("aten::"))  # type: ignore[union-attr]


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
