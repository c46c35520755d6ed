"""Hand-written modules, each with one thing that trips captures: (name, model, example arguments)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

CASES: dict[str, Callable[[], tuple[nn.Module, tuple[Any, ...]]]] = {}


def case(make: Callable[[], tuple[nn.Module, tuple[Any, ...]]]) -> Callable[[], tuple[nn.Module, tuple[Any, ...]]]:
    CASES[make.__name__] = make
    return make


class Steps(nn.Module):
    """Three layers and a function that combines them."""

    def __init__(self, forward: Callable[..., Any], width: int = 6) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(width, width) for _ in range(3))
        self.way = forward

    def forward(self, x: Tensor) -> Any:
        return self.way(self, x)


def steps(way: Callable[..., Any]) -> tuple[nn.Module, tuple[Any, ...]]:
    return Steps(way), (torch.rand(4, 6),)


@case
def no_grad_block() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.second(self.first(x))
        return self.third(hidden)

    return steps(way)


@case
def no_grad_beside() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        hidden = self.first(x)
        with torch.no_grad():
            gate = self.second(hidden)
        return self.third(hidden * gate)

    return steps(way)


@case
def inference_mode_clone() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        with torch.inference_mode():
            hidden = self.first(x)
        return self.third(hidden.clone())

    return steps(way)


@case
def detached() -> tuple[nn.Module, tuple[Any, ...]]:
    return steps(lambda self, x: self.third(self.second(self.first(x)).detach()))


@case
def data_attribute() -> tuple[nn.Module, tuple[Any, ...]]:
    return steps(lambda self, x: self.third(self.second(self.first(x).data)))


@case
def straight_through() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        hidden = self.first(x)
        return self.third(hidden + (hidden.round() - hidden).detach())

    return steps(way)


@case
def comparison() -> tuple[nn.Module, tuple[Any, ...]]:
    return steps(lambda self, x: self.third((self.first(x) > 0).float()))


@case
def index_of_maximum() -> tuple[nn.Module, tuple[Any, ...]]:
    return steps(lambda self, x: self.third(nn.functional.one_hot(self.first(x).argmax(-1), 6).float()))


class NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        return x + y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return grad, None


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight.sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return grad * weight.sum(), torch.ones_like(weight) * (grad * x).sum()


@case
def function_returns_none() -> tuple[nn.Module, tuple[Any, ...]]:
    return steps(lambda self, x: self.third(NoGradient.apply(self.first(x), self.second(x))))


@case
def custom_function() -> tuple[nn.Module, tuple[Any, ...]]:
    return steps(lambda self, x: self.third(Scale.apply(self.first(x), self.second.weight)))


@case
def reentrant_checkpoint_of_data() -> tuple[nn.Module, tuple[Any, ...]]:
    return steps(lambda self, x: self.third(checkpoint(self.first, x, use_reentrant=True)))


@case
def reentrant_checkpoint_of_hidden() -> tuple[nn.Module, tuple[Any, ...]]:
    return steps(lambda self, x: self.third(checkpoint(self.second, self.first(x), use_reentrant=True)))


@case
def checkpoint_without_reentry() -> tuple[nn.Module, tuple[Any, ...]]:
    return steps(lambda self, x: self.third(checkpoint(self.second, self.first(x), use_reentrant=False)))


@case
def requires_grad_inside() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.first(x)
        hidden.requires_grad = True
        return self.third(self.second(hidden))

    return steps(way)


@case
def branch_on_requires_grad() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        hidden = self.first(x)
        return self.third(hidden if hidden.requires_grad else self.second(hidden))

    return steps(way)


@case
def in_place() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        out = torch.zeros(4, 6)
        out[:, :3] = self.first(x)[:, :3]
        out[:, 3:] = self.second(x)[:, 3:].detach()
        out.mul_(2)
        return self.third(out)

    return steps(way)


@case
def buffer_then_gradient() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        total = self.first(x).detach()
        total += self.second(x)
        return self.third(total)

    return steps(way)


@case
def gradient_penalty() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        x = x.detach().clone().requires_grad_()
        score = self.second(torch.tanh(self.first(x))).sum()
        (slope,) = torch.autograd.grad(score, x, create_graph=True)
        return slope.square().sum()

    return steps(way)


@case
def parameter_written_under_no_grad() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.first.weight.clamp_(-1, 1)
        return self.second(self.first(x))

    return steps(way)


@case
def unused_output() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> dict[str, Tensor]:
        self.third(x)
        return {"a": self.first(x), "b": self.second(x).argmax(-1)}

    return steps(way)


@case
def item_as_weight() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        return self.second(x) * torch.tensor(self.first(x).mean().item())

    return steps(way)


@case
def numpy_round_trip() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        return self.second(torch.from_numpy(self.first(x).detach().numpy() * 2))

    return steps(way)


@case
def branch_on_values() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        hidden = self.first(x)
        return self.second(hidden) if hidden.sum() > -1e9 else self.third(hidden)

    return steps(way)


@case
def lstm() -> tuple[nn.Module, tuple[Any, ...]]:
    return nn.LSTM(5, 7, num_layers=2, batch_first=True), (torch.rand(3, 4, 5),)


@case
def gru() -> tuple[nn.Module, tuple[Any, ...]]:
    return nn.GRU(5, 7, batch_first=True, bidirectional=True), (torch.rand(3, 4, 5),)


@case
def attention() -> tuple[nn.Module, tuple[Any, ...]]:
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (torch.rand(2, 5, 8),)


@case
def tied_weights() -> tuple[nn.Module, tuple[Any, ...]]:
    model = nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 6), nn.Linear(6, 9, bias=False))
    model[2].weight = model[0].weight
    return model, (torch.randint(0, 9, (2, 4)),)


@case
def weight_norm() -> tuple[nn.Module, tuple[Any, ...]]:
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 6)), nn.Linear(6, 2)), (torch.rand(4, 6),)


@case
def spectral_norm() -> tuple[nn.Module, tuple[Any, ...]]:
    return nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 6)), nn.Linear(6, 2)), (torch.rand(4, 6),)


@case
def scripted_part() -> tuple[nn.Module, tuple[Any, ...]]:
    return nn.Sequential(torch.jit.script(nn.Linear(6, 6)), nn.Linear(6, 2)), (torch.rand(4, 6),)


@case
def compiled_part() -> tuple[nn.Module, tuple[Any, ...]]:
    return nn.Sequential(torch.compile(nn.Linear(6, 6)), nn.Linear(6, 2)), (torch.rand(4, 6),)


@case
def autocast() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = self.second(self.first(x))
        return self.third(hidden.float())

    return steps(way)


@case
def forward_hook_detaches() -> tuple[nn.Module, tuple[Any, ...]]:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2))
    model[0].register_forward_hook(lambda _module, _args, out: out.detach())
    return model, (torch.rand(4, 6),)


@case
def grouped_convolution() -> tuple[nn.Module, tuple[Any, ...]]:
    return nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 2, 2)), (
        torch.rand(2, 4, 8, 8),
    )


@case
def submodule_named_code() -> tuple[nn.Module, tuple[Any, ...]]:
    model = nn.Sequential()
    model.add_module("code", nn.Linear(6, 6))
    model.add_module("graph", nn.Linear(6, 2))
    return model, (torch.rand(4, 6),)


@case
def moe_routing() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        chosen = self.first(x).argmax(-1) % 2 == 0
        out = torch.zeros_like(x)
        out[chosen] = self.second(x[chosen])
        out[~chosen] = self.third(x[~chosen])
        return out

    return steps(way)


@case
def masked_by_known_mask() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        mask = torch.arange(4) < 2
        hidden = self.first(x)
        return self.second(hidden[mask]).sum() + self.third(hidden[~mask]).sum()

    return steps(way)


@case
def frozen_norm_in_train_mode() -> tuple[nn.Module, tuple[Any, ...]]:
    return nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.Linear(6, 2)), (torch.rand(4, 6),)


@case
def write_into_a_view() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        hidden = self.first(x).view(2, 2, 6)
        hidden[torch.tensor([[True, False], [False, True]])] = self.second.weight[0]
        return self.third(hidden)

    return steps(way)


@case
def layer_dropped_by_chance() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        hidden = self.first(x)
        return self.third(hidden if torch.rand([]) < 1e-6 else self.second(hidden))

    return steps(way)


@case
def gradient_of_every_row() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        def energy(row: Tensor) -> Tensor:
            out: Tensor = self.second(self.first(row)).pow(2).sum()
            return out

        return self.third(torch.func.vmap(torch.func.grad(energy))(x))

    return steps(way)


@case
def gradient_without_graph() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        (force,) = torch.autograd.grad(self.second(self.first(leaf)).pow(2).sum(), leaf)
        return self.third(force)

    return steps(way)


@case
def nested_tensor() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        hidden = self.first(x)
        rows = self.second(torch.nested.as_nested_tensor([hidden[:1], hidden[1:]]))
        return self.third(torch.nested.to_padded_tensor(rows, 0.0).mean(1))

    return steps(way)


@case
def weights_merged_into_data() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        self.second.weight.data += self.first.weight
        out = self.third(self.second(x))
        self.second.weight.data -= self.first.weight
        return out

    return steps(way)


@case
def checkpoints_of_both_kinds_in_each_other() -> tuple[nn.Module, tuple[Any, ...]]:
    def way(self: Steps, x: Tensor) -> Tensor:
        def outer(h: Tensor) -> Any:
            return checkpoint(self.second, self.first(h), use_reentrant=True)

        out: Tensor = self.third(checkpoint(outer, x, use_reentrant=False))
        return out

    return steps(way)
