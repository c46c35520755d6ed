"""What was found last time, by content: one JSON file per project.

An entry holds as long as the file and every other file that its reading consulted have the same bytes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from freezelint import __version__
from freezelint.textfile import read_regular

FOLDER = ".freezelint_cache"


def digest(data: bytes) -> str:
    import hashlib  # loads OpenSSL: not for a run that ends at the gate

    return hashlib.sha256(data).hexdigest()


def state(path: str) -> str:
    """The digest of a file; of a folder, that of every Python file below it; "" where there is nothing to read."""
    try:
        if not os.path.isdir(path):
            return digest(read_regular(path))
        files = sorted(file for file in Path(path).rglob("*.py") if file.is_file())
        return digest("".join(f"{file}\0{digest(file.read_bytes())}\n" for file in files).encode())
    except OSError:
        return ""


class Cache:
    """Entries by absolute path and choice of rules. `folder` None: nothing is kept."""

    def __init__(self, folder: Path | None, key: str) -> None:
        python = "".join(map(str, sys.version_info[:2]))
        name = f"{__version__}-{_own_state()}-py{python}{key}"
        self.file = folder and folder / f"{name}.json"
        self.entries: dict[str, dict[str, Any]] = {}
        self._changed = False
        self._digests: dict[str, str] = {}
        if self.file:
            try:
                kept = json.loads(self.file.read_bytes())
            except (OSError, ValueError):
                kept = None
            self.entries = kept if isinstance(kept, dict) else {}

    def get(self, path: str, data: bytes, rules: str) -> dict[str, Any] | None:
        """The kept report of a file, or None where it or one of its dependencies changed."""
        entry = self.entries.get(f"{os.path.abspath(path)}|{rules}") if self.file else None
        if entry is None or entry["sha256"] != digest(data):
            return None
        dependencies: Mapping[str, str] = entry["report"]["dependencies"]
        if any(self._current(other) != known for other, known in dependencies.items()):
            return None
        report: dict[str, Any] = entry["report"]
        return report

    def put(self, path: str, data: bytes, rules: str, report: dict[str, Any]) -> None:
        if self.file:
            self.entries[f"{os.path.abspath(path)}|{rules}"] = {"sha256": digest(data), "report": report}
            self._changed = True

    def save(self) -> None:
        """Write what is new; a folder that cannot be written is no error: the next run only takes longer."""
        if not self.file or not self._changed:
            return
        try:
            make_folder(self.file.parent)
            new = self.file.with_name(f"{self.file.name}.{os.getpid()}")
            new.write_text(json.dumps(self.entries, separators=(",", ":")), encoding="utf-8")
            new.replace(self.file)
        except OSError:
            return

    def _current(self, path: str) -> str:
        if path not in self._digests:
            self._digests[path] = state(path)
        return self._digests[path]


def make_folder(folder: Path) -> None:
    """The cache folder, marked for git and backup tools to pass over."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        (folder / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n", encoding="utf-8")


def _own_state() -> str:
    """Changes with the program's own files, so that a development tree never reads stale entries."""
    package = Path(__file__).parent
    folders = (package, package / "source", package / "checks")
    files = (entry for folder in folders for entry in os.scandir(folder) if entry.name.endswith(".py"))
    return str(max(entry.stat().st_mtime_ns for entry in files))
