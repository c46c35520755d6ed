"""The recorder and its gradient map on modules that trip captures: autograd's own backward is the oracle."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, fx, nn  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent / "bench"))
import awkward  # noqa: E402

from freezelint.findings import Location  # noqa: E402
from freezelint.gradient_map import Cause, Cut, GradientMap, Kind  # noqa: E402
from freezelint.worker.building import Weightless  # noqa: E402
from freezelint.worker.capture import Recording, named_tensors, record  # noqa: E402
from freezelint.worker.cost import Costs  # noqa: E402
from freezelint.worker.flow import Flow  # noqa: E402
from freezelint.worker.guess_try import with_values  # noqa: E402
from freezelint.worker.inputs import Inputs, parse  # noqa: E402
from freezelint.worker.mapping import Mapper  # noqa: E402
from freezelint.worker.protocol import UnsupportedError  # noqa: E402
from freezelint.worker.trace import record_somehow  # noqa: E402

NEEDS_VALUES = {
    "item_as_weight",
    "numpy_round_trip",
    "branch_on_values",
    "scripted_part",
    "moe_routing",
    "nested_tensor",
}
SOURCE = Path(awkward.__file__).read_text().splitlines()


def freezes(names: list[str]) -> Iterator[set[str]]:
    """Everything, a suffix and a scattered half of the parameters."""
    choose = random.Random(7)
    yield set(names)
    yield set(names[choose.randrange(1, len(names)) :])
    yield {name for name in names if choose.random() < 0.5}


def really_reached(model: nn.Module, args: tuple[Any, ...], keep: set[str]) -> set[str]:
    for name, parameter in model.named_parameters():
        parameter.grad = None
        parameter.requires_grad_(name in keep)
    outputs = [t for _, t in named_tensors(model(*args), "output") if t.is_floating_point() and t.requires_grad]
    if outputs:
        torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


def mapped(recording: Recording) -> GradientMap:
    return GradientMap.from_json(Mapper(Flow(recording)).build())


def starts(graph: GradientMap) -> list[int]:
    return [loss.id for loss in graph.losses()]


def cuts_of(name: str) -> list[tuple[Cut, set[str]]]:
    torch.manual_seed(0)
    model, args = awkward.CASES[name]()
    recording, _ = record_somehow(model, Inputs(args), None)
    graph = mapped(recording)
    return [(cut, {node.name for node in nodes}) for cut, nodes in graph.starved(starts(graph))]


@pytest.mark.parametrize("name", sorted(awkward.CASES))
def test_reach_equals_autograd_for_every_freeze(name: str) -> None:
    torch.manual_seed(0)
    model, args = awkward.CASES[name]()
    for keep in freezes([name for name, _ in model.named_parameters()]):
        recording, notes = record_somehow_frozen(model, args, keep)
        graph = mapped(recording)
        truth = really_reached(model, args, keep)
        assert recording.reached() == truth
        assert {node.name for node in graph.parameters(graph.reached(starts(graph)))} == truth
        assert recording.real == (name in NEEDS_VALUES), "a real step is taken where values decide"
        assert notes or not recording.real, "and said"


def column_of_the_value(model: nn.Embedding, hidden: Tensor) -> None:
    hidden[:, 0] = 0


def row_of_the_value(model: nn.Embedding, hidden: Tensor) -> None:
    hidden[0].zero_()


def row_of_the_table(model: nn.Embedding, hidden: Tensor) -> None:
    model.weight[0] = 0


def row_of_the_table_twice(model: nn.Embedding, hidden: Tensor) -> None:
    row = model.weight[0]
    row.zero_()
    row.add_(1)


WRITES = [column_of_the_value, row_of_the_value, row_of_the_table, row_of_the_table_twice]


@pytest.mark.parametrize("write", WRITES)
def test_a_write_through_an_index_without_grad_mode_is_traced(write: Callable[[nn.Embedding, Tensor], None]) -> None:
    """Autograd refuses the `grad_fn` of a view made and written to there, which the model never asks for."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4), nn.Linear(4, 2)

        def forward(self, ids: Tensor) -> Any:
            hidden = self.table(ids)
            with torch.no_grad():
                write(self.table, hidden)
            return self.head(hidden)

    model, args = Net(), (torch.randint(9, (2, 5)),)
    for keep in freezes([name for name, _ in model.named_parameters()]):
        truth = really_reached(model, args, keep)
        for real in (False, True):
            recording = record(model, Inputs(args), real=real)
            graph = mapped(recording)
            assert recording.reached() == truth
            assert {node.name for node in graph.parameters(graph.reached(starts(graph)))} == truth


