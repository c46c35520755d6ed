"""`--help` fits a screen, and the real shells complete commands, options, rule codes and formats."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tool import freezelint

from freezelint import cli
from freezelint.settings import OUTPUT_FORMATS

BASH = """
eval "$(_FREEZELINT_COMPLETE=source_bash freezelint)"
COMP_WORDS=(freezelint $1); COMP_CWORD=$2
_freezelint_completion freezelint
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = "_FREEZELINT_COMPLETE=source_fish freezelint | source; complete -C 'freezelint '$argv[1]"
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
until_seen() {
  local seen part end=$((SECONDS + 50))
  while (( SECONDS < end )) && [[ $seen != *$1* ]]; do
    if zpty -r -t shell part 2>/dev/null; then seen+=$part; else sleep 0.1; fi
  done
  print -r -- "$seen"
}
zpty -w shell 'autoload -Uz compinit && compinit -u -D'
zpty -w shell 'eval "$(_FREEZELINT_COMPLETE=source_zsh freezelint)"; print READ""Y'
until_seen READY >/dev/null
zpty -w -n shell "freezelint $1"$'\\t\\t'
until_seen --output-format
zpty -d shell
"""


@pytest.mark.parametrize("command", ["", "check", "trace", "run", "rule", "server", "clean"])
def test_help_fits_a_screen(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    printed = freezelint(*command.split(), "--help").out.splitlines()
    assert 5 <= len(printed) <= 45
    assert max(map(len, printed)) <= 80


def test_formats_of_the_help_are_those_of_the_settings() -> None:
    assert {*cli.FORMATS, "text"} == {*OUTPUT_FORMATS, "text"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A PATH on which `freezelint` is this package, in a home of its own."""
    command = tmp_path / "bin" / "freezelint"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m freezelint "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}


CASES = [
    ("ch", {"check"}),
    ("--unsafe", {"--unsafe-fixes"}),
    ("check --out", {"--output-format", "--output-file"}),
    ("--output-format js", {"json", "json-lines"}),
    ("rule FRZ50", {"FRZ501", "FRZ502"}),
]


@pytest.mark.parametrize(("typed", "offered"), CASES)
def test_bash_completes(typed: str, offered: set[str], environment: dict[str, str]) -> None:
    bash = shell("bash")
    command = [bash, "--norc", "-c", BASH, "bash", typed, str(len(typed.split()))]
    assert set(words(command, environment)) == offered


@pytest.mark.parametrize(("typed", "offered"), CASES[:3])
def test_fish_completes(typed: str, offered: set[str], environment: dict[str, str]) -> None:
    command = [shell("fish"), "--no-config", "-c", FISH, "--", typed]
    assert {line.split("\t")[0] for line in words(command, environment)} == offered


@pytest.mark.slow
def test_zsh_completes(environment: dict[str, str]) -> None:
    command = [shell("zsh"), "-f", "-c", ZSH, "zsh", "check --out"]
    printed = "\n".join(words(command, environment))
    assert "--output-format" in printed
    assert "--output-file" in printed


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None or os.name == "nt":
        pytest.skip(f"{name} is not installed: its completion is not tested")
    return found


def words(command: list[str], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
