"""Classes that are their base under another name have no story of their own; any difference gives them one."""

from __future__ import annotations

from pathlib import Path

import pytest
from reading import HEAD

from freezelint.source.lint import Project, read_file

BASE = """
class Base(nn.Module):
    def __init__(self, width, encoder: nn.Module, frozen=False):
        super().__init__()
        self.encoder = encoder
        self.layer = nn.Linear(width, width)
        self.layer.requires_grad_(not frozen)
"""
SAME = [
    "def __init__(self, width, encoder: nn.Module, frozen=True):\n        super().__init__(width, encoder, frozen)",
    "def __init__(self, width: int, encoder: nn.Module):\n"
    '        """Says what it is."""\n        super(Other, self).__init__(encoder=encoder, width=width)',
]
DIFFERENT = [
    "def __init__(self, width, encoder: nn.Module):\n        super().__init__(width, encoder, True)",
    "def __init__(self, width, encoder):\n        super().__init__(width, encoder)",
    "def __init__(self, width, encoder: nn.Module, *, frozen=True):\n        super().__init__(width, encoder, frozen)",
    "def __init__(self, *args):\n        super().__init__(*args)",
    "def __init__(self, width, encoder: nn.Module):\n"
    "        super().__init__(width, encoder)\n        self.head = nn.Linear(2, 2)",
    "def __init__(self, width, encoder: nn.Module):\n        super().setup(width, encoder)",
    "norm = nn.BatchNorm2d\n\n"
    "    def __init__(self, width, encoder: nn.Module):\n        super().__init__(width, encoder)",
    "def __init__(self, width, encoder: nn.Module):\n        super().__init__(width, encoder)\n\n"
    "    def forward(self, x):\n        return self.layer(x.detach())",
    "def setup(self, width, encoder: nn.Module):\n        super().__init__(width, encoder)",
]


def entries(text: str) -> list[str]:
    project = Project([Path("/nowhere")])
    return [read.entry for read in read_file(project.add("/nowhere/net.py", HEAD + text), project)][1:]


@pytest.mark.parametrize("body", SAME)
def test_a_class_that_hands_on_what_it_is_given_is_read_as_its_base(body: str) -> None:
    assert entries(f"{BASE}\n\nclass Other(Base):\n    {body}  # nn.Module\n") == ["Base"]


@pytest.mark.parametrize("body", DIFFERENT)
def test_a_class_that_differs_has_its_own_story(body: str) -> None:
    assert entries(f"{BASE}\n\nclass Other(Base):\n    {body}  # nn.Module, detach\n") == ["Base", "Other"]


def test_a_class_of_several_bases_has_its_own_story() -> None:
    same = f"class Mixin:\n    pass\n\n\nclass Other(Base, Mixin):\n    {SAME[0]}  # nn.Module\n"
    assert entries(f"{BASE}\n\n{same}") == ["Base", "Other"]


def test_a_base_without_a_story_leaves_it_to_the_class() -> None:
    silent = "class Base:\n    def __init__(self, width):\n        self.width = width\n"
    project = Project([Path("/nowhere")], {"/nowhere/base.py": silent})
    same = "class Other(Base):\n    def __init__(self, width):\n        super().__init__(width)  # detach\n"
    file = project.add("/nowhere/net.py", f"from base import Base\n\n\n{same}")
    assert [read.entry for read in read_file(file, project)][1:] == ["Other"]
