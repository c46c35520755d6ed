"""`json`: one list of records."""

from __future__ import annotations

import json

from freezelint.output import Report
from freezelint.output.records import record


def render(report: Report) -> str:
    return json.dumps([record(finding) for finding in report.findings], indent=2, ensure_ascii=False) + "\n"
