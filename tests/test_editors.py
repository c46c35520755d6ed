"""The language server in editors: Emacs with eglot, and VS Code's own client library under a stand-in for VS Code.

Neovim is driven in `test_server.py`. A real VS Code cannot be fetched by a package's name; `editors/vscode` is the
extension, and its `host.js` stands in for the editor: documents, edits and diagnostics, the client is the real one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import npm
import pytest
from test_server import COMMAND
from tool import FIXED, FROZEN_BY_ATTRIBUTE

pytest.importorskip("pygls", reason="the server extra is not installed")
EDITORS = Path(__file__).parent / "editors"
pytestmark = pytest.mark.slow


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "a.py"
    made.write_text(FROZEN_BY_ATTRIBUTE)
    return made


def test_emacs_with_eglot(file: Path) -> None:
    emacs = shutil.which("emacs")
    if emacs is None:
        pytest.skip("Emacs is not installed")
    found = subprocess.run(
        [emacs, "-q", "--batch", "--eval", "(progn (package-initialize) (require 'eglot))"],
        capture_output=True,
        check=False,
    )
    if found.returncode:
        pytest.skip("this Emacs has no eglot")
    env = {**os.environ, "FILE": str(file), "SERVER": "\n".join(COMMAND), "HOME": str(file.parent)}
    command = [emacs, "-q", "--batch", "-l", str(EDITORS / "emacs.el")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    opened, text, hover, fixed, saved = done.stdout.strip().split("|")
    assert (opened, hover, fixed, saved) == ("t", "# FRZ101", "t", "t"), done.stderr
    assert "FRZ101" in text
    assert file.read_text() == FIXED


def test_the_client_library_of_vs_code(file: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    modules = npm.modules("vscode-languageclient", "jest-mock-vscode")
    command = [node, str(EDITORS / "vscode" / "host.js"), str(file), *COMMAND]
    env = {**os.environ, "NODE_PATH": str(modules)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["code"], said["line"], said["hover"], said["fixed"]) == ("FRZ101", 3, "# FRZ101", True)
    assert [title.split(":")[0] for title in said["actions"]] == ["FRZ101"] * 3
    assert {"freezelint.traceFile", "freezelint.verifyFile"} <= set(said["commands"])
    assert file.read_text() == FIXED


def test_the_extension_offers_the_settings_that_the_server_takes() -> None:
    from freezelint import editor

    package = json.loads((EDITORS / "vscode" / "package.json").read_text(encoding="utf-8"))
    offered = set(package["contributes"]["configuration"]["properties"])
    taken = {f"freezelint.{editor._camel(name)}" for name in editor.OPTIONS}
    assert offered == taken | {"freezelint.command"}
