"""Finds and reads settings files: the nearest one wins, `extend` is its base, the command line comes last."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from freezelint.records import replace
from freezelint.settings import CONFIG_NAMES, Settings, SettingsError, Where


class Resolver:
    """The settings of every folder. `overrides` are fields from the command line, `pairs` its `--config KEY=VALUE`."""

    def __init__(
        self,
        overrides: dict[str, Any] | None = None,
        pairs: tuple[str, ...] = (),
        *,
        isolated: bool = False,
        folder: Path | None = None,
        root: Path | None = None,
    ) -> None:
        self.overrides = dict(overrides or {})
        self.folder = folder or Path.cwd()
        self.root = (root or self.folder).absolute()  # of what no settings file speaks for
        self.isolated = isolated
        self.file = next((Path(pair) for pair in pairs if "=" not in pair), None)
        self.pairs = [pair for pair in pairs if "=" in pair]
        if self.file and isolated:
            raise SettingsError(f"--config {self.file}: cannot be used with `--isolated`")
        self._known: dict[Path, Settings] = {}
        self.settings = self.of(self.folder)

    def of(self, folder: Path) -> Settings:
        """The settings for files in `folder`."""
        folder = folder.absolute()
        if folder not in self._known:
            self._known[folder] = self._read(folder)
        return self._known[folder]

    def settings_for(self, path: str) -> Settings:
        """The settings for a file or folder on the command line."""
        full = Path(path).absolute()
        return self.settings if path == "-" else self.of(full if full.is_dir() else full.parent)

    def _read(self, folder: Path) -> Settings:
        file = None if self.isolated else self.file
        if file is None and not self.isolated:
            file = _own(folder)
            if file is None and folder.parent != folder:
                return self.of(folder.parent)
        if file is None:
            return self._finish(Settings(root=self.root))
        settings = load(file)
        return self._finish(replace(settings, root=self.root) if file is self.file else settings)

    def _finish(self, settings: Settings) -> Settings:
        """`settings` under the command line: `--select` replaces what a file chose, the others add to it."""
        for pair in self.pairs:
            try:
                table = parse(pair, "--config")
            except SettingsError:  # a bare word: KEY=cpu
                key, _, value = pair.partition("=")
                table = {key.strip(): value.strip()}
            settings = Settings.from_table(table, Where("--config"), settings)
        changes = dict(self.overrides)
        if "select" in changes:
            settings = replace(settings, ignore=(), extend_select=())
        for name in ("ignore", "extend_select", "extend_exclude"):
            if name in changes:
                changes[name] = (*getattr(settings, name), *changes[name])
        if "per_file_ignores" in changes:
            changes["per_file_ignores"] = {**settings.per_file_ignores, **changes["per_file_ignores"]}
        return replace(settings, **changes, isolated=self.isolated)


def load(file: Path, seen: tuple[Path, ...] = ()) -> Settings:
    """The settings of one file, over those of the file it extends."""
    shown = _shown(file)
    if file in seen:
        raise SettingsError(f"{shown}: `extend` goes in a circle")
    text = _text(file)
    prefix = "tool.freezelint" if file.name == "pyproject.toml" else ""
    where = Where(shown, text, prefix)
    table = dict(_section(parse(text, shown), prefix, where))
    base = Settings()
    if "extend" in table:
        extended = table.pop("extend")
        if not isinstance(extended, str):
            raise SettingsError(f"{where('extend')}: `extend` must be a path")
        target = (file.parent / Path(extended).expanduser()).resolve()
        if not target.is_file():
            raise SettingsError(f"{where('extend')}: `extend`: no file `{extended}`")
        base = load(target, (*seen, file))
    return replace(Settings.from_table(table, where, base), root=file.parent.absolute())


def parse(text: str, shown: str) -> dict[str, Any]:
    """The tables of a TOML file. Raises SettingsError."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:  # the same parser under the name it had before Python took it in
        import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{shown}: not valid TOML: {error}") from None
    return table


def _section(table: dict[str, Any], prefix: str, where: Where) -> dict[str, Any]:
    for name in prefix.split(".") if prefix else ():
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise SettingsError(f"{where(name)}: `{prefix}` must be a table")
    return table


def _own(folder: Path) -> Path | None:
    """The settings file that lies in `folder` itself; a pyproject.toml counts only with our table in it."""
    for name in CONFIG_NAMES:
        file = folder / name
        if os.path.isfile(file) and (name != "pyproject.toml" or _holds_our_table(file)):
            return file
    return None


def _holds_our_table(pyproject: Path) -> bool:
    text = _text(pyproject)
    if re.search(r"^\s*\[+\s*tool\.freezelint\b", text, re.MULTILINE):
        return True
    if "freezelint" not in text:
        return False
    tool = parse(text, _shown(pyproject)).get("tool", {})
    return isinstance(tool, dict) and "freezelint" in tool


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{_shown(file)}: cannot be read: {error}") from None


def _shown(file: Path) -> str:
    try:
        return str(file.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(file)
