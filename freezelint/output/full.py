"""`full`: the source with carets, related places, the fix and the evidence. The default."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from freezelint.findings import Evidence, Finding, Location, Safety
from freezelint.output import Report
from freezelint.output.concise import CYAN, DIM, GREEN, RESET, SEVERITY_COLOUR, closing, headline, place

CONTEXT = 1  # lines shown before and after
LONGEST = 4  # lines of one finding that are shown


def render(report: Report) -> str:
    blocks = ["\n".join(_block(finding, report)) for finding in report.findings]
    if end := closing(report):
        blocks.append("\n".join(end))
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _block(finding: Finding, report: Report) -> Iterator[str]:
    yield headline(finding, report)
    yield from _excerpt(finding, report)
    for item in finding.related:
        yield f"    {_paint(item.note, CYAN, report)}: {place(item.location)}"
    if finding.fix:
        how = {Safety.SAFE: "", Safety.UNSAFE: " (unsafe fix)", Safety.SHOW: ""}[finding.fix.safety]
        yield f"    {_paint('help', GREEN, report)}: {finding.fix.title}{how}"
    for evidence in finding.evidence:
        who = "verify" if evidence.witness == "run" else evidence.witness
        yield f"    {_paint(who, CYAN, report)}: {settled(evidence)}"


def settled(evidence: Evidence) -> str:
    where = f" on {evidence.device}" if evidence.device else ""
    return f"{evidence.verdict.value}{where}, {evidence.detail}"


def _excerpt(finding: Finding, report: Report) -> Iterator[str]:
    at = finding.location
    last = max(at.end_line or at.line, at.line)
    shown_to = min(last, at.line + LONGEST - 1)
    if not report.lines(at.path, at.cell, at.line):
        return
    numbers = range(max(1, at.line - CONTEXT), shown_to + CONTEXT + 1)
    width = len(str(numbers[-1]))
    for number in numbers:
        text = report.lines(at.path, at.cell, number)
        if not text.strip() and not at.line <= number <= shown_to:
            continue
        yield f"  {_paint(f'{number:>{width}} |', DIM, report)} {_flat(text)}".rstrip()
        if at.line <= number <= shown_to and (carets := _carets(at, number, last, text)):
            colour = SEVERITY_COLOUR[finding.severity.value]
            yield f"  {_paint(' ' * width + ' |', DIM, report)} {_paint(carets, colour, report)}"


def _carets(at: Location, number: int, last: int, text: str) -> str:
    start = at.column if number == at.line else len(text) - len(text.lstrip())
    end = at.end_column if number == last and at.end_line else len(text)
    if end <= start:
        end = start + 1
    indent = " " * _width(text[:start])
    return indent + "^" * max(1, _width(text[start:end].rstrip()))


def _flat(text: str) -> str:
    return text.replace("\t", "    ")


def _width(text: str) -> int:
    """Columns on a terminal: a tab is four, wide letters are two, combining marks none."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    none = sum(unicodedata.combining(char) != 0 for char in text)
    return len(_flat(text)) + wide - none


def _paint(text: str, colour: str, report: Report) -> str:
    return f"{colour}{text}{RESET}" if report.colour else text
