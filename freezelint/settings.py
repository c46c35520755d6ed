"""What the user asked for: the command line over the nearest settings file over the defaults.

A settings file is `freezelint.toml` or the `[tool.freezelint]` table of `pyproject.toml`; its keys are the fields of
`Settings` in kebab case. Unknown keys and wrong types are errors that name the file and the line.
"""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path
from typing import Any, get_args, get_origin

from freezelint import book
from freezelint.records import asdict, field, fields, record, replace

CONFIG_NAMES = ("freezelint.toml", ".freezelint.toml", "pyproject.toml")
OUTPUT_FORMATS = ("full", "concise", "text", "json", "json-lines", "sarif", "github", "gitlab", "junit", "html")
PICTURES = ("svg", "dot")  # formats of `freezelint trace` alone
DEVICES = ("auto", "cpu", "cuda")
DEFAULT_EXCLUDE = (
    ".bzr .direnv .eggs .git .hg .ipynb_checkpoints .mypy_cache .nox .pytest_cache .ruff_cache .svn .tox .venv "
    ".vscode __pycache__ __pypackages__ _build build dist node_modules site-packages venv"
).split()
NOT_KEYS = ("isolated", "root")  # fields that no settings file can set
RANGES = {"steps": (1, 20), "timeout_s": (0.1, 86_400.0), "dgrad_threshold": (0.0, 1.0)}


class SettingsError(Exception):
    """A setting that cannot be used; the text names file and line."""


@record(frozen=True)
class ModelSettings:
    """One `[[tool.freezelint.models]]` table: how to build a model, and what of it must be frozen or train."""

    name: str
    build: str  # "pkg.mod:callable"
    inputs: tuple[str, ...] = ()  # "float32[2,3,224,224]" or "pkg.mod:callable"
    loss: str = ""
    frozen: tuple[str, ...] = ()
    trainable: tuple[str, ...] = ()


