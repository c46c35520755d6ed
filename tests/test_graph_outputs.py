"""What a model returns, in any shape: found by a trace, named, and said where it cannot be looked into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import freezelint  # noqa: E402
from freezelint.worker.protocol import UnsupportedError  # noqa: E402


class Net(nn.Module):
    """Two heads over one body; `pack` says what becomes of their losses."""

    def __init__(self, pack: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.body, self.head, self.aux = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 2)
        self.pack = pack

    def forward(self, x: Tensor) -> Any:
        hidden = self.body(x)
        return self.pack(self.head(hidden).square().mean(), self.aux(hidden).square().mean())


BODY, HEAD, AUX = ({f"{name}.weight", f"{name}.bias"} for name in ("body", "head", "aux"))


class Pair(NamedTuple):
    first: Tensor
    second: Any


@dataclass
class Held:
    value: Any


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Plain:
    def __init__(self, value: Any) -> None:
        self.value, self.name, self.owner = value, "plain", self


class Table(Mapping[str, Any]):
    def __init__(self, **items: Any) -> None:
        self.items_ = items

    def __getitem__(self, key: str) -> Any:
        return self.items_[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.items_)

    def __len__(self) -> int:
        return len(self.items_)


@pytest.mark.parametrize(("pack", "names"), [
    (lambda a, b: (a, b), ["output[0]", "output[1]"]),
    (lambda a, b: Pair(a, {"deep": b}), ["output.first", "output.second.deep"]),
    (lambda a, b: Held(Slotted([a, b])), ["output.value.value[0]", "output.value.value[1]"]),
    (lambda a, b: Plain(Pair(a, Plain(b))), ["output.value.first", "output.value.second.value"]),
    (lambda a, b: SimpleNamespace(a=a, b=b), ["output.a", "output.b"]),
    (lambda a, b: Table(a=a, b=b), ["output.a", "output.b"]),
    (lambda a, b: torch.distributions.Normal(a, b.exp()), ["output.loc", "output.scale"]),
])  # fmt: skip
def test_tensors_are_found_in_what_can_be_walked(pack: Callable[..., Any], names: list[str]) -> None:
    audit = freezelint.audit(Net(pack), torch.rand(3, 4))
    assert audit.ok
    reach = {n.name: {p.name for p in audit.map.parameters(audit.map.reached([n.id]))} for n in audit.map.losses()}
    assert reach == dict(zip(names, (BODY | HEAD, BODY | AUX), strict=True))


def test_what_cannot_be_looked_into_is_said() -> None:
    audit = freezelint.audit(Net(lambda a, b: {"a": a, "rest": (t for t in (b,))}), torch.rand(3, 4))
    assert any("`output.rest`" in note and "generator" in note for note in audit.report.notes)
    with pytest.raises(UnsupportedError, match=r"which is a .*Held, holds no floating-point tensor"):
        freezelint.audit(Net(lambda a, b: Held("nothing")), torch.rand(3, 4))


def test_an_output_that_could_be_a_loss_beside_the_loss_is_said() -> None:
    model = Net(lambda a, b: {"loss": a, "aux_loss": b, "logged": b.detach()})
    audit = freezelint.audit(model, torch.rand(3, 4))
    assert audit.ok, "whoever adds it to the loss trains all"
    assert {row.name: row.output for row in audit.report.starved()} == dict.fromkeys(AUX, "aux_loss")
    (hint,) = audit.findings
    assert (hint.code, hint.severity.value) == ("FRZ313", "hint")
    assert "`loss` does not reach `aux`, the output `aux_loss` does" in hint.message
    assert "2 trainable parameters from `loss`, only from the output `aux_loss`: `aux.weight`" in str(audit)
    assert not freezelint.audit(model, torch.rand(3, 4), loss=lambda out: out["loss"]).ok, "now the loss is known"


def test_the_terms_of_a_loss_have_the_names_of_the_outputs_they_are() -> None:
    audit = freezelint.audit(Net(lambda a, b: {"loss": a + 0.5 * b, "loss_a": a, "aux_loss": b}), torch.rand(3, 4))
    assert audit.ok
    assert audit.findings == []
    assert [node.name for node in audit.map.losses()] == ["loss", "`loss_a` in loss", "`aux_loss` in loss"]
    assert "are reached by `loss` 6, `loss_a` in loss 4, `aux_loss` in loss 4" in str(audit)


def test_the_contract_names_the_output_that_would_train_it() -> None:
    model = Net(lambda a, b: {"loss": a, "aux_loss": b})
    audit = freezelint.audit(model, torch.rand(3, 4), trainable=("aux.*",))
    (finding,) = [finding for finding in audit.findings if finding.code == "FRZ502"]
    assert "get no gradient from `loss`, only from the output `aux_loss`" in finding.message


class Batch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, batch: Held) -> Tensor:
        out: Tensor = self.layer(batch.value)
        return out


def test_a_batch_of_the_users_own_class_is_an_input() -> None:
    x = torch.rand(3, 4, requires_grad=True)
    audit = freezelint.audit(Batch(), (Held(x),))
    assert audit.report.method == "fake"
    assert [node.name for node in audit.report.gradient_inputs()] == ["batch.value"]
    assert x.grad is None
