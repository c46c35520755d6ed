"""What an editor asks of us, without its protocol: findings, fixes and suppressions of one unsaved text."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from freezelint import suppress
from freezelint.client import Workers
from freezelint.config import Resolver
from freezelint.engine import Check, Outcome, Progress, silent
from freezelint.findings import Finding
from freezelint.fixes import Lines
from freezelint.records import replace
from freezelint.settings import Settings, SettingsError, Where
from freezelint.warm import WarmWorkers

ENCODINGS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
OPTIONS = ("select", "ignore", "extend_select", "preview", "python", "timeout_s", "steps", "device", "unsafe_fixes")


class Positions:
    """Turns our lines and columns (from 1, code points) into the editor's (from 0, its own units), and back."""

    def __init__(self, text: str, encoding: str) -> None:
        self.lines = Lines(text)
        self.codec, self.size = ENCODINGS[encoding]

    def to_client(self, line: int, column: int) -> tuple[int, int]:
        before = self.lines.line(line)[:column]
        return line - 1, len(before.encode(self.codec, "surrogatepass")) // self.size

    def from_client(self, line: int, character: int) -> tuple[int, int]:
        data = self.lines.line(line + 1).encode(self.codec, "surrogatepass")
        return line + 1, len(data[: character * self.size].decode(self.codec, "ignore"))

    def end(self) -> tuple[int, int]:
        last = len(self.lines.starts)
        return self.to_client(last, len(self.lines.line(last)))


class Editor:
    """Checks unsaved texts under the workspace's settings. `options` are the client's, over the settings files."""

    def __init__(self) -> None:
        self.options: dict[str, dict[str, Any]] = {"": {}}  # by workspace folder; those of "" hold everywhere
        self.unsaved: dict[str, bytes] = {}
        self.workers = WarmWorkers()

    def folders(self, folders: Iterable[str]) -> None:
        """The workspace's folders; settings of others are forgotten."""
        self.options = {folder: self.options.get(folder, {}) for folder in ("", *folders)}

    def configure(self, options: Mapping[str, Any], folder: str = "") -> None:
        """Take the client's settings, for one folder or for all; a SettingsError leaves the old ones in force."""
        table: dict[str, Any] = {}
        for name in OPTIONS:
            key = name.replace("_", "-")
            value = options.get(key, options.get(_camel(name)))
            if value is not None and value != "":
                table[key] = value
        base = folder or next((known for known in self.options if known), "")
        where = Where(os.path.join(base, "the editor's settings"))
        try:
            settings = Settings.from_table(table, where, Settings())
        except SettingsError as error:
            raise SettingsError(str(error).replace(where.path, "the editor's settings")) from None
        self.options[folder] = {name: getattr(settings, name) for name in OPTIONS if name.replace("_", "-") in table}

    def resolver(self, path: str, **more: Any) -> Resolver:
        """The settings of a file: the client's for its workspace folder, over those of the nearest settings file."""
        parent = Path(path).absolute().parent
        inside = [folder for folder in self.options if folder and parent.is_relative_to(folder)]
        folder = max(inside, key=len, default="")
        options = {**self.options[""], **self.options[folder], **more, "cache": False}
        return Resolver(options, folder=parent, root=Path(folder) if folder else None)

    def findings(self, path: str, text: str) -> list[Finding]:
        """What is wrong with `text`, places told by notebook cell where it is one. Raises SettingsError."""
        gc.collect()  # the check before left a hundred thousand objects that hold each other, and memory grew
        check = self._check(path, text)
        own = [finding for finding in check.run().findings if _same(finding.location.path, path)]
        return [replace(finding, location=replace(finding.location, path=path)) for finding in own]

    def fixed(self, path: str, text: str) -> str | None:
        """`text` with every safe fix applied, or None where there is none."""
        check = self._check(path, text, fix=True)
        outcome = check.run()
        after = next((after for name, (_, after) in outcome.changed.items() if _same(name, path)), None)
        return None if after is None else after.decode("utf-8")

    def witness(
        self, path: str, *, verify: bool, workers: Workers | None = None, progress: Progress = silent
    ) -> Outcome:
        """What the graph, and a run, say of a saved file's models. Runs the user's code. Raises SettingsError."""
        if not os.path.isfile(path):  # an empty path would mean the working folder
            raise SettingsError(f"{path or 'the text'} is no file yet: save it first")
        check = Check([path], self.resolver(path, trace=True, verify=verify), workers=workers or self.workers)
        return check.run(progress)

    def _check(self, path: str, text: str, **more: Any) -> Check:
        from freezelint.source.discover import shown

        unsaved = {shown(name): data for name, data in self.unsaved.items() if name != path}
        name = shown(path)
        return Check([], self.resolver(path, **more), stdin=text.encode(), stdin_name=name, unsaved=unsaved)


def suppression(text: str, finding: Finding) -> tuple[int, str]:
    """(line, new text of that line) that silences one finding."""
    old, new = text.splitlines(), suppress.add_noqa(text, [finding]).splitlines()
    changed = next((n for n, (before, after) in enumerate(zip(old, new, strict=False)) if before != after), 0)
    return changed + 1, new[changed]


def notebook_text(cells: list[tuple[str, str]]) -> str:
    """An editor's open cells, (kind, source) each, as the text of a notebook file."""
    made: list[dict[str, Any]] = []
    for kind, source in cells:
        more: dict[str, Any] = {"outputs": [], "execution_count": None} if kind == "code" else {}
        made.append({"cell_type": kind, "metadata": {}, "source": source, **more})
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 4})


def notebook_sources(text: str) -> list[str]:
    """The sources of a notebook file's cells."""
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"]]


def _same(one: str, other: str) -> bool:
    return os.path.normcase(os.path.abspath(one)) == os.path.normcase(os.path.abspath(other))


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


__all__ = ["Editor", "Positions", "SettingsError", "notebook_sources", "notebook_text", "suppression"]
