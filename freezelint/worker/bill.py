"""What a step costs, in sums. Plain data, and the one module of the worker that the host may import."""

from __future__ import annotations

from dataclasses import dataclass, fields

DGRAD, WGRAD = "dgrad", "wgrad"


@dataclass
class Bill:
    """Sums over one step, of a module or the whole model. `*_ops` count products, convolutions and attention only."""

    forward_flops: int = 0
    dgrad_flops: int = 0
    wgrad_flops: int = 0
    recompute_flops: int = 0
    dgrad_ops: int = 0
    wgrad_ops: int = 0
    saved_bytes: int = 0

    def add(self, role: str, flops: int) -> None:
        if role == DGRAD:
            self.dgrad_flops, self.dgrad_ops = self.dgrad_flops + flops, self.dgrad_ops + 1
        else:
            self.wgrad_flops, self.wgrad_ops = self.wgrad_flops + flops, self.wgrad_ops + 1

    @property
    def backward_flops(self) -> int:
        return self.dgrad_flops + self.wgrad_flops

    @property
    def work(self) -> tuple[int, ...]:
        """All but the bytes saved."""
        return tuple(getattr(self, f.name) for f in fields(self) if f.name != "saved_bytes")

    def __add__(self, other: Bill) -> Bill:
        return Bill(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Bill)))
