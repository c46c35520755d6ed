"""What `freezelint rule --all` prints: every rule with its name, who raises it, its severity, its fix and whether it is
on without being asked for."""

from __future__ import annotations

import json
from typing import Any

from freezelint import book


def render(output_format: str) -> str:
    rows = [_row(code) for code in book.codes()]
    if output_format == "json":
        return json.dumps(rows, indent=2)
    lines = []
    for row in rows:
        state = "--preview" if row["preview"] else "on"
        cells = (row["code"], f"{row['name']:<32}", f"{' '.join(row['witnesses']):<17}", f"{row['severity']:<8}")
        lines.append("  ".join((*cells, f"{row['fix']:<7}", state)).rstrip())
    head = f"{'code':<6}  {'name':<32}  {'raised by':<17}  {'severity':<8}  {'fix':<7}  default"
    return "\n".join([head.rstrip(), *lines])


def as_json(code: str) -> str:
    return json.dumps({**_row(code), "page": book.page(code)}, indent=2)


def _row(code: str) -> dict[str, Any]:
    from freezelint.rule import all_rules

    rule = all_rules().get(code)
    return {
        "code": code,
        "name": book.name(code),
        "witnesses": list(book.witnesses(code)),
        "severity": rule.severity.value if rule else "",
        "fix": rule.safety.value if rule and rule.safety.value != "show" else "",
        "preview": bool(rule and rule.preview),
    }
