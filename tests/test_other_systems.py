"""What Windows does otherwise, as far as it can be played here: consoles, drives, process groups, line ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tool import FROZEN_BY_ATTRIBUTE, freezelint, write

from freezelint import client, processes
from freezelint.textfile import relative

WIDE = FROZEN_BY_ATTRIBUTE.replace("net", "näh値")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, encoding: str) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    return subprocess.run([sys.executable, "-m", "freezelint", *arguments], env=env, capture_output=True, check=False)


def test_a_console_that_lacks_letters_gets_question_marks(folder: Path) -> None:
    (folder / "a.py").write_text(WIDE, encoding="utf-8")
    done = run("a.py", encoding="cp1252")
    assert done.returncode == 1, done.stderr
    assert "`näh?.requires_grad = False`" in done.stdout.decode("cp1252")


@pytest.mark.parametrize("name", ["sarif", "junit"])
def test_reports_for_programs_are_utf_8_everywhere(folder: Path, name: str) -> None:
    (folder / "a.py").write_text(WIDE, encoding="utf-8")
    text = run("--output-format", name, "a.py", encoding="cp1252").stdout.decode("utf-8")
    said = json.dumps(json.loads(text), ensure_ascii=False) if name == "sarif" else text
    assert "näh値" in said
    assert "\r" not in text


def test_fixes_and_diffs_keep_line_ends_and_marks(folder: Path) -> None:
    before = b"\xef\xbb\xbf" + FROZEN_BY_ATTRIBUTE.replace("\n", "\r\n").encode()
    (folder / "a.py").write_bytes(before)
    assert b"\r\n+net.requires_grad_(False)\r\n" in freezelint("--diff", "a.py").raw
    assert freezelint("--fix", "-q", "a.py").code == 0
    assert (folder / "a.py").read_bytes() == before.replace(b"requires_grad = False", b"requires_grad_(False)")


def test_settings_and_ignore_files_with_windows_line_ends(folder: Path) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE, "old/b.py": FROZEN_BY_ATTRIBUTE, ".gitignore": "old/\r\n"})
    (folder / "freezelint.toml").write_bytes(b'ignore = ["FRZ101"]\r\n')
    assert freezelint("--show-files").out.splitlines() == [str(folder / "a.py")]
    assert freezelint().code == 0


def other_drive(_path: str, _start: Any = None) -> str:
    raise ValueError("path is on mount 'D:', start on mount 'C:'")


def test_a_path_on_another_drive_stays_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "relpath", other_drive)
    assert relative("D:\\a.py", folder) == "D:\\a.py"
    pytest.importorskip("torch", reason="torch is not installed: the worker is not asked")
    from freezelint.worker import targets

    assert targets.project_path("D:\\a.py") == "D:\\a.py"


class Ended:
    pid = 4711

    def __init__(self) -> None:
        self.waited = 0

    def wait(self) -> int:
        self.waited += 1
        return 1


def test_windows_ends_a_process_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(os, "name", "nt")
    monkeypatch.delattr(os, "killpg", raising=False)
    monkeypatch.delattr(signal, "SIGKILL", raising=False)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: asked.append(command))
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    process: Any = Ended()
    processes.end(process)
    assert asked == [["taskkill", "/F", "/T", "/PID", "4711"]]
    assert process.waited == 1
    assert processes.apart() == {"creationflags": 512}
    assert not processes.was_killed(1)
    assert processes.ending(0xC0000005) == "exit code 0xc0000005"


def test_interpreters_lie_where_each_system_puts_them(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    looked = [path for path, _ in client._candidates({"VIRTUAL_ENV": "env", "CONDA_PREFIX": "conda"}, folder)]
    assert looked[:2] == [Path("env/bin/python"), Path("conda/bin/python")]
    environment = {"VIRTUAL_ENV": str(folder / "env"), "CONDA_PREFIX": str(folder / "conda")}
    made = type(folder)
    monkeypatch.setattr(client, "os", Windows())
    looked = [path for path, _ in client._candidates(environment, made(folder))]
    assert looked[0] == folder / "env" / "Scripts" / "python.exe"
    assert looked[1] == folder / "conda" / "python.exe"


class Windows:
    name = "nt"


def test_output_of_another_encoding_is_read_back() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    from freezelint import commands

    commands._set(stream, encoding="utf-8", newline="\n")
    stream.write("値\n")
    stream.flush()
    assert stream.buffer.getvalue() == "値\n".encode()  # type: ignore[attr-defined]
