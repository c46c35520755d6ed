"""The JSON schema of a settings file, made from the fields of `Settings`; editors complete and check with it.

`python -m freezelint.settings_schema` writes it to `settings.schema.json` in the package.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args, get_origin

from freezelint.records import REQUIRED, fields
from freezelint.settings import DEVICES, NOT_KEYS, OUTPUT_FORMATS, RANGES, ModelSettings, Settings, types_of

CODE = {"type": "string", "pattern": "^(ALL|FRZ[0-9]{0,3})$"}
STRINGS = {"type": "array", "items": {"type": "string"}}


def schema() -> dict[str, Any]:
    properties: dict[str, Any] = {"extend": {"type": "string", "description": "A settings file to start from."}}
    for name in fields(Settings):
        if name not in NOT_KEYS:
            properties[name.replace("_", "-")] = _property(name, types_of(Settings)[name])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:freezelint:settings",
        "title": "freezelint.toml, or [tool.freezelint] in pyproject.toml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _property(name: str, hint: Any) -> dict[str, Any]:
    if name == "models":
        return {"type": "array", "items": _model()}
    if name == "per_file_ignores":
        return {"type": "object", "additionalProperties": {"type": "array", "items": CODE}}
    if name in ("select", "ignore", "extend_select"):
        return {"type": "array", "items": CODE}
    if name == "output_format":
        return {"enum": list(OUTPUT_FORMATS)}
    if name == "device":
        return {"anyOf": [{"enum": list(DEVICES)}, {"type": "string", "pattern": "^cuda:[0-9]+$"}]}
    if get_origin(hint) is tuple:
        return STRINGS
    plain = {bool: "boolean", int: "integer", float: "number", str: "string"}.get(hint, "string")
    bounds = dict(zip(("minimum", "maximum"), RANGES.get(name, ()), strict=False))
    return {"type": plain, **bounds}


def _model() -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name in fields(ModelSettings):
        is_list = get_origin(types_of(ModelSettings)[name]) is tuple
        assert not is_list or get_args(types_of(ModelSettings)[name])[0] is str
        properties[name] = STRINGS if is_list else {"type": "string"}
    properties["inputs"] = {"anyOf": [{"type": "string"}, STRINGS]}
    properties["build"] = {"type": "string", "pattern": ":"}
    required = [name for name, default in fields(ModelSettings).items() if default is REQUIRED]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def main() -> None:
    Path(__file__).with_name("settings.schema.json").write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
