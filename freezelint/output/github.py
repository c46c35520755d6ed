"""`github`: workflow commands, which GitHub Actions shows beside the lines of a pull request."""

from __future__ import annotations

from freezelint.findings import Finding, Severity
from freezelint.output import Report
from freezelint.output.concise import place

LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.HINT: "notice"}


def render(report: Report) -> str:
    return "".join(f"{_command(finding)}\n" for finding in report.findings)


def _command(finding: Finding) -> str:
    at = finding.location
    fields = {"title": f"freezelint ({finding.code})", "file": at.path}
    if at.cell is None:  # GitHub shows a notebook as its JSON: a cell's line numbers would point at nothing
        last = at.end_line or at.line
        fields |= {"line": str(at.line), "endLine": str(last)}
        if last == at.line:
            fields |= {"col": str(at.column + 1), "endColumn": str(max(at.end_column, at.column) + 1)}
    listed = ",".join(f"{name}={_escape(value, ',:')}" for name, value in fields.items())
    text = f"{place(at)}: {finding.code} {finding.message}"
    return f"::{LEVEL[finding.severity]} {listed}::{_escape(text)}"


def _escape(text: str, more: str = "") -> str:
    for char in "%\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text
