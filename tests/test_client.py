"""The worker and its client: whatever the user's code does, the host gets an answer or one named error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("torch")

from freezelint.client import Worker, WorkerError, find_python
from freezelint.findings import Severity
from freezelint.graph_stage import GraphResult, trace_targets

MODEL = """
import torch
from torch import nn

def build():
    print("printed by the user's code")
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
"""


@dataclass
class Settings:
    python: Path | None = None
    timeout_s: float = 100.0
    dgrad_threshold: float = 0.3


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Worker]]:
    folder = tmp_path_factory.mktemp("project")
    with Worker(Path(sys.executable), folder, 100.0) as worker:
        yield folder, worker


def failure(worker: Worker, build: str) -> WorkerError:
    with pytest.raises(WorkerError) as caught:
        worker.call("trace", target={"build": build})
    return caught.value


def test_user_prints_do_not_break_the_conversation(shared: tuple[Path, Worker]) -> None:
    folder, worker = shared
    (folder / "plain.py").write_text(MODEL)
    report = worker.call("trace", target={"build": "plain:build"})
    assert [row["name"] for row in report["parameters"]] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert all(row["reached"] for row in report["parameters"])


@pytest.mark.parametrize(
    ("code", "kind", "text", "line"),
    [
        ("def build():\n    raise ValueError('no weights')\n", "ValueError", "no weights", 2),
        ("import sys\nsys.exit(3)\n", "SystemExit", "exit code 3", 2),
        ("def build(\n", "SyntaxError", "never closed", 1),
        ("import nosuchthing\n", "ModuleNotFoundError", "nosuchthing", 1),
        ("def build(size):\n    return size\n", "TargetError", "needs arguments: size", 0),
        ("def build():\n    return 7\n", "TargetError", "returned int, not a torch.nn.Module", 0),
        ("built = 1\n", "TargetError", "has no `build`", 0),
    ],
)
def test_failures_are_named_with_their_line(
    shared: tuple[Path, Worker], code: str, kind: str, text: str, line: int
) -> None:
    folder, worker = shared
    name = f"bad_{abs(hash(code))}"
    (folder / f"{name}.py").write_text(code)
    error = failure(worker, f"{name}:build")
    assert error.kind == kind
    assert text in error.text
    assert "\n" not in error.text
    assert error.line == line


def test_unknown_modules_and_malformed_references(shared: tuple[Path, Worker]) -> None:
    _, worker = shared
    assert "no_such_module" in failure(worker, "no_such_module:build").text
    assert "pkg.mod:callable" in failure(worker, "justaname").text


def test_a_crash_is_an_error_and_the_next_call_works(tmp_path: Path) -> None:
    (tmp_path / "crash.py").write_text("import os\ndef build():\n    os.abort()\n")
    (tmp_path / "plain.py").write_text(MODEL)
    with Worker(Path(sys.executable), tmp_path, 100.0) as worker:
        error = failure(worker, "crash:build")
        assert error.kind == "crash"
        assert "SIGABRT" in error.text
        assert worker.call("hello")["protocol"] == 1


def test_a_hang_is_killed_with_everything_it_started(tmp_path: Path) -> None:
    (tmp_path / "hang.py").write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open('child.pid', 'w').write(str(child.pid))\n"
        "def build():\n    time.sleep(600)\n"
    )
    (tmp_path / "plain.py").write_text(MODEL)
    with Worker(Path(sys.executable), tmp_path, 100.0) as worker:
        worker.call("trace", target={"build": "plain:build"})  # torch is imported from here on
        with pytest.raises(WorkerError) as caught:
            worker.call("trace", call_timeout_s=6, target={"build": "hang:build"})
    assert caught.value.kind == "timeout"
    child = int((tmp_path / "child.pid").read_text())
    for _ in range(50):
        if not alive(child):
            return
        time.sleep(0.1)
    pytest.fail("a process that user code started outlived the worker")


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_models_that_cannot_be_traced_are_notes_beside_the_ones_that_can(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(MODEL)
    (tmp_path / "broken.py").write_text("raise RuntimeError('no GPU here')\n")
    result: GraphResult = trace_targets(["broken:build", "plain:build"], Settings(), tmp_path, lambda _text: None)
    assert [report.name for report in result.reports] == ["plain:build"]
    (note,) = result.notes
    assert note.code == "FRZ003"
    assert note.severity is Severity.WARNING
    assert "no GPU here" in note.message
    assert note.location.path.endswith("broken.py")


def test_without_torch_the_reason_is_said(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    found, why = find_python(Settings(python=tmp_path / "nowhere"), tmp_path)
    assert found is None
    assert "does not exist" in why
    with Worker(fake, tmp_path, 10.0) as worker, pytest.raises(WorkerError) as caught:
        worker.call("hello")
    assert caught.value.kind == "crash"


def test_the_projects_own_environment_comes_before_ours(tmp_path: Path) -> None:
    own = tmp_path / ".venv" / "bin"
    own.mkdir(parents=True)
    (own / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (own / "python").chmod(0o755)
    found, why = find_python(Settings(), tmp_path)
    if "VIRTUAL_ENV" in os.environ or "CONDA_PREFIX" in os.environ:
        pytest.skip("an environment is active and comes first")
    assert found == own / "python"
    assert why == ".venv of the project"
