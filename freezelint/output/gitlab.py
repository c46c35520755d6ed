"""`gitlab`: a Code Quality report."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from freezelint.findings import Finding, Severity
from freezelint.output import Report

SEVERITY = {Severity.ERROR: "major", Severity.WARNING: "minor", Severity.HINT: "info"}


def render(report: Report) -> str:
    seen: dict[str, int] = {}
    return json.dumps([_issue(finding, report, seen) for finding in report.findings], indent=2) + "\n"


def _issue(finding: Finding, report: Report, seen: dict[str, int]) -> dict[str, Any]:
    at = finding.location
    return {
        "description": finding.message,
        "check_name": finding.code,
        "fingerprint": fingerprint(finding, report, seen),
        "severity": SEVERITY[finding.severity],
        "location": {
            "path": at.path.replace("\\", "/") if os.sep == "\\" else at.path,
            "positions": {
                "begin": {"line": at.line, "column": at.column + 1},
                "end": {"line": at.end_line or at.line, "column": at.end_column + 1},
            },
        },
    }


def fingerprint(finding: Finding, report: Report, seen: dict[str, int]) -> str:
    """Rule, file and text of the line: a shift of lines does not change it; the second of two equal ones differs."""
    at = finding.location
    line = " ".join(report.lines(at.path, at.cell, at.line).split())
    base = f"{finding.code}\0{at.path}\0{line}"
    count = seen[base] = seen.get(base, 0) + 1
    return hashlib.sha256(f"{base}\0{count}".encode(errors="surrogateescape")).hexdigest()
