"""Floating-point operations of the operations that do the heavy work: products, convolutions, attention, LSTM layers.

Everything else counts as zero, as in torch's own counter, from which this differs in two places: the weight gradient of
a grouped convolution (torch counts `groups` times too much) and fused attention on the CPU (torch counts nothing).
A multiply-add is two operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from torch import Tensor

Shape = Sequence[int]


def matmul(a: Shape, b: Shape) -> int:
    """(..., m, k) @ (..., k, n), or with a vector on the right."""
    return 2 * prod(a) * (b[-1] if len(b) > 1 else 1)


def convolution(x: Shape, weight: Shape, out: Shape, transposed: bool) -> int:
    """A convolution; `weight` already has the channels of one group, so groups need no term of their own."""
    return 2 * (prod(x) if transposed else prod(out)) * prod(weight[1:])


def attention(query: Shape, key: Shape, value: Shape, products: tuple[int, int]) -> int:
    """Fused attention on (..., heads, length, width): so many products of query's width and of value's width."""
    scores = prod(query[:-1]) * key[-2]
    return 2 * scores * (products[0] * query[-1] + products[1] * value[-1])


def _mm(args: tuple[Any, ...], _out: Any) -> int:
    return matmul(args[0].shape, args[1].shape)


def _addmm(args: tuple[Any, ...], _out: Any) -> int:
    return matmul(args[1].shape, args[2].shape)


def _convolution(args: tuple[Any, ...], out: Any) -> int:
    return convolution(args[0].shape, args[1].shape, out.shape, bool(args[6]))


def _attention(args: tuple[Any, ...], _out: Any) -> int:
    return attention(args[0].shape, args[1].shape, args[2].shape, (1, 1))


def _attention_backward(args: tuple[Any, ...], _out: Any) -> int:
    # recomputed scores, query and key (width of the query); value and scores (width of the value)
    return attention(args[1].shape, args[2].shape, args[3].shape, (3, 2))


def _grouped_mm(args: tuple[Any, ...], out: Any) -> int:
    rows = out.shape[1:] if args[0].dim() == args[1].dim() == 2 else out.shape  # there groups share the inner dimension
    return 2 * int(prod(rows)) * int(args[0].shape[-1])


def _lstm(args: tuple[Any, ...], _out: Any) -> int:
    x, weight_ih, weight_hh = args[0], args[1], args[2]
    return 2 * int(prod(x.shape[:-1])) * int(prod(weight_ih.shape) + prod(weight_hh.shape))


FORMULAS: dict[str, Callable[[tuple[Any, ...], Any], int]] = {
    "aten::mm": _mm,
    "aten::bmm": _mm,
    "aten::mv": _mm,
    "aten::dot": lambda args, _out: 2 * prod(args[0].shape),
    "aten::addmm": _addmm,
    "aten::addbmm": _addmm,
    "aten::baddbmm": _addmm,
    "aten::addmv": _addmm,
    "aten::_addmm_activation": _addmm,
    "aten::linear": lambda args, _out: 2 * prod(args[0].shape) * args[1].shape[0],
    "aten::convolution": _convolution,
    "aten::_convolution": _convolution,
    "aten::cudnn_convolution": lambda args, out: convolution(args[0].shape, args[1].shape, out.shape, False),
    "aten::mkldnn_rnn_layer": _lstm,
    "aten::_grouped_mm": _grouped_mm,
}
for _name in ("flash", "efficient", "cudnn", "fused"):
    FORMULAS[f"aten::_scaled_dot_product_{_name}_attention"] = _attention
    FORMULAS[f"aten::_scaled_dot_product_{_name}_attention_backward"] = _attention_backward
FORMULAS["aten::_scaled_dot_product_flash_attention_for_cpu"] = _attention
FORMULAS["aten::_scaled_dot_product_flash_attention_for_cpu_backward"] = _attention_backward


def flops(name: str, args: tuple[Any, ...], out: Any) -> int:
    """Operations of one call of the operator `name` ("aten::mm"); zero when it does no heavy work."""
    formula = FORMULAS.get(name)
    if formula is None or any(isinstance(arg, Tensor) and arg.is_nested for arg in args):
        return 0
    return formula(args, out)


def parts(name: str, args: tuple[Any, ...], out: Any) -> dict[int, int]:
    """A backward operation that computes several gradients at once: operations by the index of its result.

    Empty for every other operation: those have one price, whatever they are for.
    """
    if name == "aten::convolution_backward":
        grad, x, weight = args[0], args[1], args[2]
        transposed, mask = bool(args[7]), args[10]
        cost = convolution(x.shape, weight.shape, grad.shape, transposed)
        return {index: cost for index in (0, 1) if mask[index]}
    if name == "aten::mkldnn_rnn_layer_backward":
        cost = _lstm((args[0], args[1], args[2]), None)
        results = out if isinstance(out, (tuple, list)) else (out,)
        return {index: cost for index in (0, 1) if index < len(results) and isinstance(results[index], Tensor)}
    return {}
