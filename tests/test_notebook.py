"""Notebooks: cells as Python, magics blanked, places told by cell, edits that leave every other byte alone."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from tool import freezelint, write

from freezelint.source.notebook import NotANotebook, load, read
from freezelint.source.notebook import write as put_back


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cell(source: str, kind: str = "code") -> dict[str, Any]:
    more: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True), **more}


def notebook(*cells: dict[str, Any], indent: int = 1, **metadata: Any) -> str:
    data = {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
    return json.dumps(data, indent=indent, ensure_ascii=False) + "\n"


TEXT = notebook(
    cell("# Title\n", "markdown"),
    cell("%matplotlib inline\nimport torch\n!pip install ä"),
    cell("net = torch.nn.Linear(1, 1)\nnet.requires_grad = False  # ä\nif net:\n    %timeit 1\n"),
)


def test_places_are_cell_and_line(folder: Path) -> None:
    write(folder, {"n.ipynb": TEXT})
    (found,) = freezelint("--output-format", "json").findings
    assert (found["code"], found["cell"], found["location"]) == ("FRZ101", 2, {"row": 2, "column": 1})
    assert found["fix"]["edits"][0]["location"]["row"] == 2
    assert freezelint("--output-format", "concise").out.startswith("n.ipynb:cell 3:2:1: FRZ101 ")
    assert "  2 | net.requires_grad = False  # ä\n" in freezelint().out


def test_a_notebook_on_one_line_is_read(folder: Path) -> None:
    """Its `#` begins no comment that goes on to the end of the file."""
    text = json.dumps(json.loads(TEXT))
    write(folder, {"n.ipynb": text})
    assert [found["cell"] for found in freezelint("--output-format", "json").findings] == [2]
    assert freezelint("--fix").code == 0
    assert (folder / "n.ipynb").read_text() == text.replace("requires_grad = False", "requires_grad_(False)")


@pytest.mark.parametrize("indent", [1, 2, 4])
def test_fix_changes_only_its_cell(folder: Path, indent: int) -> None:
    text = notebook(*json.loads(TEXT)["cells"], indent=indent)
    write(folder, {"n.ipynb": text})
    assert freezelint("--fix").code == 0
    assert (folder / "n.ipynb").read_text() == text.replace("requires_grad = False", "requires_grad_(False)")


def test_suppression_in_a_cell(folder: Path) -> None:
    write(folder, {"n.ipynb": TEXT.replace("# ä", "# noqa: FRZ101")})
    assert freezelint().code == 0


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("%load_ext x\nx = 1", "pass\nx = 1"),
        ("files = !ls\nx = 1", "files = None\nx = 1"),
        ("torch.nn?", "pass"),
        ("?torch", "pass"),
        ("if x:\n    !ls", "if x:\n    pass"),
        ("!ls \\\n  -l\nx = 1", "pass\n\nx = 1"),
        ("%%bash\nls -l", "\n"),
        ("%%time\nx = 1", "pass\nx = 1"),
        ("%time f(x)\n%timeit -n 3 f(x)", "0;    f(x)\npass"),
        ("x = (10\n% 3)", "x = (10\n% 3)"),
        ("await f()", "await f()"),
    ],
)
def test_magics_are_blanked_in_place(source: str, expected: str) -> None:
    python, places = load(notebook(cell(source)))
    assert python == f"# %% cell 1\n{expected}\n"
    assert len(places) >= python.count("\n")
    if "await" not in source:
        ast.parse(python)


def test_every_line_knows_its_cell() -> None:
    _, places = load(notebook(cell("a = 1\nb = 2"), cell("text", "markdown"), cell("c = 3")))
    assert places[:5] == ((1, 1), (1, 1), (1, 2), (3, 1), (3, 1))


def test_write_keeps_the_text_of_an_unchanged_notebook() -> None:
    assert put_back(TEXT, read(TEXT).original) == TEXT


def test_a_line_of_the_user_that_looks_like_our_mark_stays(folder: Path) -> None:
    text = notebook(cell("import torch\n# %% cell 2\n# %% cell 3  \nnet = torch.nn.Linear(1, 1)"), cell("x = 1"))
    text = notebook(*json.loads(text)["cells"], cell("net.requires_grad = False\n# %% cell 1\ny = 2"))
    write(folder, {"n.ipynb": text})
    assert freezelint("--fix").code == 0
    assert (folder / "n.ipynb").read_text() == text.replace("requires_grad = False", "requires_grad_(False)")


def test_lines_end_at_line_feeds_alone(folder: Path) -> None:
    text = notebook(cell("import torch\nnet = torch.nn.Linear(1, 1)\nnet.requires_grad = False"))
    text = text.replace("import torch", "x = 'a\u2028b'; import torch")
    write(folder, {"n.ipynb": text})
    assert freezelint("--fix").code == 0
    assert (folder / "n.ipynb").read_text() == text.replace("requires_grad = False", "requires_grad_(False)")


def test_a_notebook_that_cannot_be_read_is_said_whatever_it_holds(folder: Path) -> None:
    write(folder, {"conflict.ipynb": "<<<<<<< HEAD\n{}", "deep.ipynb": "[" * 100_000, "other.py": "x = 1\n"})
    result = freezelint("--output-format", "concise")
    assert [line.split(" not checked")[0] for line in result.out.splitlines()[:2]] == [
        "conflict.ipynb:1:1: FRZ002",
        "deep.ipynb:1:1: FRZ002",
    ]


def test_notebook_of_an_older_format_is_said(folder: Path) -> None:
    old = {
        "cell_type": "code",
        "input": "import torch\ntorch.nn.Linear(1, 1).requires_grad = False",
        "language": "python",
        "metadata": {},
        "outputs": [],
    }
    text = json.dumps({"worksheets": [{"cells": [old]}], "metadata": {}, "nbformat": 3, "nbformat_minor": 0})
    write(folder, {"n.ipynb": text})
    assert "FRZ002 not checked: not a notebook of format 4" in freezelint("--fix").out
    assert (folder / "n.ipynb").read_text() == text


def test_source_kept_as_one_string_stays_one() -> None:
    text = json.dumps(
        {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [{**cell(""), "source": "a = 1\nb = 2"}]}
    )
    edited = read(text).original.replace("a = 1", "a = 3")
    assert put_back(text, edited) == text.replace("a = 1", "a = 3")


@pytest.mark.parametrize("text", [
    "", "{", "[]", '{"cells": 3}', "print(1)", '{"cells": [{"source": "# Title"', "[" * 5000,
    '{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [7]}',
    '{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [{"cell_type": "code", "source": 5}]}',
])  # fmt: skip
def test_what_is_no_notebook_is_said(folder: Path, text: str) -> None:
    with pytest.raises(NotANotebook):
        load(text)
    write(folder, {"n.ipynb": text + " requires_grad"})
    result = freezelint("--output-format", "concise")
    assert result.out.startswith("n.ipynb:1:1: FRZ002 not checked: not a notebook")


def test_notebook_of_another_language_is_said(folder: Path) -> None:
    write(folder, {"n.ipynb": notebook(cell("x.requires_grad"), language_info={"name": "julia"})})
    assert "not a Python notebook: `julia`" in freezelint().out


def test_empty_notebook() -> None:
    assert load(notebook())[0] == ""
