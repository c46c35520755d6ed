"""The five systems: the graph's answers are the ones the sample project gives, and autograd agrees with every one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from freezelint.findings import Location  # noqa: E402
from freezelint.gradient_map import Cause  # noqa: E402
from freezelint.model_report import ModelReport  # noqa: E402
from freezelint.worker.inputs import Inputs  # noqa: E402
from freezelint.worker.trace import trace_model  # noqa: E402

SYSTEMS = Path(__file__).parent / "systems"
NAMES = (
    "autoencoder_resnet", "starved_autoencoder", "encoder_decoder", "embedding_only", "wasted_input_gradient",
    "frozen_middle", "frozen_by_attribute",
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def sample_project() -> Iterator[None]:
    sys.path.insert(0, str(SYSTEMS))
    yield
    sys.path.remove(str(SYSTEMS))


def system(name: str) -> ModuleType:
    return importlib.import_module(name)


def loss_of(output: Tensor) -> Tensor:
    return output.square().mean()


def traced(model: nn.Module, *inputs: Tensor) -> ModelReport:
    report = trace_model(model, Inputs(inputs), loss_of)
    return ModelReport.from_json({**report, "name": type(model).__name__})


def real_backward(model: nn.Module, *inputs: Tensor) -> set[str]:
    """What autograd reaches in a real step: the oracle, which shares nothing with the tracer."""
    model.zero_grad()
    loss = loss_of(model(*inputs))
    if loss.requires_grad:
        loss.backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


def reached(report: ModelReport) -> set[str]:
    return {row.name for row in report.parameters if row.reached}


def reached_in_map(report: ModelReport) -> set[str]:
    return {node.name for node in report.map.parameters(report.map.reached(report.starts))}


@pytest.mark.parametrize("name", NAMES)
def test_reach_is_what_autograd_reaches(name: str) -> None:
    model, _ = system(name).build()
    inputs, _ = system(name).batch()
    report = traced(model, inputs)
    truth = real_backward(model, inputs)
    assert truth, "a system in which nothing trains would prove nothing"
    assert reached(report) == truth
    assert reached_in_map(report) == truth


@pytest.mark.parametrize("name", NAMES)
def test_flops_are_what_torch_counts_in_a_real_step(name: str) -> None:
    model, _ = system(name).build()
    inputs, _ = system(name).batch()
    report = traced(model, inputs)
    with FlopCounterMode(display=False) as forward:
        loss = loss_of(model(inputs))
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    fused = fused_attention_flops(model) if name == "embedding_only" else 0
    assert report.present.forward_flops == forward.get_total_flops() + 2 * fused
    assert report.present.backward_flops == backward.get_total_flops() + 5 * fused


def fused_attention_flops(model: nn.Module) -> int:
    """One attention product of every layer, where torch's counter knows nothing of the fused kernel on the CPU."""
    from torch.utils.flop_counter import flop_registry

    if torch.ops.aten._scaled_dot_product_flash_attention_for_cpu in flop_registry:
        return 0
    layers: Any = model.layers
    return len(layers) * 2 * 4 * 32 * 32 * 64


def test_saved_bytes_are_those_of_a_real_step() -> None:
    for name in NAMES:
        model, _ = system(name).build()
        inputs, _ = system(name).batch()
        assert traced(model, inputs).present.saved_bytes == really_saved(model, inputs), name


