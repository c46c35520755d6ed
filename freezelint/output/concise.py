"""`concise`: one line a finding, `path:line:column: CODE message`."""

from __future__ import annotations

from freezelint.findings import Finding, Location
from freezelint.fixes import applicable
from freezelint.output import Report, fix_line, sum_up

BOLD, DIM, RED, YELLOW, CYAN, GREEN, RESET = (f"\033[{n}m" for n in ("1", "2", "31", "33", "36", "32", "0"))
SEVERITY_COLOUR = {"error": RED, "warning": YELLOW, "hint": CYAN}


def render(report: Report) -> str:
    rows = [headline(finding, report) for finding in report.findings]
    return "".join(f"{row}\n" for row in (*rows, *closing(report)))


def headline(finding: Finding, report: Report) -> str:
    paint = report.colour
    colour = SEVERITY_COLOUR[finding.severity.value]
    code = f"{BOLD}{colour}{finding.code}{RESET}" if paint else finding.code
    where = f"{BOLD}{place(finding.location)}{RESET}" if paint else place(finding.location)
    star = "[*] " if applicable(finding.fix, unsafe=report.unsafe_fixes) else ""
    hint = "hint: " if finding.severity.value == "hint" else ""
    return f"{where}: {code} {star}{hint}{finding.message}"


def place(at: Location) -> str:
    cell = f"cell {at.cell}:" if at.cell else ""
    return f"{at.path}:{cell}{at.line}:{at.column + 1}"


def closing(report: Report) -> list[str]:
    """Tables, notes and the sum-up line, which every text format ends with."""
    if report.quiet:
        return [*report.tables, *report.notes]
    rows = [row for table in report.tables for row in (table, "")] + report.notes
    last = sum_up(report)
    if report.colour:
        last = f"{BOLD}{last}{RESET}"
    rows.append(last)
    if line := fix_line(report):
        rows.append(line)
    return rows
