"""`timm:NAME` and `transformers:NAME`: models of packages that are there, by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tool import freezelint

pytest.importorskip("torch")

TIMM = """
import torchvision.transforms.functional as F
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms import InterpolationMode

MODE = {InterpolationMode.BILINEAR: "bilinear"}


class Resize(F.Resize):
    pass


def is_model(name):
    return name in ("small", "other")


def create_model(name, pretrained):
    assert not pretrained
    return nn.Linear(4, 2)
"""
TRANSFORMERS = """
from torch import nn


class AutoConfig:
    @staticmethod
    def for_model(name):
        return {"small": 4}[name]


class AutoModel:
    @staticmethod
    def from_config(width):
        return nn.Linear(width, 2)


class Small(nn.Linear):
    config_class = staticmethod(lambda: 4)

    def __init__(self, width):
        super().__init__(width, 3)


class Processor:
    pass
"""
NOTE = "torchvision is not installed: timm was imported with an empty one in its place"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in whose folder packages of these names stand, before any that is installed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "timm.py").write_text(TIMM)
    (tmp_path / "transformers.py").write_text(TRANSFORMERS)
    return tmp_path


def trace(*targets: str) -> tuple[int, str]:
    result = freezelint("trace", "--isolated", "--python", sys.executable, *targets, "--output-format", "full")
    return result.code, result.out + result.err


def test_models_are_built_by_name(packages: Path) -> None:
    code, text = trace("transformers:small", "transformers:Small")
    assert code == 0, text
    assert "transformers:small: #0: float32[" in text
    assert "transformers:Small: #0: float32[" in text


def test_timm_is_imported_where_torchvision_is_not_there(packages: Path) -> None:
    code, text = trace("timm:small", "timm:other")
    assert code == 0, text
    assert text.count(NOTE) == 2, "each report says so, also when timm is imported already"


def test_a_broken_torchvision_of_the_users_is_not_replaced(packages: Path) -> None:
    (packages / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    code, text = trace("timm:small")
    assert code == 1
    assert "timm does not import here: operator torchvision::nms does not exist" in text


@pytest.mark.parametrize(("target", "reason"), [
    ("timm:gone", "timm knows no model `gone`"),
    ("transformers:gone", "transformers knows no model type `gone`"),
    ("transformers:Processor", "transformers has no model class `Processor`"),
])  # fmt: skip
def test_a_name_that_no_package_knows_is_one_line(packages: Path, target: str, reason: str) -> None:
    code, text = trace(target)
    assert code == 1
    assert f"`{target}` was not traced: {reason}" in text
    assert "Traceback" not in text
