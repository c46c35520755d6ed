"""Parts of a model are told as Python that one can paste."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from freezelint.api import findings_of  # noqa: E402
from freezelint.model_report import ModelReport  # noqa: E402
from freezelint.worker.spelling import spelt  # noqa: E402
from freezelint.worker.trace import trace  # noqa: E402


def test_every_path_of_a_model_is_an_expression_that_gives_the_module() -> None:
    model = nn.Sequential(nn.ModuleList([nn.Linear(1, 1)]), nn.ModuleDict({"a-b": nn.Linear(1, 1), "7": nn.Identity()}))
    model.append(nn.Module())
    for name in ("1st", "class", "with space", "plain"):
        model[2].add_module(name, nn.Identity())
    texts = {path: spelt(model, path) for path, _ in model.named_modules()}
    assert all(eval(text, {"model": model}) is model.get_submodule(path) for path, text in texts.items())
    assert (texts[""], texts["0.0"], texts["1.a-b"]) == ("model", "model[0][0]", 'model[1]["a-b"]')
    assert texts["2.plain"] == "model[2].plain"


BODY = """
    from torch import nn

    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(4, 4), nn.Linear(4, 2))
            self[0].requires_grad = False

    def build():
        net = nn.Sequential(Net(), nn.Linear(2, 2))
        net.requires_grad = False
        for part in net:
            part.requires_grad = False
        setattr(net[0][1], "requires_grad", False)
        return net
"""


def test_help_names_the_module_as_the_line_does_or_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "spelt_net.py"
    file.write_text(textwrap.dedent(BODY))
    target = {"name": "net", "path": str(file), "kind": "function", "qualname": "build"}
    report = ModelReport.from_json(trace({"target": target}))
    fixes = {f.fix.title for f in findings_of(report) if f.code == "FRZ101" and f.fix}
    assert fixes == {
        "call `self[0].requires_grad_(False)`",
        "call `net.requires_grad_(False)`",
        "call `part.requires_grad_(False)`",
        "call `model[0][1].requires_grad_(False)`",
    }
