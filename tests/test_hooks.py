"""The hooks under the real pre-commit: each on a small repository, and `freezelint` on one with 2,000 files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tool import FIXED, FROZEN_BY_ATTRIBUTE, write

import freezelint

ROOT = Path(freezelint.__file__).parent.parent
HOOKS = ROOT / ".pre-commit-hooks.yaml"
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
MODEL = """import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(2, 2)
        self.body.requires_grad = False

    def forward(self, x):
        return self.body(x)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
    pytest.mark.skipif(not HOOKS.exists(), reason="runs in the source tree"),
]


def pre_commit() -> list[str]:
    pytest.importorskip("pre_commit", reason="pre-commit is not installed")
    return [sys.executable, "-m", "pre_commit"]


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *IDENTITY, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of pre-commit: a store of its own, shared by these tests so that the hook is installed once."""
    return {**os.environ, "PRE_COMMIT_HOME": str(tmp_path_factory.mktemp("pre-commit")), "PRE_COMMIT_COLOR": "never"}


@pytest.fixture(scope="session")
def hook_repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This source tree as committed, as a repository that pre-commit can clone."""
    folder = tmp_path_factory.mktemp("hook") / "freezelint"
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    names = names or [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()]
    for name in names:
        if name.startswith(("freezelint/", "rules/")) or "/" not in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "hooks")
    return folder


def repository(folder: Path, files: dict[str, str]) -> Path:
    write(folder, files)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    return folder


def run_hook(
    folder: Path, hook_repo: Path, home: dict[str, str], hook: str, *more: str
) -> subprocess.CompletedProcess[str]:
    """`pre-commit run` of one hook, configured as a user would; the environment is made once for all tests."""
    revision = git(hook_repo, "rev-parse", "HEAD").strip()
    config = f"repos:\n- repo: {hook_repo}\n  rev: {revision}\n  hooks:\n  - id: {hook}\n"
    (folder / ".pre-commit-config.yaml").write_text(config)
    git(folder, "add", "-A")
    command = [*pre_commit(), "run", hook, "--all-files", "--verbose", *more]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=home, check=False)


def test_hook_fails_on_a_mistake_in_python_alone(tmp_path: Path, hook_repo: Path, home: dict[str, str]) -> None:
    repository(tmp_path, {"train.py": FROZEN_BY_ATTRIBUTE, "notes.txt": "net.requires_grad = False\n"})
    done = run_hook(tmp_path, hook_repo, home, "freezelint")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "train.py:4:1: FRZ101" in done.stdout
    assert "Found 1 error in 1 file" in done.stdout


def test_installed_hook_stops_a_commit(tmp_path: Path, hook_repo: Path, home: dict[str, str]) -> None:
    revision = git(hook_repo, "rev-parse", "HEAD").strip()
    config = f"repos:\n- repo: {hook_repo}\n  rev: {revision}\n  hooks:\n  - id: freezelint\n"
    repository(tmp_path, {"train.py": FROZEN_BY_ATTRIBUTE, ".pre-commit-config.yaml": config})
    subprocess.run([*pre_commit(), "install"], cwd=tmp_path, env=home, capture_output=True, check=True)
    command = ["git", *IDENTITY, "commit", "-m", "x"]
    done = subprocess.run(command, cwd=tmp_path, env=home, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FRZ101" in done.stdout + done.stderr
    (tmp_path / "train.py").write_text(FIXED)
    git(tmp_path, "add", "-A")
    assert subprocess.run(command, cwd=tmp_path, env=home, capture_output=True, check=False).returncode == 0


def test_fix_hook_changes_the_file(tmp_path: Path, hook_repo: Path, home: dict[str, str]) -> None:
    repository(tmp_path, {"train.py": FROZEN_BY_ATTRIBUTE})
    done = run_hook(tmp_path, hook_repo, home, "freezelint-fix")
    assert done.returncode == 1
    assert "files were modified by this hook" in done.stdout
    assert (tmp_path / "train.py").read_text() == FIXED


def test_verify_hook_runs_where_it_is_asked_for(tmp_path: Path, hook_repo: Path, home: dict[str, str]) -> None:
    pytest.importorskip("torch")
    python = f'[tool.freezelint]\npython = "{sys.executable}"\n'
    repository(tmp_path, {"models.py": MODEL, "pyproject.toml": python})
    done = run_hook(tmp_path, hook_repo, home, "freezelint-verify", "--hook-stage", "manual")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "models.py:8:9: FRZ101" in done.stdout
    assert "verify: confirmed on " in done.stdout


def test_hook_on_two_thousand_files(tmp_path: Path, hook_repo: Path, home: dict[str, str]) -> None:
    files = {f"pkg/m{number}.py": f"import torch\n\nx = {number}\n" for number in range(1999)}
    repository(tmp_path, {**files, "pkg/train.py": FROZEN_BY_ATTRIBUTE})
    done = run_hook(tmp_path, hook_repo, home, "freezelint")
    assert done.returncode == 1
    assert "pkg/train.py:4:1: FRZ101" in done.stdout
    assert "Found 1 error in 2000 files" in done.stdout


def test_hook_environment_is_a_static_linter_without_torch(
    tmp_path: Path, hook_repo: Path, home: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What pre-commit installed is what `pip install freezelint` gives: a wheel in a clean environment."""
    write(tmp_path, {"models.py": MODEL})
    if not list(Path(home["PRE_COMMIT_HOME"]).glob("repo*/py_env*")):
        run_hook(repository(tmp_path, {}), hook_repo, home, "freezelint")
    python = next(Path(home["PRE_COMMIT_HOME"]).glob("repo*/py_env*/bin/python"))
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([python, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)

    look = "import importlib.util as u, freezelint, pathlib; p = pathlib.Path(freezelint.__file__).parent; "
    look += "print(u.find_spec('torch'), *sorted(q.name for q in p.iterdir()))"
    found = run("-c", look).stdout.split()
    assert found[0] == "None"
    assert {"_rules", "py.typed", "settings.schema.json", "worker"} <= set(found)
    assert run("-m", "freezelint", "rule", "FRZ101").stdout.startswith("# FRZ101 ")
    traced = run("-m", "freezelint", "--trace", "--isolated", "--output-format", "concise", "models.py")
    assert "models.py:8:9: FRZ101 [*]" in traced.stdout
    assert "FRZ003 no interpreter with torch was found" in traced.stdout
    assert "Traceback" not in traced.stdout + traced.stderr
