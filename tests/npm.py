"""Packages of npm that tests work with, fetched once by name into a folder of the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def modules(*names: str) -> Path:
    """The folder `node_modules` that holds them; the test is skipped, with the reason, where they cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"npm is not installed: {', '.join(names)} cannot be fetched")
    home = cache_folder()
    missing = [name for name in names if not (home / "node_modules" / name).is_dir()]
    if missing:
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(home), *missing]
        try:
            failed = subprocess.run(command, capture_output=True, timeout=300, check=False).returncode
        except subprocess.TimeoutExpired:
            failed = 1
        if failed:
            pytest.skip(f"{', '.join(missing)} cannot be fetched from npm")
    return home / "node_modules"


def cache_folder() -> Path:
    """Where tests keep what they fetched."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "freezelint-tests"
    home.mkdir(parents=True, exist_ok=True)
    return home
