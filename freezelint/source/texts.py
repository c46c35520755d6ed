"""The plain text of a project's files: for questions that words answer, before or instead of parsing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

COMMENT = re.compile(r"#[^\n\"']*$", re.MULTILINE)
_MOST_FILES = 6000


def package_root(folder: Path) -> Path:
    """The first folder upwards that is no package: what is below it is imported by its name from there."""
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
    return folder


class Texts:
    """Reads each file once a project. `overlay`: texts that are not saved yet."""

    def __init__(self, roots: Sequence[Path], overlay: Mapping[str, str]) -> None:
        self._roots, self._overlay = roots, overlay
        self._below: dict[Path, dict[str, str]] = {}
        self._holds: dict[tuple[Path, str], bool] = {}

    def mention(self, path: str, word: str) -> bool:
        """Whether any Python file below the package of `path`, or below the roots, holds a word."""
        folders = dict.fromkeys((package_root(Path(path).parent), *self._roots))
        return any(self._held(folder, word) for folder in folders)

    def below(self, folder: Path) -> dict[str, str]:
        """The text of every Python file below a folder, without comments."""
        if folder not in self._below:
            self._below[folder] = {path: COMMENT.sub("", text) for path, text in self._read(folder)}
        return self._below[folder]

    def _held(self, folder: Path, word: str) -> bool:
        if (folder, word) not in self._holds:
            self._holds[folder, word] = any(word in text for _, text in self._read(folder))
        return self._holds[folder, word]

    def _read(self, folder: Path) -> Iterator[tuple[str, str]]:
        for path in islice(folder.rglob("*.py"), _MOST_FILES):
            if not path.is_file():
                continue
            try:
                known = self._overlay.get(str(path))
                yield str(path), path.read_text(encoding="utf-8", errors="replace") if known is None else known
            except OSError:
                continue
