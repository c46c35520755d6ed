"""What a trace blames for a lost gradient: one model, one line that loses it, one cause told there."""

from __future__ import annotations

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


@pytest.mark.parametrize(("kind", "code", "text"), [
    (ThroughData, "FRZ302", "`.data`"), (ThroughAViewOfData, "FRZ302", "`.data`"),
    (ThroughAnAlias, "FRZ302", "`.detach()`"), (DataReplaced, "FRZ302", "`.data`"),
    (EnabledInBetween, "FRZ301", "`torch.no_grad()`"), (OffInsideOn, "FRZ301", "`torch.no_grad()`"),
    (InferenceInside, "FRZ301", "`torch.no_grad()`"),
])  # fmt: skip
def test_one_cause_is_told_at_its_line(kind: type[Net], code: str, text: str) -> None:
    audit = freezelint.audit(kind(), torch.rand(3, 4))
    (finding,) = audit.findings
    assert (finding.code, finding.message.split(" ends ")[0]) == (code, text)
    assert "layer" in finding.message
    assert "# here" in open(__file__).read().splitlines()[finding.location.line - 1]  # noqa: SIM115
    assert [row.name for row in audit.parameters() if row.reached] == ["head.weight", "head.bias"]


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
