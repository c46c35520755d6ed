"""Why a gradient stops: the cause, the user's line and the words for it, from what was recorded of the operation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .frames import Line
from .recorder import Op
from .watch import Region, Spot

ZERO_GRADIENT = {
    f"aten::{name}{suffix}" for name in ("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "bernoulli")
    for suffix in ("", "_")
} - {"aten::sgn", "aten::sgn_"}  # fmt: skip

MAKES_CONSTANT = {
    f"aten::{name}"
    for name in (
        "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like",
        "new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided",
    )
}  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """What `gradient_map.Cut` is on the host's side."""

    cause: str
    line: Line | None
    text: str
    module: str
    scope: Line | None = None


def why_cut(op: Op, out: Tensor, region: Region | None) -> Cut:
    """Why nothing goes back through `op` from a result `out` to an operand that requires grad."""
    name = op.name.removeprefix("aten::")
    if region is not None:
        if region.name == "CheckpointFunction":
            return Cut("reentrant_checkpoint", region.line, "checkpoint(use_reentrant=True)", region.path)
        if not op.grad_mode:
            return Cut("non_differentiable", region.line, region.name, region.path)
    if op.inference and op.grad_off:
        return Cut("inference_mode", op.grad_off[1], "torch.inference_mode()", op.grad_off[2], op.line)
    if not op.grad_mode and op.grad_off and op.grad_off[0] == "grad":
        text = "torch.autograd.grad(create_graph=False)"
        return Cut("non_differentiable", op.grad_off[1], text, op.grad_off[2])
    if not op.grad_mode:
        line, module = (op.grad_off[1], op.grad_off[2]) if op.grad_off else (op.line, op.path)
        switch = op.grad_off is not None and op.grad_off[0] == "set_grad_enabled"
        text = "torch.set_grad_enabled(False)" if switch else "torch.no_grad()"
        return Cut("no_grad", line, text, module, op.line)
    if op.api == "data":
        return Cut("data", op.line, ".data", op.path)
    if op.api == "copy":
        return Cut("copy", op.line, "torch.tensor()", op.path)
    if name in ("detach", "detach_") or op.api == "detach":
        return Cut("detach", op.line, ".detach()", op.path)
    if name == "_to_copy" and not (out.is_floating_point() or out.is_complex()):
        return Cut("dtype", op.line, f"cast to {str(out.dtype).removeprefix('torch.')}", op.path)
    return Cut("non_differentiable", op.line, name, op.path)


def exit_cut(spot: Spot) -> Cut:
    """A value left torch and came back as plain data."""
    return Cut(spot.what, spot.line, spot.text, spot.path)
