"""Which files are checked, and which of them the byte gate lets through."""

from __future__ import annotations

from pathlib import Path

import pytest
from tool import freezelint, write

from freezelint.config import Resolver
from freezelint.source import gate
from freezelint.source.discover import Missing, discover
from freezelint.source_stage import project_roots


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(*arguments: str, **overrides: object) -> list[str]:
    return [file.path for file in discover(arguments or (".",), Resolver(overrides))]


def test_python_files_and_notebooks_sorted_and_once(folder: Path) -> None:
    write(folder, {"b.py": "", "a.pyi": "", "n.ipynb": "{}", "c.txt": "", "sub/d.py": ""})
    assert paths(".", "sub", "b.py") == ["a.pyi", "b.py", "n.ipynb", "sub/d.py"]


def test_default_excludes_and_own_ones(folder: Path) -> None:
    write(folder, {".venv/a.py": "", "build/b.py": "", "sub/node_modules/c.py": "", "src/d.py": "", "src/gen/e.py": ""})
    assert paths() == ["src/d.py", "src/gen/e.py"]
    assert paths(extend_exclude=("src/gen",)) == ["src/d.py"]
    assert paths(extend_exclude=("gen",)) == ["src/d.py"]
    assert paths(exclude=("*.py",)) == []


def test_what_is_named_is_checked_unless_forced(folder: Path) -> None:
    write(folder, {"build/b.py": "", "script": ""})
    assert paths("build/b.py", "script") == ["build/b.py", "script"]
    assert paths("build") == ["build/b.py"]
    assert paths("build/b.py", "build", force_exclude=True) == []


def test_gitignore_nested_negated_and_above(folder: Path) -> None:
    files = {
        ".gitignore": "*_gen.py\n/data/\n",
        "sub/.gitignore": "!keep_gen.py\nlocal.py\n",
        ".git/info/exclude": "mine.py\n",
    }
    names = [
        "a_gen.py",
        "data/x.py",
        "sub/data/x.py",
        "sub/keep_gen.py",
        "sub/b_gen.py",
        "sub/local.py",
        "local.py",
        "mine.py",
    ]
    write(folder, {**files, **dict.fromkeys(names, "")})
    assert paths() == ["local.py", "sub/data/x.py", "sub/keep_gen.py"]
    assert paths("sub") == ["sub/data/x.py", "sub/keep_gen.py"]
    assert paths("data") == ["data/x.py"]
    assert len(paths(respect_gitignore=False)) == len(names)


def test_missing_path() -> None:
    with pytest.raises(Missing):
        paths("nowhere")


def test_links_that_lead_in_a_circle_end(folder: Path) -> None:
    write(folder, {"sub/a.py": ""})
    (folder / "sub" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "sub" / "self.py").symlink_to("self.py")
    assert paths() == ["sub/a.py"]


def test_roots(folder: Path) -> None:
    write(folder, {"one/pyproject.toml": "", "one/src/a.py": "", "two/b.py": ""})
    assert project_roots(["one/src/a.py"]) == [folder / "one", folder / "one/src"]
    assert project_roots(["two", "."]) == [folder, folder / "two"]


@pytest.mark.parametrize(
    "text",
    [
        "p.requires_grad = False",
        "net.require_grad = 0",
        "with torch.no_grad():",
        "x.detach()",
        "loss.backward()",
        "for p in m.parameters(): p.data.requires_grad = False",
        "import torch\nif center: self.center = Block(center)\nelse: self.center = nn.Identity()",
    ],
)
def test_gate_lets_through(text: str) -> None:
    assert gate.passes(text.encode())
    assert gate.passes(f"{text}\r\n".encode())


def test_gate_keeps_back() -> None:
    assert not gate.passes(b"import numpy as np\nprint(np.zeros(3))\n")
    assert not gate.passes(b"import torch\n")
    assert gate.passes(b"import torch\n", models=True)


def test_a_broken_file_is_said_gate_or_not(folder: Path) -> None:
    write(folder, {"a.py": "x = (\n", "b.py": "x = 1\n", "c.pyi": "def f(:\n"})
    report = freezelint("--output-format", "json")
    assert [(Path(entry["filename"]).name, entry["code"]) for entry in report.findings] == [
        ("a.py", "FRZ002"),
        ("c.pyi", "FRZ002"),
    ]
    assert "FRZ002 does not parse" in freezelint("-", stdin=b"x = (\n").out