@record(frozen=True)
class Settings:
    select: tuple[str, ...] = ("FRZ",)
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    per_file_ignores: dict[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: tuple[str, ...] = tuple(DEFAULT_EXCLUDE)
    extend_exclude: tuple[str, ...] = ()
    force_exclude: bool = False
    respect_gitignore: bool = True
    preview: bool = False
    python: Path | None = None
    timeout_s: float = 120.0
    steps: int = 2
    device: str = "auto"
    seed: int = 0
    models: tuple[ModelSettings, ...] = ()
    dgrad_threshold: float = 0.3  # FRZ403: share of a full backward that is still paid
    fix: bool = False
    unsafe_fixes: bool = False
    diff: bool = False
    output_format: str = "full"
    output_file: Path | None = None
    statistics: bool = False
    exit_zero: bool = False
    cache: bool = True
    cache_dir: Path | None = None
    baseline: Path | None = None
    isolated: bool = False
    trace: bool = False
    verify: bool = False
    show_refuted: bool = False
    root: Path = Path()  # folder that patterns are relative to

    @classmethod
    def from_table(cls, table: dict[str, Any], where: Where, base: Settings) -> Settings:
        """`base` with the values of one table; paths are taken from the table's folder."""
        values = {}
        for key, value in table.items():
            name = key.replace("-", "_")
            if name not in types_of(cls) or "_" in key or name in NOT_KEYS:
                raise SettingsError(f"{where(key)}: unknown key `{key}`{_nearest(key, types_of(cls))}")
            values[name] = _convert(value, types_of(cls)[name], key, where)
        check_values(values, where)
        return replace(base, **values)

    def codes(self, known: typing.Iterable[str]) -> frozenset[str]:
        """The rules that are on: the longest matching prefix of `select` or `ignore` decides."""
        return frozenset(code for code in known if self._on(code))

    def allows_preview(self, code: str) -> bool:
        """Whether a rule in preview may speak: all may with `preview`, else the ones selected by their full code."""
        return self.preview or code in self.select or code in self.extend_select

    def _on(self, code: str) -> bool:
        chosen = max((len(p) for p in (*self.select, *self.extend_select) if _matches(code, p)), default=-1)
        ignored = max((len(p) for p in self.ignore if _matches(code, p)), default=-1)
        return chosen > ignored


def check_values(values: dict[str, Any], where: Where) -> None:
    """Raises SettingsError for a value that a field of `Settings` cannot have."""
    for name, value in values.items():
        key = name.replace("_", "-")
        choices = {"output_format": OUTPUT_FORMATS, "device": DEVICES}.get(name, (value,))
        if value not in choices and not (name == "device" and re.fullmatch(r"cuda:[0-9]+", value)):
            named = ", ".join([*choices, *(["cuda:N"] if name == "device" else [])])
            raise SettingsError(f"{where(key)}: `{key}` is one of {named}, not `{value}`")
        if name in ("select", "ignore", "extend_select"):
            check_codes(value, where(key))
        if name == "per_file_ignores":
            for listed in value.values():
                check_codes(listed, where(key))
        low, high = RANGES.get(name, (None, None))
        if low is not None and high is not None and not low <= value <= high:
            raise SettingsError(f"{where(key)}: `{key}` lies between {low} and {high}, not `{value}`")


def check_codes(prefixes: typing.Iterable[str], where: str) -> None:
    """Raises SettingsError for a code or prefix that no rule has."""
    for prefix in prefixes:
        if not any(_matches(code, prefix) for code in book.codes()):
            raise SettingsError(f"{where}: unknown rule `{prefix}`")


def _matches(code: str, prefix: str) -> bool:
    return prefix == "ALL" or code.startswith(prefix.upper())


class Where:
    """Names the line of a key in a settings file."""

    def __init__(self, path: str, text: str = "", table: str = "", near: int = 0) -> None:
        self.path, self.text, self.table = path, text, table
        self.near = near  # the line told where the key has none of its own: in an inline table

    def __call__(self, key: str, table: str | None = None, nth: int = 0) -> str:
        line = _line_of(self.text, key, self.table if table is None else table, nth) or self.near
        return f"{self.path}:{line}" if line else self.path


def _line_of(text: str, key: str, table: str, nth: int) -> int:
    """The line of `key` in `[table]` (its `nth` occurrence for an array of tables), or of the table's header, or 0."""
    current, header, seen = "", 0, -1
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            current = stripped.split("]")[0].strip("[ ")
            if current == table:
                seen, header = seen + 1, number
            elif current == f"{table}.{key}".lstrip("."):
                return number
        elif current == table and seen in (nth, -1) and stripped.partition("=")[0].strip(" \"'") == key:
            return number
    return header


_HINTS: dict[str, dict[str, Any]] = {}


def types_of(cls: type) -> dict[str, Any]:
    """The fields of a settings class with their types."""
    if cls.__name__ not in _HINTS:
        hints = typing.get_type_hints(cls)
        _HINTS[cls.__name__] = {name: hints[name] for name in fields(cls)}
    return _HINTS[cls.__name__]


def _nearest(key: str, names: typing.Iterable[str]) -> str:
    import difflib

    keys = [name.replace("_", "-") for name in names if name not in NOT_KEYS]
    near = difflib.get_close_matches(key.replace("_", "-"), keys, 1)
    return f" (did you mean `{near[0]}`?)" if near else ""


def _convert(value: Any, hint: Any, key: str, where: Where) -> Any:
    """`value` as the field's type, or a SettingsError at the key's line."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, typing.Union):
        hint = next(arg for arg in args if arg is not type(None))
    if hint is Path and isinstance(value, str):
        return (Path(where.path).parent / Path(value).expanduser()).absolute()
    if origin is dict and isinstance(value, dict):
        return {name: _convert(codes, tuple[str, ...], name, _inside(where, key)) for name, codes in value.items()}
    if origin is tuple and args[0] is ModelSettings and isinstance(value, list):
        return tuple(_model(table, number, where) for number, table in enumerate(value))
    if origin is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint in (str, bool) and isinstance(value, hint):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    raise SettingsError(f"{where(key)}: `{key}` must be {_spell(hint)}, not {_spell_value(value)}")


def _inside(where: Where, key: str) -> Where:
    near = _line_of(where.text, key, where.table, 0)
    return Where(where.path, where.text, f"{where.table}.{key}".lstrip("."), near)


def _model(table: Any, nth: int, where: Where) -> ModelSettings:
    spot = f"{where.table}.models".lstrip(".")
    if not isinstance(table, dict):
        raise SettingsError(f"{where('models')}: `models` must be a list of tables")
    hints = types_of(ModelSettings)
    values: dict[str, Any] = {}
    for key, value in table.items():
        inner = Where(where(key, spot, nth))
        if key not in hints:
            raise SettingsError(f"{inner.path}: unknown key `{key}` in `models`{_nearest(key, hints)}")
        listed = [value] if key == "inputs" and isinstance(value, str) else value
        try:
            values[key] = _convert(listed, hints[key], key, inner)
        except SettingsError as error:
            raise SettingsError(str(error)) from None
    if missing := [name for name in ("name", "build") if not values.get(name)]:
        raise SettingsError(f"{where(missing[0], spot, nth)}: a model needs `{missing[0]}`")
    if ":" not in values["build"]:
        raise SettingsError(f'{where("build", spot, nth)}: `build` must be "pkg.mod:callable", not "{values["build"]}"')
    return ModelSettings(**values)


def _spell(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return "a list of strings" if get_args(hint)[0] is str else "a list of tables"
    if get_origin(hint) is dict:
        return "a table of lists of rule codes"
    return {str: "a string", bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}[hint]


def _spell_value(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, (str, int, float)):
        return f"`{value!r}`"
    return "a table" if isinstance(value, dict) else "a list"


def to_json(settings: Settings) -> str:
    """The settings as `--show-settings` prints them."""
    import json

    table = {name.replace("_", "-"): value for name, value in asdict(settings).items()}
    return json.dumps(table, indent=2, default=str)
