"""What an editor asks of us, without its protocol: findings, fixes and suppressions of one unsaved text."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from freezelint import suppress
from freezelint.config import Resolver
from freezelint.engine import Check, Outcome
from freezelint.findings import Finding
from freezelint.fixes import Lines
from freezelint.settings import SettingsError, check_codes

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
        self.options: dict[str, Any] = {}
        self.unsaved: dict[str, bytes] = {}

    def configure(self, options: Mapping[str, Any]) -> None:
        """Take the client's settings; a SettingsError leaves the old ones in force."""
        chosen: dict[str, Any] = {}
        for name in OPTIONS:
            value = options.get(name.replace("_", "-"), options.get(_camel(name)))
            if value is not None:
                chosen[name] = tuple(value) if isinstance(value, list) else Path(value) if name == "python" else value
        for name in ("select", "ignore", "extend_select"):
            check_codes(chosen.get(name, ()), f"workspace setting `{_camel(name)}`")
        self.options = chosen

    def resolver(self, path: str, **more: Any) -> Resolver:
        return Resolver({**self.options, **more, "cache": False}, folder=Path(path).absolute().parent)

    def findings(self, path: str, text: str) -> list[Finding]:
        """What is wrong with `text`, places told by notebook cell where it is one. Raises SettingsError."""
        check = self._check(path, text)
        own = [finding for finding in check.run().findings if _same(finding.location.path, path)]
        return [replace(finding, location=replace(finding.location, path=path)) for finding in own]

    def fixed(self, path: str, text: str) -> str | None:
        """`text` with every safe fix applied, or None where there is none."""
        check = self._check(path, text, fix=True)
        outcome = check.run()
        after = next((after for name, (_, after) in outcome.changed.items() if _same(name, path)), None)
        return None if after is None else after.decode("utf-8")

    def witness(self, path: str, *, verify: bool) -> Outcome:
        """What the graph, and a run, say of a saved file's models. Runs the user's code. Raises SettingsError."""
        return Check([path], self.resolver(path, trace=True, verify=verify)).run()

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


def _same(one: str, other: str) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


__all__ = ["Editor", "Positions", "SettingsError", "notebook_text", "suppression"]
