"""Progress: a bar on a terminal, now and then a line elsewhere, nothing when quiet, never on stdout."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from tool import freezelint, write

from freezelint import progress
from freezelint.progress import Progress

MODEL = "import torch\n\n\ndef build():\n    return torch.nn.Linear(2, 1)\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_that_is_gone_at_the_end() -> None:
    stream = Terminal()
    show = Progress(stream)
    show("tracing net (3 of 4)")
    assert stream.getvalue() == f"\r\033[K[{'#' * 8}{'.' * 8}] tracing net (3 of 4)"
    show("")
    assert stream.getvalue().endswith("\r\033[K")


def test_elsewhere_a_line_is_due_only_when_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    Progress(stream)("tracing net (1 of 2)")
    assert stream.getvalue() == ""
    monkeypatch.setattr(progress, "SILENT_S", 0.0)
    show = Progress(stream)
    show("running net (2 of 2)")
    show("")
    assert "freezelint: running net (2 of 2)\n" in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_a_scripts_terminal_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SILENT_S", 0.0)
    stream = Terminal()
    Progress(stream, rewrites=False)("running train.py")
    assert stream.getvalue().startswith("freezelint: running train.py\n")


def test_quiet_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SILENT_S", 0.0)
    stream = Terminal()
    Progress(stream, quiet=True)("tracing net (1 of 2)")
    assert stream.getvalue() == ""


def test_what_is_built_traced_and_run_is_told_beside_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "SILENT_S", 0.0)
    write(tmp_path, {"net.py": MODEL})
    result = freezelint("trace", "net.py:build", "--output-format", "json")
    assert "freezelint: building net.py:build (1 of 1)" in result.err
    assert "freezelint: tracing net.py:build (1 of 1)" in result.err
    assert result.findings == []