def really_saved(model: nn.Module, inputs: Tensor) -> int:
    """Bytes of the storages in the real graph behind the loss, parameters and buffers left out."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    loss = loss_of(model(inputs))
    saved: dict[int, int] = {}
    seen, todo = set(), [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        todo.extend(following for following, _ in node.next_functions)
        for attribute in dir(node):
            value = getattr(node, attribute) if attribute.startswith("_saved_") else None
            if isinstance(value, Tensor) and value.untyped_storage().data_ptr() not in own:
                saved[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
    return sum(saved.values())


def test_system_1_trains_all_of_the_autoencoder() -> None:
    model, _ = system("autoencoder_resnet").build()
    report = traced(model, torch.rand(4, 3, 32, 32))
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any(name.startswith("autoencoder.encoder") for name in trainable)
    assert reached(report) == trainable
    assert not report.map.starved(report.starts)
    states = {row.path: row.state for row in report.modules}
    assert states["backbone.stem"] == "passes"
    assert states["autoencoder.encoder.0"] == states["classifier"] == "trains"


def test_system_1_under_no_grad_starves_the_autoencoder_at_its_line() -> None:
    model, _ = system("starved_autoencoder").build()
    report = traced(model, torch.rand(4, 3, 32, 32))
    ((cut, starved),) = report.cuts()
    assert report.unreachable() == []
    assert cut.cause is Cause.NO_GRAD
    assert {node.name for node in starved} == {n for n, _ in model.named_parameters() if n.startswith("autoencoder.")}
    source = (SYSTEMS / "starved_autoencoder.py").read_text().splitlines()
    assert isinstance(cut.place, Location)
    assert source[cut.place.line - 1].strip() == "with torch.no_grad():"
    assert {row.name for row in report.starved()} == {node.name for node in starved}


def test_system_2_trains_the_encoder_through_the_frozen_decoder() -> None:
    model, _ = system("encoder_decoder").build()
    report = traced(model, torch.rand(4, 3, 32, 32))
    assert reached(report) == {name for name, _ in model.named_parameters() if name.startswith("encoder.")}
    decoder = [row for row in report.modules if row.path.startswith("decoder.") and row.own_parameters]
    assert all(row.state == "passes" and row.present.dgrad_ops == 1 and row.present.wgrad_ops == 0 for row in decoder)


def test_system_3_pays_every_dgrad_and_no_wgrad() -> None:
    model, _ = system("embedding_only").build()
    report = traced(model, torch.randint(0, 1000, (4, 32)))
    assert report.present.wgrad_ops == report.present.wgrad_flops == 0
    assert report.present.dgrad_ops == report.whole.dgrad_ops > 0
    assert report.present.dgrad_flops == report.whole.dgrad_flops
    assert reached(report) == {"words.weight"}


def test_system_3_at_its_published_size_costs_half_a_backward() -> None:
    """RoBERTa-base, 4 x 128 tokens: 12 layers of six products and one attention, and two products in the head."""
    with torch.device("meta"):
        model = system("embedding_only").freeze_all_but_words(system("networks").roberta_base())
    report = traced(model, torch.randint(0, 50265, (4, 128)))
    assert report.present.dgrad_ops == 12 * 7 + 2
    assert report.whole.wgrad_ops == 12 * 6 + 2
    assert report.present.dgrad_flops / 1e9 == pytest.approx(93.018, abs=0.001)
    assert report.whole.wgrad_flops / 1e9 == pytest.approx(86.978, abs=0.03)
    assert report.share_of_backward() == pytest.approx(0.517, abs=0.001)


def test_system_4_goes_all_the_way_back_to_the_batch() -> None:
    model, _ = system("wasted_input_gradient").build()
    images = torch.rand(4, 3, 32, 32)
    plain = traced(model, images)
    wasteful = traced(model, images.clone().requires_grad_())
    assert plain.present.dgrad_ops == 0
    convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    assert wasteful.present.dgrad_ops == convolutions + 1
    assert wasteful.present.dgrad_flops == wasteful.present.forward_flops
    assert wasteful.present.saved_bytes > 100 * plain.present.saved_bytes
    (node,) = wasteful.gradient_inputs()
    assert node.read is False
    (change,) = [change for change in wasteful.what_if if change.kind == "input"]
    assert change.left.backward_flops == plain.present.backward_flops
    assert reached(wasteful) == reached(plain) == real_backward(model, images)


def test_system_5_loses_the_wgrad_of_the_frozen_layer_and_keeps_its_dgrad() -> None:
    model, _ = system("frozen_middle").build()
    x = torch.rand(16, 128)
    report = traced(model, x)
    assert (report.whole.dgrad_ops, report.whole.wgrad_ops) == (2, 3)
    assert (report.present.dgrad_ops, report.present.wgrad_ops) == (2, 2)
    frozen = products_in_backward(model, x)
    model.requires_grad_(True)
    everything = products_in_backward(model, x)
    assert frozen == report.present.dgrad_ops + report.present.wgrad_ops
    assert everything == report.whole.dgrad_ops + report.whole.wgrad_ops


def products_in_backward(model: nn.Module, x: Tensor) -> int:
    """Matrix products that torch's profiler sees in a real backward."""
    loss = loss_of(model(x))
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        loss.backward()
    return sum(event.count for event in profiled.key_averages() if event.key in ("aten::mm", "aten::addmm"))


def test_a_module_frozen_by_attribute_trains() -> None:
    model, _ = system("frozen_by_attribute").build()
    report = traced(model, torch.rand(4, 3, 32, 32))
    assert model.backbone.requires_grad is False
    assert {row.state for row in report.modules if row.path.startswith("backbone") and row.own_parameters} == {"trains"}
