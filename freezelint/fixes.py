"""Fixes as edits on text: lines and columns become offsets, overlapping fixes wait for the next round."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from freezelint.findings import Edit, Finding, Fix, Location, Safety

_NEWLINE = re.compile(r"\r\n|\r|\n")


class Lines:
    """Turns (line from 1, column from 0 in code points) into offsets, with Python's idea of a line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(match.end() for match in _NEWLINE.finditer(text))]
        self.newline = match.group() if (match := _NEWLINE.search(text)) else "\n"

    def offset(self, line: int, column: int) -> int:
        if line > len(self.starts):
            return len(self.text)
        return min(self.starts[line - 1] + column, len(self.text))

    def span(self, location: Location) -> tuple[int, int]:
        start = self.offset(location.line, location.column)
        return start, self.offset(location.end_line or location.line, location.end_column)

    def line(self, number: int) -> str:
        """One line without its end; an empty string past the end of the text."""
        if not 1 <= number <= len(self.starts):
            return ""
        end = self.starts[number] if number < len(self.starts) else len(self.text)
        return self.text[self.starts[number - 1] : end].rstrip("\r\n")


def applicable(fix: Fix | None, *, unsafe: bool) -> bool:
    return bool(fix and fix.edits and (fix.safety is Safety.SAFE or (unsafe and fix.safety is Safety.UNSAFE)))


def apply(texts: Mapping[str, str], findings: Iterable[Finding], *, unsafe: bool) -> tuple[dict[str, str], int]:
    """The texts that change, and how many findings were fixed.

    A fix is applied whole or not at all: where one of its edits would touch an edit already taken, or a file that is
    not in `texts`, it waits for the next round. The earliest fix in a file goes first.
    """
    lines = {path: Lines(text) for path, text in texts.items()}
    taken: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    fixed = 0
    for finding in sorted(findings, key=lambda finding: finding.location):
        fix = finding.fix
        if fix is None or not applicable(fix, unsafe=unsafe):
            continue
        spans = _spans(fix.edits, lines)
        if spans is None or any(_overlaps(span, taken[path]) for path, span in spans):
            continue
        for path, span in spans:
            if span not in taken[path]:
                taken[path].append(span)
        fixed += 1
    changed = {path: _replace(texts[path], spans) for path, spans in taken.items() if spans}
    return {path: text for path, text in changed.items() if text != texts[path]}, fixed


def _spans(edits: Iterable[Edit], lines: dict[str, Lines]) -> list[tuple[str, tuple[int, int, str]]] | None:
    spans = []
    for edit in edits:
        known = lines.get(edit.location.path)
        if known is None:
            return None
        start, end = known.span(edit.location)
        spans.append((edit.location.path, (start, end, _NEWLINE.sub(known.newline, edit.text))))
    return spans


def _overlaps(span: tuple[int, int, str], others: list[tuple[int, int, str]]) -> bool:
    """Whether the span cannot be applied beside the others; the very same edit asked for twice can."""
    start, end, _ = span
    return span not in others and any((start < other[1] and other[0] < end) or start == other[0] for other in others)


def _replace(text: str, spans: list[tuple[int, int, str]]) -> str:
    for start, end, new in sorted(spans, reverse=True):
        text = text[:start] + new + text[end:]
    return text
