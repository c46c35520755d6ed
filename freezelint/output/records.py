"""A finding as the JSON record that ruff's users know, with `related` and `evidence` added.

Rows and columns count from 1; `cell` is the index into the notebook's `cells`, from 0 (ruff counts these from 1).
"""

from __future__ import annotations

import os
from typing import Any

from freezelint import book
from freezelint.findings import Edit, Finding, Fix, Location, Safety

APPLICABILITY = {Safety.SAFE: "safe", Safety.UNSAFE: "unsafe", Safety.SHOW: "display"}


def record(finding: Finding) -> dict[str, Any]:
    at = finding.location
    return {
        "cell": cell(at),
        "code": finding.code,
        "end_location": end(at),
        "evidence": [
            {
                "witness": item.witness,
                "verdict": item.verdict.value,
                "detail": item.detail,
                "device": item.device,
                "numbers": item.numbers,
            }
            for item in finding.evidence
        ],
        "filename": os.path.abspath(at.path),
        "fix": finding.fix and _fix(finding.fix, at.path),
        "location": start(at),
        "message": finding.message,
        "name": book.name(finding.code),
        "noqa_row": at.line,
        "related": [
            {
                "cell": cell(item.location),
                "end_location": end(item.location),
                "filename": os.path.abspath(item.location.path),
                "location": start(item.location),
                "message": item.note,
            }
            for item in finding.related
        ],
        "severity": finding.severity.value,
        "url": book.url(finding.code),
    }


def _fix(fix: Fix, path: str) -> dict[str, Any]:
    return {
        "applicability": APPLICABILITY[fix.safety],
        "edits": [_edit(edit, path) for edit in fix.edits],
        "message": fix.title,
    }


def _edit(edit: Edit, path: str) -> dict[str, Any]:
    data = {"content": edit.text, "end_location": end(edit.location), "location": start(edit.location)}
    if edit.location.path != path:
        data["filename"] = os.path.abspath(edit.location.path)
    return data


def start(at: Location) -> dict[str, int]:
    return {"column": at.column + 1, "row": at.line}


def end(at: Location) -> dict[str, int]:
    if not at.end_line:
        return start(at)
    return {"column": at.end_column + 1, "row": at.end_line}


def cell(at: Location) -> int | None:
    return None if at.cell is None else at.cell - 1
