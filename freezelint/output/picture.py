"""The picture of a traced model as a piece of HTML: the module tree, what was found beside it, totals and changes.

It stands alone: one `div` whose style and script touch nothing outside of it, for a page and for a notebook.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from zlib import crc32

from freezelint.findings import Finding, Location, Severity
from freezelint.gradient_map import Node
from freezelint.model_report import ModelReport, WhatIf, count, flop, size
from freezelint.output.concise import place
from freezelint.output.cost_table import heading
from freezelint.output.full import settled
from freezelint.output.module_tree import STATES, Mark, Part, cause, located, opened, tree
from freezelint.worker.bill import Bill

ROWS_AT_FIRST = 40
LETTERS = {"starved": "s", "trains": "t", "passes": "p", "frozen": "f"}
MEANING = {
    "trains": "trainable, a gradient arrives",
    "starved": "trainable, no gradient arrives, or zeros alone",
    "passes": "frozen, the gradient goes through: dgrad only",
    "frozen": "frozen, no gradient comes here",
}
Lines = Callable[[str, int | None, int], str]


def fragment(report: ModelReport, findings: list[Finding], lines: Lines) -> str:
    """One model's picture with its own style and script. `lines`: the text of a line, by path, cell and number.

    The page around it may style lists and paragraphs of its own: every selector here gets the weight of an id.
    """
    strong = style().replace(".frz", ":is(.frz, #frz)")
    return f"{strong}{body(report, findings, lines)}{script()}"


def style() -> str:
    return f"<style>\n{_asset('picture.css')}</style>\n"


def script() -> str:
    return f"<script>\n{_asset('picture.js')}</script>\n"


def body(report: ModelReport, findings: list[Finding] | None, lines: Lines) -> str:
    """The picture alone; without `findings`, they are told elsewhere on the page."""
    root = tree(report)
    beside = "".join(_beside(report, root, findings, lines))
    return (
        f'<div class="frz">\n<header><h2>{_text(report.name)}</h2><p class="sub">{_text(_subtitle(report))}</p>\n'
        f"{_tiles(report, root)}</header>\n"
        f'<div class="both"><section class="tree" aria-label="Modules">\n{_tools(root)}{_heads(root)}'
        f"<ul>{''.join(Rows(root, report.name))}</ul>\n{_footnote()}</section>\n<aside>{beside}</aside></div>\n</div>\n"
    )


@cache
def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _text(text: str) -> str:
    return html.escape(text)


def code(text: str) -> str:
    """Escaped text with its backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text, quote=False))


def _subtitle(report: ModelReport) -> str:
    return heading(report).removeprefix(f"{report.name}: ")


def near(at: Location) -> str:
    """path:line, with the path as seen from the working folder."""
    return place(_from_here(at)).rpartition(":")[0]


def _from_here(at: Location) -> Location:
    path = os.path.relpath(at.path) if os.path.isabs(at.path) else at.path
    return Location(at.path if path.startswith("..") else path, at.line, at.column, cell=at.cell)


def _tiles(report: ModelReport, root: Part) -> str:
    """The sums of the model, each beside what it is with everything trainable."""
    now, most = report.present, report.whole
    trainable = root.elements["trains"] + root.elements["starved"]
    tiles = [
        ("parameters", count(root.parameters), f"{count(trainable)} trainable", trainable, root.parameters),
        ("forward", flop(now.forward_flops), f"{count(report.operations)} operations", 0, 0),
        *(
            (name, flop(spent), f"of {flop(whole)}, {ops} of {whole_ops} ops", spent, whole)
            for name, spent, whole, ops, whole_ops in (
                ("dgrad", now.dgrad_flops, most.dgrad_flops, now.dgrad_ops, most.dgrad_ops),
                ("wgrad", now.wgrad_flops, most.wgrad_flops, now.wgrad_ops, most.wgrad_ops),
            )
        ),
        (
            "saved for backward",
            size(now.saved_bytes),
            f"of {size(most.saved_bytes)}",
            now.saved_bytes,
            most.saved_bytes,
        ),
        _last_tile(report),
    ]
    return f'<dl class="tiles">{"".join(_tile(*tile) for tile in tiles)}</dl>\n{_mix(root)}'


