"""What is remembered of fake kernels is what they would have made: shapes, strides, memory, and whole recordings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

sys.path.insert(0, str(Path(__file__).parent / "bench"))

import awkward

from freezelint.worker import fake_kernels
from freezelint.worker.capture import record
from freezelint.worker.fake_kernels import FakeKernels, described
from freezelint.worker.inputs import Inputs

ATEN = torch.ops.aten
CALLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "new memory": (ATEN.mm.default, ((3, 4), (4, 5))),
    "a number among the operands": (ATEN.add.Tensor, ((3, 4), 1)),
    "a view": (ATEN.view.default, ((3, 4), [2, 6])),
    "a view with an offset": (ATEN.select.int, ((3, 4), 1, 2)),
    "views": (ATEN.split.Tensor, ((6, 4), 2)),
    "a view that its schema does not tell": (ATEN._unsafe_view.default, ((3, 4), [12])),
    "an operand written to": (ATEN.add_.Tensor, ((3, 4), (3, 4))),
    "several results": (ATEN.native_layer_norm.default, ((3, 4), [4], (4,), (4,), 1e-5)),
    "results left out": (
        ATEN.native_layer_norm_backward.default,
        ((3, 4), (3, 4), [4], (3, 1), (3, 1), (4,), (4,), [True, False, False]),
    ),
}


def ran(kernels: FakeKernels, func: Any, given: tuple[Any, ...]) -> tuple[list[Tensor], list[Tensor | None]]:
    """The operands and the results; a tuple of sizes among the arguments stands for a tensor."""
    cpu = torch.device("cpu")
    args = [
        kernels.fresh(size, torch.empty(size).stride(), torch.float32, cpu) if isinstance(size, tuple) else size
        for size in given
    ]
    with kernels.mode, torch.no_grad():
        out = kernels.run(func, args, {})
    return [arg for arg in args if isinstance(arg, Tensor)], list(out) if isinstance(out, (tuple, list)) else [out]


def told(operands: list[Tensor], results: list[Tensor | None]) -> list[Any]:
    """Everything about the results: kind, which operand they are, whose memory they have and how much."""
    memory = [operand.untyped_storage()._cdata for operand in operands]
    return [
        out if out is None else (
            described(out), [out is operand for operand in operands], out.untyped_storage().nbytes(),
            [out.untyped_storage()._cdata == own for own in memory], type(out),
        )
        for out in results
    ]  # fmt: skip


@pytest.fixture
def empty_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_kernels, "_known", {})


@pytest.mark.parametrize(("func", "given"), CALLS.values(), ids=CALLS)
def test_the_second_result_is_like_the_first(func: Any, given: tuple[Any, ...], empty_memory: None) -> None:
    kernels = FakeKernels(FakeTensorMode())
    first = told(*ran(kernels, func, given))
    ((recipe),) = fake_kernels._known.values()
    assert recipe is not None
    assert told(*ran(kernels, func, given)) == first
    assert len(fake_kernels._known) == 1


def test_operands_of_another_kind_are_another_operation(empty_memory: None) -> None:
    kernels = FakeKernels(FakeTensorMode())
    for number in (1, 1.0, True):
        ran(kernels, ATEN.mul.Tensor, ((3, 4), number))
    ran(kernels, ATEN.mul.Tensor, ((4, 3), 1))
    with torch.inference_mode():
        ran(kernels, ATEN.mul.Tensor, ((3, 4), 1))
    assert len(fake_kernels._known) == 5


def test_what_changes_an_operand_is_run_every_time(empty_memory: None) -> None:
    kernels = FakeKernels(FakeTensorMode())
    for _ in range(2):
        (tensor,), _ = ran(kernels, ATEN.t_.default, ((3, 4),))
        assert tensor.shape == (4, 3)
    assert not fake_kernels._known


def recorded(model: nn.Module, args: tuple[Any, ...]) -> list[Any]:
    torch.manual_seed(0)
    return [
        (node.name, node.target, str(node.args), kind(node.meta["val"]), node.meta["phase"])
        for node in record(model, Inputs(args)).recorder.graph.nodes
        if "phase" in node.meta
    ]


def kind(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, value.requires_grad, value.is_leaf, value._version
    return [kind(item) for item in value] if isinstance(value, (tuple, list)) else value


@pytest.mark.parametrize("case", ["in_place", "write_into_a_view", "checkpoint_without_reentry", "lstm", "attention"])
def test_recordings_are_the_same_without_the_memory(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, args = awkward.CASES[case]()
    record(model, Inputs(args))
    remembered = recorded(model, args)
    monkeypatch.setattr(fake_kernels, "repeatable", lambda _func: False)
    assert recorded(model, args) == remembered
