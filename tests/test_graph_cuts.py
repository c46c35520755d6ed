"""What a trace blames for a lost gradient: one model, one line that loses it, one cause told there."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import freezelint  # noqa: E402


class Net(nn.Module):
    """`layer` loses its gradient in `middle`; `head` trains."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.middle(x))
        return out

    def middle(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class ThroughData(Net):
    def middle(self, x: Tensor) -> Tensor:
        h = x * 2
        h.data.add_(self.layer(x))  # here
        return h


class ThroughAViewOfData(Net):
    def middle(self, x: Tensor) -> Tensor:
        h = x * 2
        h.data[:, 1:].copy_(self.layer(x)[:, 1:])  # here
        return h


class ThroughAnAlias(Net):
    def middle(self, x: Tensor) -> Tensor:
        h = x * 2
        alias = h.detach()  # here
        h.add_(self.layer(x))
        return alias


class DataReplaced(Net):
    def middle(self, x: Tensor) -> Tensor:
        h = x * 2
        h.data = self.layer(x)  # here
        return h


class EnabledInBetween(Net):
    def middle(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = self.layer(x)  # here
            with torch.enable_grad():
                doubled = x * 2
            return h + self.layer(doubled)


class SwitchedBare(Net):
    def middle(self, x: Tensor) -> Tensor:
        torch.set_grad_enabled(False)
        h = self.layer(x)  # here
        torch.set_grad_enabled(True)
        return h


class SwitchedBlock(Net):
    def middle(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(False):
            return self.layer(x)  # here


class OffInsideOn(Net):
    def middle(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            with torch.enable_grad():
                doubled = x * 2
            h = self.layer(doubled)  # here
        return h * 2


class InferenceInside(Net):
    def middle(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            with torch.inference_mode():
                doubled = (x * 2).clone()
            return self.layer(doubled + x)  # here


class InferenceOutside(Net):
    def middle(self, x: Tensor) -> Tensor:
        with torch.inference_mode(), torch.enable_grad():
            h = self.layer(x)  # here
        return h.clone()


class NoGradInsideInference(Net):
    def middle(self, x: Tensor) -> Tensor:
        with torch.inference_mode(), torch.enable_grad(), torch.no_grad():
            h = self.layer(x)  # here
        return h.clone()


class MergedIntoData(Net):
    def middle(self, x: Tensor) -> Tensor:
        self.head.weight.data += self.layer(x)[:2]  # here
        return x


class GradientWithoutGraph(Net):
    def middle(self, x: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(self.layer(leaf).pow(2).sum(), leaf)[0]  # here


class Both(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        return one + 1, other + 1

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        return grads


class OtherOutput(Net):
    def middle(self, x: Tensor) -> Tensor:
        out: Tensor = Both.apply(x, self.layer(x))[0]  # here
        return out


class AsNumber(Net):
    def middle(self, x: Tensor) -> Tensor:
        return x * float(self.layer(x).norm())  # here


class AsItem(Net):
    def middle(self, x: Tensor) -> Tensor:
        return x * self.layer(x).norm().item()  # here


class AsList(Net):
    def middle(self, x: Tensor) -> Tensor:
        return x + torch.tensor(self.layer(x).tolist())  # here


@pytest.mark.parametrize(("kind", "code", "text"), [
    (ThroughData, "FRZ302", "`.data`"), (ThroughAViewOfData, "FRZ302", "`.data`"),
    (ThroughAnAlias, "FRZ302", "`.detach()`"), (DataReplaced, "FRZ302", "`.data`"),
    (EnabledInBetween, "FRZ301", "`torch.no_grad()`"), (OffInsideOn, "FRZ301", "`torch.no_grad()`"),
    (SwitchedBare, "FRZ301", "`torch.set_grad_enabled(False)`"),
    (SwitchedBlock, "FRZ301", "`torch.set_grad_enabled(False)`"),
    (InferenceOutside, "FRZ301", "`torch.inference_mode()`"),
    (NoGradInsideInference, "FRZ301", "`torch.inference_mode()`"),
    (InferenceInside, "FRZ301", "`torch.no_grad()`"), (MergedIntoData, "FRZ302", "`.data`"),
    (GradientWithoutGraph, "FRZ303", "`torch.autograd.grad(create_graph=False)`"),
    (OtherOutput, "FRZ303", "`Both`"), (AsNumber, "FRZ302", "`float()`"),
    (AsItem, "FRZ302", "`.item()`"), (AsList, "FRZ302", "`.tolist()`"),
])  # fmt: skip
def test_one_cause_is_told_at_its_line(kind: type[Net], code: str, text: str) -> None:
    audit = freezelint.audit(kind(), torch.rand(3, 4))
    (finding,) = audit.findings
    assert finding.code == code
    assert finding.message.startswith(f"{text} {'ends' if code != 'FRZ303' else 'has no derivative'}")
    assert "layer" in finding.message
    assert "# here" in open(__file__).read().splitlines()[finding.location.line - 1]  # noqa: SIM115
    reached = [row.name for row in audit.parameters() if row.reached]
    assert reached == ["head.weight", "head.bias"]


class WrittenThroughAView(Net):
    def middle(self, x: Tensor) -> Tensor:
        h = x * 2
        flat = h.view(-1)
        h[:, :2].add_(self.layer(x)[:, :2])
        return flat.view(-1, 4)


class DataClamped(Net):
    def middle(self, x: Tensor) -> Tensor:
        h: Tensor = self.layer(x)
        h.data.clamp_(min=0)
        h.data = h.data * 2
        return h


@pytest.mark.parametrize("kind", [WrittenThroughAView, DataClamped])
def test_writes_that_leave_the_gradient_its_way_are_no_cut(kind: type[Net]) -> None:
    assert freezelint.audit(kind(), torch.rand(3, 4)).ok


class FrozenInForward(Net):
    def middle(self, x: Tensor) -> Tensor:
        self.layer.requires_grad_(False)
        return self.layer(x)


class FrozenForOneUse(Net):
    def middle(self, x: Tensor) -> Tensor:
        for parameter in self.layer.parameters():
            parameter.requires_grad = False
        h: Tensor = self.layer(x)
        self.layer.requires_grad_(True)
        return h


@pytest.mark.parametrize("kind", [FrozenInForward, FrozenForOneUse])
def test_what_the_forward_itself_freezes_is_frozen_and_not_cut_off(kind: type[Net]) -> None:
    model = kind()
    audit = freezelint.audit(model, torch.rand(3, 4))
    assert audit.ok
    assert audit.findings == []
    assert [row.name for row in audit.parameters() if row.trainable] == ["head.weight", "head.bias"]
    assert all(parameter.requires_grad for parameter in model.parameters())


class ThawedAndDetached(Net):
    def middle(self, x: Tensor) -> Tensor:
        self.layer.requires_grad_(False)
        self.layer.requires_grad_(True)
        return self.layer(x).detach()  # here


def test_a_cut_behind_what_the_forward_set_to_train_is_told() -> None:
    audit = freezelint.audit(ThawedAndDetached(), torch.rand(3, 4))
    assert [finding.code for finding in audit.findings] == ["FRZ302"]
