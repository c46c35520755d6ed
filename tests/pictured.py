"""Models whose pictures are tested: about 20 modules with all four states, the same with 2,000, and their pages."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest

from freezelint.records import replace

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import freezelint  # noqa: E402
from freezelint.findings import Finding  # noqa: E402
from freezelint.model_report import ModelReport  # noqa: E402
from freezelint.output import Report, render  # noqa: E402
from freezelint.output.module_tree import Part  # noqa: E402
from freezelint.worker.bill import Bill  # noqa: E402

HERE = Path(__file__).parent
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
VOID = {"meta", "input", "link", "br", "img"}


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.mix(self.norm(x)))


class Model(nn.Module):
    """A stem that starves behind a frozen network, an adapter that trains through frozen layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.network = nn.Sequential(Layer(8)).requires_grad_(False)
        self.adapter = nn.Linear(8, 8)
        self.layers = nn.Sequential(Layer(8)).requires_grad_(False)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.stem(x)
        with torch.no_grad():
            hidden = self.network(hidden)
        return self.head(self.layers(self.adapter(hidden)))


@cache
def audit() -> freezelint.Audit:
    return freezelint.audit(Model(), torch.rand(2, 4, 8))


def small() -> ModelReport:
    return audit().report


@cache
def large() -> ModelReport:
    """The same model with 280 frozen layers in place of one: 2,000 modules."""
    report = small()
    modules, parameters = list(report.modules), list(report.parameters)
    for number in range(1, 280):
        path = f"layers.{number}"
        modules += [replace(row, path=path + row.path[8:]) for row in report.modules if row.path[:8] == "layers.0"]
        parameters += [
            replace(row, name=path + row.name[8:]) for row in report.parameters if row.name[:8] == "layers.0"
        ]
    present = sum((row.present for row in modules), Bill())
    whole = sum((row.whole for row in modules), Bill())
    return replace(report, modules=modules, parameters=parameters, present=present, whole=whole)


def page(report: ModelReport, findings: list[Finding] | None = None, name: str = "html") -> str:
    found = audit().findings if findings is None else findings
    return render(Report(found, models=1, pictures=[report], lines=lambda *_: "with torch.no_grad():"), name)


def parts(root: Part) -> dict[str, Part]:
    return {part.path: part for part in root.inside() if part.label != "(own)"}
