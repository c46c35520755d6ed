"""Terms and outputs of a traced model: right code that detaches part of a sum is not called a constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from freezelint.api import audit  # noqa: E402

Forward = Callable[[Any, Any], Any]


class Net(nn.Module):
    """Two layers and a head of one number, used as a function says."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 1)
        self.use = forward

    def forward(self, x: Any) -> Any:
        return self.use(self, x)


def siamese(net: Any, x: Any) -> Any:
    one, other = net.a(x), net.a(x + 1)
    left, right = net.b(one), net.b(other)
    return -(F.cosine_similarity(left, other.detach()).mean() + F.cosine_similarity(right, one.detach()).mean()) / 2


def straight_through(net: Any, x: Any) -> Any:
    hidden = net.a(x)
    return net.b(hidden + (hidden.round() - hidden).detach())


def actor_critic(net: Any, x: Any) -> Any:
    value = net.head(x).squeeze()
    advantage = 1 - value
    return -(F.log_softmax(net.a(x), -1)[:, 0] * advantage.detach()).sum() + (value - 1).pow(2).sum()


def gradient_penalty(net: Any, x: Any) -> Any:
    x = (x + 0).requires_grad_(True)
    score = net.head(torch.tanh(net.a(x)))
    (slope,) = torch.autograd.grad(score, x, torch.ones_like(score), create_graph=True)
    return score.mean() + 10 * (slope.norm(2, dim=1) - 1).pow(2).mean()


def log_sum_exp(net: Any, x: Any) -> Any:
    hidden = net.a(x)
    top = hidden.max(1, keepdim=True).values.detach()
    return (hidden - top).exp().sum(1, keepdim=True).log() + top


RIGHT: dict[str, Forward] = {
    "siamese": siamese,
    "straight through": straight_through,
    "straight through, as the output": lambda net, x: net.a(x) + (net.a(x).round() - net.a(x)).detach(),
    "actor and critic": actor_critic,
    "gradient penalty": gradient_penalty,
    "log of a sum": log_sum_exp,
}


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_detached_in_a_sum_is_no_constant_term(name: str, summed: bool) -> None:
    def total(output: Any) -> Any:
        return sum(part.sum() for part in (output if isinstance(output, tuple) else (output,)))

    found = audit(Net(RIGHT[name]), torch.randn(4, 8), loss=total if summed else None).findings
    assert [one for one in found if one.code.startswith("FRZ30")] == []


def test_an_output_to_look_at_is_no_constant_loss() -> None:
    net = Net(lambda net, x: (net.b(net.a(x)), net.a(x).detach()))
    assert [one for one in audit(net, torch.randn(4, 8)).findings if one.code.startswith("FRZ30")] == []


def test_a_term_that_trains_nothing_is_told() -> None:
    def forward(net: Any, x: Any) -> Any:
        return net.b(net.a(x)).pow(2).mean() + 0.1 * net.a(x).detach().abs().mean()

    assert [one.code for one in audit(Net(forward), torch.randn(4, 8)).findings if one.code < "FRZ313"] == ["FRZ302"]


def test_each_output_of_a_double_backward_has_its_own_reach() -> None:
    def forces(net: Any, x: Any) -> Any:
        x = (x + 0).requires_grad_(True)
        energy = net.head(torch.tanh(net.a(x))).sum()
        return energy, -torch.autograd.grad(energy, x, create_graph=True)[0]

    def one(output: Any) -> Any:
        return output[1].pow(2).mean()

    text = str(audit(Net(forces), torch.randn(4, 8)))
    alone = audit(Net(forces), torch.randn(4, 8), loss=one)
    count = sum(row.reached for row in alone.parameters())
    assert count == 3
    assert "`output[0]` 4, `output[1]` 3" in text
