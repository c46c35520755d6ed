"""CUDA kernels of the operations that compute gradients, by role.

The i-th operation that the profiler saw in backward is the i-th that was counted there, and hands its role to the
kernels linked to it, whatever their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from . import flops

HEAVY = frozenset({*flops.FORMULAS, "aten::convolution_backward", "aten::mkldnn_rnn_layer_backward"})
ENGINE = "autograd::engine::evaluate_function"
BOTH = "dgrad_wgrad"  # one operation whose kernels compute the two
Sequence = list[tuple[str, frozenset[str]]]  # name and roles of each heavy operation of a backward, in order


def counted(work: Callable[[None], Any], sequence: Sequence) -> dict[str, int]:
    """Kernels by role; empty where what the profiler saw is not what was counted."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        work(None)
        torch.cuda.synchronize()
    return by_role(list(heavy(profile.events())), sequence)


def heavy(events: Any) -> Iterator[tuple[str, int]]:
    """Name and kernels of each heavy operation that an autograd node ran, in order of time."""
    for event in sorted(events, key=lambda event: event.time_range.start):
        if event.name in HEAVY and in_backward(event):
            yield event.name, launched(event)


def in_backward(event: Any) -> bool:
    parent = event.cpu_parent
    while parent is not None and parent.name not in HEAVY:
        if parent.name.startswith(ENGINE):
            return True
        parent = parent.cpu_parent
    return False


def launched(event: Any) -> int:
    return len(event.kernels) + sum(launched(child) for child in event.cpu_children)


def by_role(launches: list[tuple[str, int]], sequence: Sequence) -> dict[str, int]:
    if [name for name, _ in launches] != [name for name, _ in sequence]:
        return {}
    found = {"dgrad_kernels": 0, "wgrad_kernels": 0}
    for (_, kernels), (_, roles) in zip(launches, sequence):
        key = f"{next(iter(roles)) if len(roles) == 1 else BOTH}_kernels"
        found[key] = found.get(key, 0) + kernels
    return found