def _last_tile(report: ModelReport) -> tuple[str, str, str, int, int]:
    """What the freeze saves; where parameters starve, how many: backward is short for the wrong reason then."""
    starved = len(report.starved())
    trainable = sum(row.trainable for row in report.parameters)
    if starved:
        return "starved", str(starved), f"of {trainable} trainable tensors", starved, trainable
    now, most = report.present.backward_flops, report.whole.backward_flops
    share = f"{report.share_of_backward():.3f}" if most else "none"
    return "backward", share, "of everything trainable", now, most


def _tile(name: str, value: str, more: str, part: int, whole: int) -> str:
    bar = f'<i class="bar"><i style="width:{_percent(part, whole)}"></i></i>' if whole else ""
    return f"<div><dt>{name}</dt><dd><b>{value}</b> <small>{more}</small>{bar}</dd></div>"


def _mix(root: Part) -> str:
    """Share of the parameters in each state, and the key to the marks in the tree."""
    total = root.parameters
    strip = "".join(
        f'<i class="{state}" style="flex-grow:{root.elements[state] / total:.4f}"></i>'
        for state in root.states
        if root.elements[state]
    )
    keys = "".join(
        f'<li><button type="button" data-s="{LETTERS[state]}" aria-pressed="false" title="Show these only">'
        f"{_glyph(state)}<b>{STATES[state]}</b> <span>{count(root.elements[state])}</span></button>"
        f"<small>{MEANING[state]}</small></li>"
        for state in MEANING
    )
    return f'<div class="mix" aria-hidden="true">{strip}</div>\n<ul class="key">{keys}</ul>\n'


def _glyph(state: str) -> str:
    return f'<i class="g {state}"></i>'


def _percent(part: int, whole: int) -> str:
    return f"{100 * min(part, whole) / whole:.2f}".rstrip("0").rstrip(".") + "%" if whole else "0"


def _tools(root: Part) -> str:
    """Search and the buttons; they need the script, which shows them."""
    return (
        '<div class="tools" hidden><input type="search" aria-label="Filter modules by name or class" '
        'placeholder="Filter by name or class"><output></output>'
        '<button type="button" data-do="open">Open all</button><button type="button" data-do="shut">Close all</button>'
        "</div>\n"
    )


def _heads(root: Part) -> str:
    names = ("parameters", "dgrad", "wgrad", "saved")
    return f'<div class="row heads"><span>{root.modules} modules</span><span>state</span>' + (
        "".join(f"<span>{name}</span>" for name in names) + "</div>\n"
    )


def _footnote() -> str:
    return (
        '<p class="foot">Bars share one scale. <i class="bar"><i></i></i> what backward costs as it is frozen; '
        '<i class="bar all"><i></i></i> what it would cost with everything trainable. '
        "A row's figures include all below it; operations without a product, such as a norm, count no FLOPs.</p>\n"
    )


