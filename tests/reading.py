"""The first story of a program, for tests of what the reading knows."""

from __future__ import annotations

import textwrap
from pathlib import Path

from freezelint.source.lint import Project, read_file
from freezelint.source.story import Story

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"


def story(text: str, folder: Path = Path("/nowhere"), **files: str) -> Story:
    """The first story of a program; `files` are other files of its project."""
    overlay = {str(folder / f"{name}.py"): HEAD + textwrap.dedent(body) for name, body in files.items()}
    project = Project([folder], overlay)
    file = project.add(str(folder / "train.py"), HEAD + textwrap.dedent(text))
    return next(iter(read_file(file, project)))