def record_somehow_frozen(model: nn.Module, args: tuple[Any, ...], keep: set[str]) -> tuple[Recording, list[str]]:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in keep)
    return record_somehow(model, Inputs(args), None)


@pytest.mark.parametrize(
    ("name", "cause", "lost", "line"),
    [
        ("no_grad_block", Cause.NO_GRAD, {"first", "second"}, "with torch.no_grad():"),
        ("no_grad_beside", Cause.NO_GRAD, {"second"}, "with torch.no_grad():"),
        ("inference_mode_clone", Cause.INFERENCE_MODE, {"first"}, "with torch.inference_mode():"),
        ("detached", Cause.DETACH, {"first", "second"}, ".detach()"),
        ("data_attribute", Cause.DATA, {"first"}, ".data"),
        ("comparison", Cause.NON_DIFFERENTIABLE, {"first"}, "(self.first(x) > 0)"),
        ("index_of_maximum", Cause.NON_DIFFERENTIABLE, {"first"}, ".argmax(-1)"),
        ("function_returns_none", Cause.NON_DIFFERENTIABLE, {"second"}, "NoGradient.apply"),
        ("reentrant_checkpoint_of_data", Cause.REENTRANT_CHECKPOINT, {"first"}, "checkpoint(self.first, x"),
        ("in_place", Cause.DETACH, {"second"}, ".detach()"),
        ("buffer_then_gradient", Cause.DETACH, {"first"}, "self.first(x).detach()"),
        ("item_as_weight", Cause.ITEM, {"first"}, ".item()"),
        ("numpy_round_trip", Cause.NUMPY, {"first"}, ".numpy()"),
        ("forward_hook_detaches", Cause.DETACH, {"0"}, "out.detach()"),
    ],
)
def test_a_cut_has_its_cause_and_its_line(name: str, cause: Cause, lost: set[str], line: str) -> None:
    found = cuts_of(name)
    assert {cut.cause for cut, _ in found} == {cause}
    assert {name.split(".")[0] for _, names in found for name in names} == lost
    place = found[0][0].place
    assert isinstance(place, Location)
    assert place.path == awkward.__file__
    assert line in SOURCE[place.line - 1]


@pytest.mark.parametrize(
    "name",
    ["straight_through", "custom_function", "reentrant_checkpoint_of_hidden", "checkpoint_without_reentry",
     "gradient_penalty", "parameter_written_under_no_grad", "tied_weights", "weight_norm", "autocast"],
)  # fmt: skip
def test_what_trains_is_not_called_starved(name: str) -> None:
    assert cuts_of(name) == []


def test_rounding_is_a_way_of_exact_zeros() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))

    class Rounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = model

        def forward(self, x: Tensor) -> Tensor:
            return self.parts[1](self.parts[0](x).round())

    graph = mapped(record(Rounded(), Inputs((torch.rand(2, 3),))))
    ((cut, nodes),) = graph.starved(starts(graph))
    assert cut.cause is Cause.ZERO_GRADIENT
    assert {node.name for node in nodes} == {"parts.0.weight", "parts.0.bias"}
    assert all(node.numbers["reached"] == 1.0 for node in nodes), "autograd does hand it a gradient, of zeros"


def test_a_tensor_made_to_require_grad_in_the_forward_is_an_input_of_the_map() -> None:
    model, args = awkward.CASES["requires_grad_inside"]()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("third"))
    recording = record(model, Inputs(args))
    graph = mapped(recording)
    (leaf,) = [node for node in graph.nodes if node.kind is Kind.INPUT and node.trainable]
    assert leaf.read is False
    assert isinstance(leaf.place, Location)
    assert "hidden.requires_grad = True" in SOURCE[leaf.place.line - 1]
    assert leaf.id in graph.reached(starts(graph))
    costs = Costs(Flow(recording))
    assert costs.total().dgrad_ops == 2
    assert costs.without([recording.watch.hidden_leaves[0].tensor]).dgrad_ops == 0


