"""Copies of a model and its inputs that have shapes but no values, no weight and no bill."""

from __future__ import annotations

import copy
from collections import OrderedDict
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_map

from .fake_kernels import FakeKernels
from .hidden import hidden_in
from .outputs import named_tensors
from .protocol import UnsupportedError
from .shadow import INTEGERS, Shadows

CONTAINERS = {OrderedDict, dict, list, set}


def device_of(model: nn.Module) -> torch.device:
    """Where the model trains: the device of its first real parameter; the CPU for one that was built without memory."""
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.device.type != "meta":
            return tensor.device
    return torch.device("cpu")


def fake_like(real: Tensor, kernels: FakeKernels, device: torch.device) -> Tensor:
    """A fake tensor of the same shape, strides, type and role; a leaf."""
    fake = kernels.fresh(real.size(), real.stride(), real.dtype, device)
    if isinstance(real, nn.Parameter):
        fake._is_param = True  # how torch marks parameters of other types than its own
    return fake.requires_grad_(real.requires_grad)


def fake_model(
    model: nn.Module, mode: FakeTensorMode, shadows: Shadows, memo: dict[int, Any] | None = None
) -> nn.Module:
    """A deep copy in which every parameter and buffer is fake; tied ones stay tied. The model itself is not touched.

    `memo` tells what became of each tensor, by the identity of the original.
    """
    device, kernels = device_of(model), FakeKernels(mode)
    memo = {} if memo is None else memo
    unregistered = [tensor for entry in hidden_in(model) for tensor in entry.tensors]
    for tensor in (*model.parameters(), *model.buffers(), *unregistered):
        if id(tensor) not in memo and type(tensor) in (Tensor, nn.Parameter):
            memo[id(tensor)] = fake = fake_like(tensor, kernels, device)
            learn(fake, tensor, shadows)
    memo.update(empty_containers(model))
    try:
        copied = copy.deepcopy(model, memo)
    except Exception as error:  # locks, generators, scripted code: whatever a module may hold
        raise UnsupportedError(f"the model cannot be copied: {type(error).__name__}: {str(error)[:120]}") from error
    if not all(isinstance(tensor, FakeTensor) for tensor in copied.parameters()):
        raise UnsupportedError("some parameters have a type that cannot be faked")
    return copied


def empty_containers(model: nn.Module) -> dict[int, Any]:
    """A copy of each by its identity: of the many that a module has for hooks, most are empty and slow to copy."""
    containers = (value for module in model.modules() for value in vars(module).values() if type(value) in CONTAINERS)
    return {id(value): type(value)() for value in containers if not value}


def fake_inputs(inputs: Any, mode: FakeTensorMode, shadows: Shadows, device: torch.device) -> Any:
    """The same arguments with fake tensors in place of real ones; known integers stay known."""
    kernels = FakeKernels(mode)

    def fake_of(real: Any) -> Any:
        if not isinstance(real, Tensor):  # an object of the user's own: a batch, an encoding
            inside = {id(tensor): tensor for _, tensor in named_tensors(real, "")}
            return copy.deepcopy(real, {key: fake_of(tensor) for key, tensor in inside.items()}) if inside else real
        fake = fake_like(real.detach(), kernels, device)
        learn(fake, real, shadows, given=True)
        return fake.requires_grad_(real.requires_grad)

    return tree_map(fake_of, inputs)


def learn(fake: Tensor, real: Tensor, shadows: Shadows, *, given: bool = False) -> None:
    countable = not (real.dtype.is_floating_point or real.dtype.is_complex)
    if real.device.type == "meta" or real.numel() > INTEGERS or not (countable or real.numel() == 1):
        return
    if not isinstance(real, nn.Parameter):
        shadows.know(fake, real.detach().cpu().clone(), given=given)