class Rows:
    """The tree as nested lists. Iterating gives pieces of HTML."""

    def __init__(self, root: Part, name: str) -> None:
        self.root = root
        self.name = name
        self.open = opened(root, ROWS_AT_FIRST)
        self.flops = max(root.present.dgrad_flops, root.whole.dgrad_flops, root.whole.wgrad_flops)
        self.bytes = max(root.present.saved_bytes, root.whole.saved_bytes)

    def __iter__(self) -> Iterator[str]:
        return self._item(self.root)

    def _item(self, part: Part) -> Iterator[str]:
        letters = "".join(LETTERS[state] for state in part.states)
        marked = " data-cut" if part.marks else ""
        yield f'<li data-p="{_text(part.path)}" data-s="{letters}"{marked}>'
        if part.children:
            yield f"<details{' open' if id(part) in self.open else ''}><summary>{self._cells(part)}</summary><ul>"
            for child in part.children:
                yield from self._item(child)
            if part.each:
                yield from self._each(part)
            yield "</ul></details>"
        elif part.each:
            yield f"<details><summary>{self._cells(part)}</summary><ul>"
            for child in part.each:
                yield from self._item(child)
            yield "</ul></details>"
        else:
            yield f'<div class="leaf" tabindex="-1">{self._cells(part)}</div>'
        yield "</li>\n"

    def _each(self, part: Part) -> Iterator[str]:
        yield f'<li class="each"><details><summary>each of the {len(part.each)}</summary><ul>'
        for child in part.each:
            yield from self._item(child)
        yield "</ul></details></li>"

    def _cells(self, part: Part) -> str:
        times = f' <em class="times">&times;{part.copies}</em>' if part.copies > 1 else ""
        kind = f" <span>{_text(part.class_name)}</span>" if part.class_name and part is not self.root else ""
        label = part.class_name if part is self.root else part.label
        now, most = part.present, part.whole
        shared = "shared" if part.shared and not part.parameters else ""
        return (
            f'<span class="row"><span class="name"><b>{_text(label)}</b>{times}{kind}{self._pills(part)}</span>'
            f'<span class="state">{_states(part)}</span>'
            f'<span class="n">{shared or (count(part.parameters) if part.states else "")}</span>'
            f"{self._cell('dgrad', flop, now.dgrad_flops, most.dgrad_flops, self.flops)}"
            f"{self._cell('wgrad', flop, now.wgrad_flops, most.wgrad_flops, self.flops)}"
            f"{self._cell('saved', size, now.saved_bytes, most.saved_bytes, self.bytes)}</span>"
        )

    def _pills(self, part: Part) -> str:
        return "".join(
            f' <a class="cut" href="#{anchor(self.name, mark)}">cut by <code>{_text(cause(mark))}</code>{_at(mark)}</a>'
            for mark in part.cuts()
        )

    def _cell(self, name: str, shown: Callable[[int], str], now: int, most: int, scale: int) -> str:
        if not now and not most:
            return '<span class="c none"></span>'
        widths = f"--now:{_percent(now, scale)};--all:{_percent(most, scale)}"
        zero = "" if now else " zero"
        return f'<span class="c {name}{zero}" style="{widths}"><b>{name} </b>{shown(now)}</span>'


def _states(part: Part) -> str:
    """Marks and words; of three and more the marks, which the key above the tree explains."""
    if len(part.states) > 2:
        words = ", ".join(STATES[state] for state in part.states)
        return f'<span class="mixed" title="{words}">{"".join(map(_glyph, part.states))} mixed</span>'
    return " ".join(f"<span>{_glyph(state)}{STATES[state]}</span>" for state in part.states)


def anchor(name: str, mark: Mark) -> str:
    """Where a cut is told, unlike that of another model on the page."""
    return f"frz-{crc32(name.encode()):08x}-cut-{mark.number}"


def _at(mark: Mark) -> str:
    at = located(mark.cut.place)
    return f" at {_text(near(at))}" if at else ""


def _beside(report: ModelReport, root: Part, findings: list[Finding] | None, lines: Lines) -> Iterator[str]:
    """Sections beside the tree, each left out where there is nothing to tell."""
    if findings is not None:
        told = [_finding(finding, lines) for finding in sorted(findings, key=_weight)]
        yield from _section("Findings", told or ["No rule has anything to say."])
    yield from _section("Where the gradient is cut", [*_cuts(report.name, root, lines), *_without_way(report)])
    yield from _section("What if", [_change(change, report.present) for change in report.what_if])
    yield from _section("Tensors that ask for a gradient", [_asking(node) for node in report.gradient_inputs()])
    yield from _section("Declared", _contract(report))
    yield from _section("Notes", [code(note) for note in report.notes])