def test_each_term_of_a_loss_is_a_loss_of_its_own() -> None:
    model, (x,) = awkward.CASES["detached"]()

    def loss(output: Tensor) -> Tensor:
        return output.square().mean() + 0.1 * model_weights().square().sum()

    def model_weights() -> Tensor:
        return recorded[0].get_parameter("first.weight")

    recorded: list[nn.Module] = []
    model.register_forward_pre_hook(lambda module, _args: recorded.append(module))
    graph = mapped(record(model, Inputs((x,)), loss))
    assert [node.name for node in graph.losses()] == ["loss", "term 1 of loss", "term 2 of loss"]
    output_term, weight_term = graph.losses()[1:]
    assert "first.weight" not in {node.name for node in graph.parameters(graph.reached([output_term.id]))}
    assert {node.name for node in graph.parameters(graph.reached([weight_term.id]))} == {"first.weight"}


def test_the_recording_is_an_fx_graph_that_runs() -> None:
    """Interpreted on real tensors, the graph computes what the model computes, forward and backward."""
    model, (x,) = awkward.CASES["grouped_convolution"]()
    model.eval()
    recorder = record(model, Inputs((x,))).recorder
    recorder.graph.lint()
    real = {**dict(model.named_parameters()), **dict(model.named_buffers()), "input": x}
    values = [
        real[node.meta["target"]].detach() if node.meta["target"] in real else x
        for node in recorder.graph.nodes
        if node.op == "placeholder"
    ]
    interpreter = fx.Interpreter(fx.GraphModule(nn.Module(), recorder.graph), garbage_collect_values=False)
    torch.testing.assert_close(interpreter.run(*values), model(x).detach())


def test_nodes_carry_the_usual_metadata() -> None:
    model, args = awkward.CASES["no_grad_block"]()
    recording = record(model, Inputs(args))
    products = [node for node in recording.recorder.graph.nodes if node.target is torch.ops.aten.addmm.default]
    inside, _, outside = products
    assert list(inside.meta["nn_module_stack"]) == ["", "first"]
    assert inside.meta["grad_mode"] is False
    assert outside.meta["grad_mode"] is True
    assert outside.meta["requires_grad"] is True
    assert outside.meta["tensor_meta"].requires_grad is True
    assert inside.meta["tensor_meta"].requires_grad is False
    assert "return self.third(hidden)" in outside.meta["stack_trace"]
    assert tuple(outside.meta["val"].shape) == tuple(outside.meta["tensor_meta"].shape) == (4, 6)
    assert {node.meta["phase"] for node in recording.recorder.graph.nodes} >= {"forward", "backward"}


def test_a_recording_leaves_the_model_as_it_was() -> None:
    model, (x,) = awkward.CASES["frozen_norm_in_train_mode"]()
    model[0].requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    record(model, Inputs((x,)), freeze=lambda _name, _on: True)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == [False] * 2 + [True] * 4
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()
    assert torch.autograd.Function.apply.__func__.__module__ == "torch.autograd.function"


def test_input_specs() -> None:
    assert parse("float32[2,3]").shape == (2, 3)
    ids = parse("int64[4, 8] < 11")
    assert ids.dtype is torch.int64
    assert 0 <= int(ids.min()) <= int(ids.max()) < 11
    assert parse("float16[1] requires_grad").requires_grad
    with pytest.raises(UnsupportedError, match="no input spec"):
        parse("float32(2,3)")


def test_a_model_without_memory_gets_values_and_keeps_the_ones_it_has() -> None:
    with Weightless():
        model = nn.Sequential(nn.Embedding(600, 512), nn.Linear(512, 600, bias=False), nn.LayerNorm(600))
        model[1].weight = model[0].weight
    weight, scale = model[0].weight, model[2].weight
    assert weight.device.type == "meta"
    with_values(model.requires_grad_(False))
    assert model[0].weight is model[1].weight is weight
    assert weight.device.type == "cpu"
    assert not weight.requires_grad
    assert float(weight.std()) > 0
    assert torch.equal(scale, torch.ones(600)), "built with values"
