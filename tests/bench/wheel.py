"""Builds the wheel and tries it on every Python here: `python tests/bench/wheel.py [--torch PYTHON]`.

For each interpreter from 3.10 on that is found (on the path, or under pyenv) the wheel is installed in a clean
environment, and each command of the README's `Use` is run as printed on a small project: without torch, where traces
and runs say what is missing, and with the interpreter given by `--torch`, which has it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
MODEL = """import torch


def build():
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    model[0].requires_grad = False
    return model, torch.optim.SGD(model.parameters(), lr=0.1)
"""
TRAIN = """import argparse

import torch
from pkg.models import build

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
model, optimizer = build()
for _ in range(parser.parse_args().epochs):
    optimizer.zero_grad()
    model(torch.randn(3, 4)).square().mean().backward()
    optimizer.step()
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--torch", metavar="PYTHON", help="an interpreter with torch, for traces and runs")
    torch = options.parse_args().torch
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
        subprocess.run(wheel, check=True)
        (built,) = folder.glob("*.whl")
        for version in VERSIONS:
            python = find(version)
            if python is None:
                print(f"Python {version}: not here")
                continue
            print(f"Python {version}: {tried(python, built, folder / version, torch)}", flush=True)


def find(version: str) -> str | None:
    """An interpreter of that version that starts."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for candidate in (f"python{version}", *map(str, pyenv)):
        found = shutil.which(candidate)
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    return None


def tried(python: str, wheel: Path, folder: Path, torch: str | None) -> str:
    """What came of it, in one line."""
    subprocess.run([python, "-m", "venv", str(folder / "env")], check=True)
    own = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    install = [
        str(own / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        f"{wheel}[server]",
    ]
    subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
    good, seconds = 0, time.monotonic()
    for with_torch in [False, True] if torch else [False]:
        for line in commands():
            project(folder / "project", torch if with_torch else None)
            faults = run(line, own, folder / "project", with_torch)
            if faults:
                return f"`{line}`{' with torch' if with_torch else ''}: {faults}"
            good += 1
    if faults := speaks(own):
        return faults
    return f"{good} commands work as printed, the server answers ({time.monotonic() - seconds:.0f} s)"


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Use")[2].split("```")[1]
    return [line.partition("#")[0].strip() for line in text.splitlines() if line.startswith("freezelint")]


def project(folder: Path, torch: str | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "src").mkdir(parents=True)
    (folder / "pkg").mkdir()
    (folder / "src" / "net.py").write_text(MODEL)
    (folder / "pkg" / "__init__.py").write_text("")
    (folder / "pkg" / "models.py").write_text(MODEL)
    (folder / "train.py").write_text(TRAIN)
    if torch:
        (folder / "freezelint.toml").write_text(f"python = '{Path(torch).absolute()}'\n")


def run(line: str, own: Path, folder: Path, with_torch: bool) -> str:
    """What is wrong with a command, or an empty string."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH")
    }
    env = {**kept, "PATH": f"{own}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder), "SHELL": "/bin/bash"}
    done = subprocess.run(line, shell=True, cwd=folder, env=env, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr + "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.html"))
    if "Traceback" in said or "internal error" in said or done.returncode not in (0, 1):
        return f"exit code {done.returncode}: {said[-300:]}"
    if re.search(r"--trace|\b(trace|run)\b ", line):
        missing = "no interpreter with torch was found" in said
        if missing == with_torch:
            return f"torch {'not found' if missing else 'found'}: {said[-300:]}"
    return ""


def speaks(own: Path) -> str:
    """What is wrong with the language server's first words, or an empty string."""
    questions = [
        {"id": 1, "method": "initialize", "params": {"processId": None, "rootUri": None, "capabilities": {}}},
        {"method": "initialized", "params": {}},
        {"id": 2, "method": "shutdown"},
        {"method": "exit"},
    ]
    texts = [json.dumps({"jsonrpc": "2.0", **question}) for question in questions]
    sent = "".join(f"Content-Length: {len(text)}\r\n\r\n{text}" for text in texts).encode()
    command = [str(own / "freezelint"), "server"]
    done = subprocess.run(command, input=sent, capture_output=True, timeout=120, check=False)
    return "" if b'"name":"freezelint"' in done.stdout.replace(b'": "', b'":"') else f"server: {done.stderr[-300:]!r}"


if __name__ == "__main__":
    main()
