"""What the zoo compares costs with, on models whose operations one can count by hand; the recorder gives the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent / "bench"))
import zoo_oracle  # noqa: E402

from freezelint.worker.capture import record  # noqa: E402
from freezelint.worker.cost import Costs  # noqa: E402
from freezelint.worker.flow import Flow  # noqa: E402
from freezelint.worker.inputs import Inputs  # noqa: E402


class Layers(nn.Module):
    """Two linear layers and a table, put together by a function."""

    def __init__(self, way: Any) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.lstm = nn.LSTM(6, 6, batch_first=True)
        self.table = nn.Parameter(torch.rand(2, 6, 6))
        self.way = way

    def forward(self, x: Tensor) -> Any:
        return self.way(self, x)


def chain(self: Layers, x: Tensor) -> Tensor:
    return self.second(torch.relu(self.first(x)))


def weight_made_of_weights(self: Layers, x: Tensor) -> Tensor:
    return x @ (self.first.weight @ self.second.weight)


def product_with_a_table(self: Layers, x: Tensor) -> Tensor:
    return torch.bmm(self.first(x).expand(2, 4, 6), self.table)


def data_on_both_sides(self: Layers, x: Tensor) -> Tensor:
    return self.first(x) @ self.second(x).t()


def run_again(self: Layers, x: Tensor) -> Tensor:
    return checkpoint(lambda hidden: torch.tanh(self.second(hidden)), self.first(x), use_reentrant=False)


def broken_off(self: Layers, x: Tensor) -> Tensor:
    return checkpoint(lambda hidden: self.second(torch.tanh(hidden)), self.first(x), use_reentrant=False)


def run_again_by_reentry(self: Layers, x: Tensor) -> Tensor:
    return self.second(checkpoint(self.second, self.first(x), use_reentrant=True))


def recurrent(self: Layers, x: Tensor) -> Tensor:
    return self.lstm(self.first(x).expand(2, 4, 6))[0]


def leaf_of_its_own(self: Layers, x: Tensor) -> Tensor:
    return self.second(torch.zeros_like(x).requires_grad_()) + self.first(x)


class Convolutions(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(4, 8, 3, groups=4), nn.ReLU(), nn.Conv2d(8, 2, 1, bias=False))


@pytest.mark.parametrize(
    ("model", "frozen", "counted"),
    [
        (Layers(chain), "", {"mm dgrad": 1, "mm wgrad": 2}),
        (Layers(chain), "first", {"mm wgrad": 1}),
        (Layers(chain), "second", {"mm dgrad": 1, "mm wgrad": 1}),
        (Layers(weight_made_of_weights), "", {"mm wgrad": 3}),
        (Layers(product_with_a_table), "", {"bmm dgrad": 1, "bmm wgrad": 1, "mm wgrad": 1}),
        (Layers(data_on_both_sides), "", {"mm dgrad": 2, "mm wgrad": 2}),
        (Layers(data_on_both_sides), "first", {"mm dgrad": 1, "mm wgrad": 1}),
        (Layers(run_again), "", {"mm dgrad": 1, "mm wgrad": 2, "mm recompute": 1}),
        (Layers(broken_off), "", {"mm dgrad": 1, "mm wgrad": 2}),
        (Layers(run_again_by_reentry), "", {"mm dgrad": 2, "mm wgrad": 3, "mm recompute": 1}),
        (Layers(leaf_of_its_own), "", {"mm dgrad": 1, "mm wgrad": 2}),
        (
            Layers(recurrent),
            "",
            {"mkldnn_rnn_layer_backward dgrad": 1, "mkldnn_rnn_layer_backward wgrad": 1, "mm wgrad": 1},
        ),
        (
            Layers(recurrent),
            "lstm",
            {"mkldnn_rnn_layer_backward dgrad": 1, "mkldnn_rnn_layer_backward wgrad": 1, "mm wgrad": 1},
        ),
        (Convolutions(), "", {"convolution_backward dgrad": 1, "convolution_backward wgrad": 2}),
        (Convolutions(), "0", {"convolution_backward wgrad": 1}),
        (Convolutions(), "2", {"convolution_backward dgrad": 1, "convolution_backward wgrad": 1}),
    ],
    ids=lambda value: value.way.__name__ if isinstance(value, Layers) else None,
)
def test_profiler_recorder_and_hand_agree(model: nn.Module, frozen: str, counted: dict[str, int]) -> None:
    x = torch.rand(2, 4, 8, 8) if isinstance(model, Convolutions) else torch.rand(4, 6)
    keep = {name for name, _ in model.named_parameters() if not frozen or not name.startswith(f"{frozen}.")}
    costs = Costs(Flow(record(model, Inputs((x,)), freeze=lambda name, _on: name in keep)))
    zoo_oracle.freeze(model, keep)
    assert zoo_oracle.operations(model, Inputs((x,))) == counted
    assert zoo_oracle.predicted(costs) == counted
    assert (costs.total().dgrad_ops, costs.total().wgrad_ops) == tuple(
        zoo_oracle.of_role(zoo_oracle.predicted(costs), role) for role in ("dgrad", "wgrad")
    )


def dropped_by_chance(self: Layers, x: Tensor) -> Tensor:
    return self.second(x if torch.rand([]) < 0.4 else self.first(x))


@pytest.mark.parametrize("chance", range(5))
def test_a_layer_seldom_left_out_is_there_whatever_is_drawn(chance: int) -> None:
    model, x = Layers(dropped_by_chance), torch.rand(4, 6)
    torch.manual_seed(chance)
    recording = record(model, Inputs((x,)))
    zoo_oracle.step(model, Inputs((x,)))
    assert recording.recorder.shadows.decided_by_chance
    assert recording.reached() == zoo_oracle.reached(model) == {"first.weight", "second.weight"}
