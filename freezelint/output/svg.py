"""`svg`: the module trees of the traced models as one still picture, folded, and cut off where they get too long."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from textwrap import wrap

from freezelint.findings import Finding
from freezelint.model_report import ModelReport, count, flop, size
from freezelint.output import Report
from freezelint.output.cost_table import changes, heading
from freezelint.output.module_tree import STATES, Part, cause, located, opened, tree
from freezelint.output.picture import near

WIDTH, ROW, MARGIN = 1180, 24, 24
MOST_ROWS = 60
LETTER = 7.9  # width of one character of a name, in pixels
STATE, PARAMETERS = 560, 775  # left edge, right edge
BARS = (795, 925, 1055)  # left edges of dgrad, wgrad, saved
BAR = 100
STYLE = """
svg { font: 13px system-ui, "DejaVu Sans", sans-serif; background: #ffffff }
text { fill: #1b2330 } .soft { fill: #56606f } .name { font: 600 13px ui-monospace, "DejaVu Sans Mono", monospace }
.title { font-size: 20px; font-weight: 650 } .end { text-anchor: end } .cut { fill: #b83210 } .line { stroke: #d9dde3 }
.page { fill: #ffffff } .all { fill: #cfd5dd } .dgrad { fill: #4a63c9 }
.wgrad { fill: #a3640a } .saved { fill: #6b7686 }
.trains { fill: #0b7a53; stroke: #0b7a53 } .starved { fill: none; stroke: #b83210 }
.passes { fill: none; stroke: #2359b8 } .frozen { fill: #5d6877; stroke: #5d6877 } .glyph { stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  svg { background: #12161c } .page { fill: #12161c } text { fill: #e4e8ee } .soft { fill: #a3adba }
  .cut { fill: #ff8f6b } .line { stroke: #303946 } .all { fill: #3b4553 } .dgrad { fill: #8fa4f5 }
  .wgrad { fill: #e5ad52 } .saved { fill: #8d98a7 } .trains { fill: #4ccb95; stroke: #4ccb95 }
  .starved { stroke: #ff8f6b } .passes { stroke: #86b3ff } .frozen { fill: #9aa5b4; stroke: #9aa5b4 }
}
"""


def render(report: Report) -> str:
    y = MARGIN
    shapes: list[str] = []
    for number, model in enumerate(report.pictures):
        told = report.findings if number == len(report.pictures) - 1 else []
        drawing = Drawing(model, y)
        shapes += drawing.shapes(told)
        y = drawing.y + MARGIN
    names = ", ".join(model.name for model in report.pictures)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">\n'
        f"<title>{escape(_printable(names))}: what backward reaches and costs</title>\n<style>{STYLE}</style>\n"
        f'<rect class="page" width="{WIDTH}" height="{y}"/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


class Drawing:
    """One model, drawn downwards from `y`."""

    def __init__(self, report: ModelReport, y: int) -> None:
        self.report = report
        self.root = tree(report)
        self.open = opened(self.root, MOST_ROWS)
        self.flops = max(report.present.dgrad_flops, report.whole.dgrad_flops, report.whole.wgrad_flops)
        self.bytes = max(report.present.saved_bytes, report.whole.saved_bytes)
        self.y = y

    def shapes(self, findings: list[Finding]) -> list[str]:
        return [*self._top(), *self._rows(self.root, 0), *self._bottom(findings)]

    def _down(self, by: int = ROW) -> int:
        self.y += by
        return self.y

    def _top(self) -> Iterator[str]:
        yield _text(MARGIN, self._down(16), _short(self.report.name, 96), "title")
        subtitle = heading(self.report).removeprefix(f"{self.report.name}: ")
        yield _text(MARGIN, self._down(), _short(subtitle, 150), "soft")
        y = self._down(32)
        for x, state in zip(range(MARGIN, WIDTH, 200), STATES, strict=False):
            yield _glyph(x, y, state)
            yield _text(x + 20, y, f"{STATES[state]}: {count(self.root.elements[state])}")
        yield f'<rect class="all" x="{MARGIN + 800}" y="{y - 7}" width="24" height="4"/>'
        yield _text(MARGIN + 832, y, "with everything trainable", "soft")
        y = self._down(34)
        yield _text(MARGIN, y, f"{self.root.modules} modules", "soft") + _text(STATE, y, "state", "soft")
        for x, name in zip(
            (PARAMETERS, *(x + BAR for x in BARS)), ("parameters", "dgrad", "wgrad", "saved"), strict=True
        ):
            yield _text(x, y, name, "soft end")
        self._down(8)
        yield f'<path class="line" d="M{MARGIN} {self.y}H{WIDTH - MARGIN}"/>'

    def _rows(self, part: Part, depth: int) -> Iterator[str]:
        yield from self._row(part, depth)
        if id(part) in self.open:
            for child in part.children:
                yield from self._rows(child, depth + 1)

    def _row(self, part: Part, depth: int) -> Iterator[str]:
        x, y = MARGIN + 16 * depth, self._down()
        name = part.class_name if part is self.root else part.label
        name += f" \N{MULTIPLICATION SIGN}{part.copies}" if part.copies > 1 else ""
        kind = "" if part is self.root else part.class_name
        if part.children and id(part) not in self.open:
            kind += f" \N{HORIZONTAL ELLIPSIS} {part.modules} modules"
        room = int((STATE - 12 - x) / LETTER)
        name = _short(name, room)
        yield _text(x, y, name, "name")
        if room - len(name) > 8:
            yield _text(round(x + LETTER * (len(name) + 1)), y, _short(kind, room - len(name) - 1), "soft")
        yield from self._states(part, y)
        now, most = part.present, part.whole
        yield from self._bar(0, "dgrad", flop(now.dgrad_flops), now.dgrad_flops, most.dgrad_flops, self.flops)
        yield from self._bar(1, "wgrad", flop(now.wgrad_flops), now.wgrad_flops, most.wgrad_flops, self.flops)
        yield from self._bar(2, "saved", size(now.saved_bytes), now.saved_bytes, most.saved_bytes, self.bytes)
        for mark in part.cuts():
            at = located(mark.cut.place)
            where = f" at {near(at)}" if at else ""
            told = f"\N{BLACK SCISSORS} cut by {cause(mark)}{where}: {len(mark.starved)} parameters starve"
            yield _text(x + 16, self._down(), _short(told, 130), "cut")

    def _states(self, part: Part, y: int) -> Iterator[str]:
        if part.states:
            yield _text(PARAMETERS, y, count(part.parameters), "end")
        for place, state in enumerate(part.states):
            yield _glyph(STATE + 18 * place, y, state)
        if len(part.states) == 1:
            yield _text(STATE + 20, y, STATES[part.states[0]], "soft")
        elif part.states:
            yield _text(STATE + 18 * len(part.states) + 4, y, "mixed", "soft")

    def _bar(self, column: int, name: str, told: str, now: int, most: int, scale: int) -> Iterator[str]:
        if not now and not most:
            return
        x, y = BARS[column], self.y
        yield _text(x + BAR, y, told, "end" if now else "end soft")
        for value, kind in ((most, "all"), (now, name)):
            if value:
                width = max(2.0, BAR * value / scale)
                yield f'<rect class="{kind}" x="{x}" y="{y + 4}" width="{width:.1f}" height="3" rx="1.5"/>'

    def _bottom(self, findings: list[Finding]) -> Iterator[str]:
        self._down(12)
        told = [(f"{near(finding.location)}: {finding.code} {finding.message}", "") for finding in findings]
        told += [(f"what if: {change}", "soft") for change in changes(self.report)]
        told += [(f"note: {note}", "soft") for note in self.report.notes]
        for text, kind in told:
            for line in wrap(text.replace("`", ""), 150):
                yield _text(MARGIN, self._down(20), line, kind)


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x}" y="{y}">{escape(_printable(text))}</text>'


def _printable(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(letter if letter >= " " else " " for letter in text)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: max(most - 1, 1)]}\N{HORIZONTAL ELLIPSIS}"


def _glyph(x: int, y: int, state: str) -> str:
    """Round what is trainable, square what is frozen; a bar across where the gradient goes through or never comes."""
    named, middle = f'class="glyph {state}"', y - 4
    if state == "trains":
        return f'<circle {named} cx="{x + 6}" cy="{middle}" r="5"/>'
    if state == "starved":
        return f'<g {named}><circle cx="{x + 6}" cy="{middle}" r="5"/><path d="M{x + 3} {y - 1}L{x + 9} {y - 7}"/></g>'
    square = f'<rect x="{x + 1}" y="{middle - 5}" width="10" height="10"/>'
    if state == "passes":
        return f'<g {named}>{square}<path d="M{x + 1} {middle}H{x + 11}"/></g>'
    return f"<g {named}>{square}</g>"