def _section(title: str, items: list[str]) -> Iterator[str]:
    if items:
        yield f"<section><h3>{title}</h3><ul>{''.join(f'<li>{item}</li>' for item in items)}</ul></section>\n"


def _weight(finding: Finding) -> int:
    return list(Severity).index(finding.severity)


def _finding(finding: Finding, lines: Lines) -> str:
    at = finding.location
    rows = [
        f'<p class="{finding.severity.value}"><b>{finding.code}</b> <em>{finding.severity.value}</em> '
        f"{code(finding.message)}</p>",
        *_quoted(at, lines),
    ]
    rows += [f"<p class=more>{code(item.note)}: {_text(near(item.location))}</p>" for item in finding.related]
    if finding.fix:
        rows.append(f"<p class=more>help: {code(finding.fix.title)}</p>")
    rows += [f"<p class=more>{item.witness}: {code(settled(item))}</p>" for item in finding.evidence]
    return "".join(rows)


def _quoted(at: Location | None, lines: Lines) -> Iterator[str]:
    if at is not None:
        text = lines(at.path, at.cell, at.line).strip()
        yield f'<p class="where">{_text(near(at))}</p>' + (f"<pre>{_text(text)}</pre>" if text else "")


def _cuts(name: str, root: Part, lines: Lines) -> Iterator[str]:
    """One entry for each line of code that cuts, with every module it does so in."""
    marked: dict[int, tuple[Mark, dict[str, None], set[str]]] = {}
    for part in root.inside():
        for mark in part.cuts():
            _, paths, names = marked.setdefault(mark.number, (mark, {}, set()))
            paths[part.path or part.class_name] = None
            names.update(mark.starved)
    for mark, paths, names in (marked[number] for number in sorted(marked)):
        where = ", ".join(
            f'<a class="to" href="#" data-to="{_text(path)}"><code>{_text(path)}</code></a>' for path in paths
        )
        quote = "".join(_quoted(located(mark.cut.place), lines))
        told = f"<b>{_text(cause(mark))}</b> in {where} starves {_listed(names)}"
        yield f'<p id="{anchor(name, mark)}" tabindex="-1">{told}</p>{quote}'


def _listed(names: Iterable[str]) -> str:
    """Parameters by number, the names behind a click."""
    found = sorted(names)
    if len(found) == 1:
        return f"<code>{_text(found[0])}</code>"
    shown = ", ".join(f"<code>{_text(name)}</code>" for name in found)
    return f"<details><summary>{len(found)} parameters</summary>{shown}</details>"


def _without_way(report: ModelReport) -> Iterator[str]:
    names = [node.name for node in report.unreachable()]
    if names:
        yield f"<p><b>unused</b> No loss depends on {_listed(names)}</p>"


def _change(change: WhatIf, now: Bill) -> str:
    share = _percent(change.saved_flops, now.backward_flops)
    saved = f", {size(change.saved_bytes)} less saved" if change.saved_bytes else ""
    how = "recorded again" if change.confirmed else "computed"
    at = f'<p class="where">{_text(near(change.place))}</p>' if change.place else ""
    whole = now.backward_flops
    part = round(100 * change.saved_flops / whole) if whole else 0
    return (
        f"<p>{code(change.title)}</p>{at}<p class=more>backward <b>&minus;{part} %</b>, {flop(change.saved_flops)} less"
        f'{saved} <span>({how})</span></p><i class="bar"><i style="width:{share}"></i></i>'
    )


def _asking(node: Node) -> str:
    told = {True: "its gradient is read", False: "nobody reads its gradient", None: "whether it is read is not known"}
    at = located(node.place)
    where = f'<p class="where">{_text(near(at))}</p>' if at else ""
    return f"<p><code>{_text(node.name)}</code> requires grad; {told[node.read]}</p>{where}"


def _contract(report: ModelReport) -> list[str]:
    told = (("frozen", report.frozen), ("trainable", report.trainable))
    return [
        f"<p>{word}: {', '.join(f'<code>{_text(item)}</code>' for item in items)}</p>" for word, items in told if items
    ]
