"""`json-lines`: one record a line."""

from __future__ import annotations

import json

from freezelint.output import Report
from freezelint.output.records import record


def render(report: Report) -> str:
    return "".join(json.dumps(record(finding), ensure_ascii=False) + "\n" for finding in report.findings)
