"""What is printed: one module a format, each with `render(report) -> str` over plain findings."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable

from freezelint.findings import Finding, Severity, Verdict
from freezelint.fixes import applicable
from freezelint.model_report import ModelReport
from freezelint.records import field, record

FORMATS = {
    "full": "full",
    "text": "full",
    "concise": "concise",
    "json": "json",
    "json-lines": "json_lines",
    "sarif": "sarif",
    "github": "github",
    "gitlab": "gitlab",
    "junit": "junit",
    "html": "html",
    "svg": "svg",
    "dot": "dot",
}


def _no_line(*_: object) -> str:
    return ""


@record
class Report:
    """Everything a format may show."""

    findings: list[Finding]
    files: int = 0
    fixed: int = 0
    models: int = 0  # traced
    runs: int = 0
    tables: list[str] = field(default_factory=list)  # what the models cost, as text
    pictures: list[ModelReport] = field(default_factory=list)  # the same models, for the formats that draw them
    notes: list[str] = field(default_factory=list)  # what was not looked at, and why
    refuted: int = 0
    hidden: int = 0  # known from the baseline
    lines: Callable[[str, int | None, int], str] = _no_line  # the text of a line, by path, cell and number
    colour: bool = False
    quiet: bool = False  # no sum-up
    unsafe_fixes: bool = False

    def count(self, verdict: Verdict) -> int:
        return sum(any(item.verdict is verdict for item in finding.evidence) for finding in self.findings)


def render(report: Report, name: str) -> str:
    """The report in the format `name`."""
    module = importlib.import_module(f"freezelint.output.{FORMATS[name]}")
    text: str = module.render(report)
    return text


def sum_up(report: Report) -> str:
    """The last line: what was found, in how much, and what was settled."""
    counts = Counter(finding.severity for finding in report.findings)
    found = [plural(counts[severity], severity.value) for severity in Severity if counts[severity]]
    where = f" in {plural(report.files, 'file')}" if report.files or not (report.models or report.findings) else ""
    parts = [f"Found {', '.join(found)}{where}" if found else f"All checks passed{where}"]
    if report.fixed:
        parts.append(f"{report.fixed} fixed")
    if report.hidden:
        parts.append(f"{report.hidden} known from the baseline")
    if report.models:
        parts.append(f"{plural(report.models, 'model')} traced")
    if report.runs:
        parts.append(f"{plural(report.runs, 'run')} made")
    confirmed = report.count(Verdict.CONFIRMED)
    if report.models or report.runs or confirmed or report.refuted:
        parts.append(f"{confirmed} confirmed, {report.refuted} refuted")
    return "; ".join(parts)


def fix_line(report: Report) -> str:
    """How many findings `--fix` would mend, or an empty string."""
    safe = sum(applicable(finding.fix, unsafe=False) for finding in report.findings)
    more = sum(applicable(finding.fix, unsafe=True) for finding in report.findings) - safe
    if report.unsafe_fixes:
        return f"[*] {safe + more} fixable with `--fix --unsafe-fixes`" if safe + more else ""
    if safe and more:
        return f"[*] {safe} fixable with `--fix` ({more} more with `--unsafe-fixes`)"
    if safe:
        return f"[*] {safe} fixable with `--fix`"
    return f"{more} fixable with `--fix --unsafe-fixes`" if more else ""


def statistics(findings: list[Finding]) -> str:
    """One line a rule: how often, code, whether `--fix` mends it, name."""
    from freezelint import book

    counts = Counter(finding.code for finding in findings)
    mended = {finding.code for finding in findings if applicable(finding.fix, unsafe=False)}
    any_mended = bool(mended)
    rows = []
    for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        mark = ("[*] " if code in mended else "[ ] ") if any_mended else ""
        rows.append(f"{count}\t{code}\t{mark}{book.name(code)}")
    return "\n".join(rows)


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
