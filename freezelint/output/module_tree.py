"""The module tree of a traced model, as pictures show it: sums for every part, repeated layers folded, cuts in place.

A *fold* stands for sibling modules that are alike (`layers.0-31`, 32 copies): its children are those of the copies,
summed, and `each` holds the copies one by one. Sums never count a parameter twice, however many modules share it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from string import ascii_letters

from freezelint.findings import Location
from freezelint.gradient_map import Cut
from freezelint.model_report import ModelReport, ModuleRow
from freezelint.records import field, record, replace
from freezelint.worker.bill import Bill

STATES = {
    "starved": "starved",
    "trains": "trains",
    "passes": "frozen, passed",
    "frozen": "frozen",
}  # of parameters, worst first, in the words of the cost table
FEWEST_COPIES = 3
LONGEST_PERIOD = 8
NUMBERED = re.compile(r"(.*?)(\d+)")


@record(frozen=True)
class Mark:
    """A place in a module's forward where the gradient of trainable parameters is lost.

    One line of code that many modules run has one `number`, counted from 1 in the order of the report.
    """

    number: int
    cut: Cut
    starved: frozenset[str]


@record
class Part:
    """A module with everything below it. `elements`: its parameters by state, each counted once."""

    path: str
    label: str
    class_name: str
    present: Bill
    whole: Bill
    elements: Counter[str] = field(default_factory=Counter)
    modules: int = 1
    shared: bool = False  # its own parameters belong to a module that stands before it
    marks: list[Mark] = field(default_factory=list)
    children: list[Part] = field(default_factory=list)
    copies: int = 1
    each: list[Part] = field(default_factory=list)

    @property
    def parameters(self) -> int:
        return sum(self.elements.values())

    @property
    def states(self) -> list[str]:
        return [state for state in STATES if state in self.elements]

    def cuts(self) -> list[Mark]:
        """Its marks, one for each line of code; a fold's with what all copies lose there."""
        found: dict[int, Mark] = {}
        for mark in self.marks:
            known = found.setdefault(mark.number, mark)
            found[mark.number] = replace(known, starved=known.starved | mark.starved)
        return list(found.values())

    def inside(self) -> Iterator[Part]:
        """Itself and all parts below, copies that a fold stands for left out."""
        yield self
        for child in self.children:
            yield from child.inside()


def tree(report: ModelReport) -> Part:
    """The folded tree of a report; the root is the model itself."""
    return folded(plain_tree(report))


def marks(report: ModelReport) -> list[Mark]:
    """The cuts that starve parameters, one for each line of code and module."""
    numbers: dict[tuple[str, str], int] = {}
    found: dict[tuple[int, str], Mark] = {}
    for cut, nodes in report.map.starved(report.starts):
        number = numbers.setdefault((cut.cause.value, str(cut.place)), len(numbers) + 1)
        known = found.get((number, cut.module))
        names = frozenset(node.name for node in nodes) | (known.starved if known else frozenset())
        found[number, cut.module] = Mark(number, cut, names)
    return list(found.values())


def plain_tree(report: ModelReport) -> Part:
    """Every module on its own, in the order of the model."""
    rows = {row.path: row for row in report.modules}
    parts: dict[str, Part] = {}
    root = _part(rows.get("", ModuleRow("", report.name, "", 0, 0, 0, 0, Bill(), Bill())), report.name)
    parts[""] = root
    for path in rows:
        _place(path, parts, rows)
    for mark in marks(report):
        _nearest(mark.cut.module, parts).marks.append(mark)
    _count_parameters(report, parts, rows)
    for part in parts.values():
        _show_own(part)
    _sum_up(root)
    return root


def _part(row: ModuleRow, label: str) -> Part:
    return Part(row.path, label, row.class_name, row.present, row.whole)


def _place(path: str, parts: dict[str, Part], rows: dict[str, ModuleRow]) -> Part:
    """The part of a path, made with its parents where it is not there yet."""
    if path not in parts:
        above, _, label = path.rpartition(".")
        row = rows.get(path) or ModuleRow(path, "", "", 0, 0, 0, 0, Bill(), Bill())
        parts[path] = _part(row, label)
        _place(above, parts, rows).children.append(parts[path])
    return parts[path]


def _nearest(path: str, parts: dict[str, Part]) -> Part:
    while path not in parts:
        path = path.rpartition(".")[0]
    return parts[path]


def _count_parameters(report: ModelReport, parts: dict[str, Part], rows: dict[str, ModuleRow]) -> None:
    owners = set()
    for parameter in report.parameters:
        owner = parameter.name.rpartition(".")[0]
        owners.add(owner)
        row = rows.get(owner)
        if parameter.trainable:
            state = "trains" if parameter.reached and not parameter.zero else "starved"
        else:
            state = "passes" if row and (row.state == "passes" or row.present.dgrad_flops) else "frozen"
        _nearest(owner, parts).elements[state] += parameter.elements
    for path, row in rows.items():
        if row.own_parameters and path not in owners:
            parts[path].shared = True
            parts[path].elements[row.state] += 0


def _show_own(part: Part) -> None:
    """A child for what a module with children has or does itself."""
    costs = (part.present, part.whole)
    if part.children and (part.elements or any(bill.backward_flops or bill.saved_bytes for bill in costs)):
        own = Part(part.path, "(own)", "", part.present, part.whole, part.elements, modules=0, shared=part.shared)
        part.present, part.whole, part.elements, part.shared = Bill(), Bill(), Counter(), False
        part.children.insert(0, own)


def _sum_up(part: Part) -> None:
    for child in part.children:
        _sum_up(child)
        _add(part, child)


def _add(part: Part, other: Part) -> None:
    part.present += other.present
    part.whole += other.whole
    for state, count in other.elements.items():
        part.elements[state] += count
    part.modules += other.modules


def folded(part: Part, *, with_each: bool = True) -> Part:
    """`part` with runs of alike children folded, all the way down."""
    shown: list[Part] = []
    keys = [_key(child) for child in part.children]
    at = 0
    while at < len(part.children):
        period, times = _run(part.children, keys, at)
        run = part.children[at : at + period * times]
        shown.append(_fold(run, period, with_each) if times > 1 else folded(run[0], with_each=with_each))
        at += len(run)
    return replace(part, children=shown)


def _run(children: list[Part], keys: list[object], at: int) -> tuple[int, int]:
    """The period and number of repeats, from `at`, that take in most children; (1, 1) where nothing repeats."""
    best = (1, 1)
    for period in range(1, LONGEST_PERIOD + 1):
        times = 1
        while _repeats(children, keys, at + (times - 1) * period, period):
            times += 1
        if times >= FEWEST_COPIES and period * times > best[0] * best[1]:
            best = (period, times)
    return best


def _repeats(children: list[Part], keys: list[object], at: int, period: int) -> bool:
    """Whether the `period` children from `at` come again right after, with the next numbers."""
    stop = at + 2 * period
    return (
        stop <= len(children)
        and keys[at : at + period] == keys[at + period : stop]
        and all(_follows(children[n], children[n + 1]) for n in range(at, stop - 1))
    )


def _follows(one: Part, other: Part) -> bool:
    first, second = NUMBERED.fullmatch(one.label), NUMBERED.fullmatch(other.label)
    return bool(first and second) and first[1] == second[1] and int(second[2]) == int(first[2]) + 1  # type: ignore[index]


def _key(part: Part) -> object:
    """What parts that are alike share: structure, states and operations; the bytes saved may differ."""
    bills = (part.present.work, part.whole.work)
    cuts = tuple((mark.cut.cause, str(mark.cut.place)) for mark in part.marks)
    below = tuple((child.label, _key(child)) for child in part.children)
    return part.class_name, part.shared, tuple(sorted(part.elements.items())), bills, cuts, below


def _fold(run: list[Part], period: int, with_each: bool) -> Part:
    times = len(run) // period
    first, last = run[0], run[-1]
    label = f"{first.label}-{last.label.lstrip(ascii_letters + '_')}"
    path = f"{first.path.rpartition('.')[0]}.{label}".removeprefix(".")
    merged = [_merged(run[n::period]) for n in range(period)]
    for part in merged:
        _move(part, part.path, path if period == 1 else f"{path}.{part.label}")
    if period == 1:
        fold = folded(replace(merged[0], label=label), with_each=False)
    else:
        kinds = ", ".join(part.class_name for part in merged)
        fold = Part(path, label, f"({kinds})", Bill(), Bill(), modules=0, children=merged)
        for part in merged:
            _add(fold, part)
        fold = folded(fold, with_each=False)
    fold.copies = times
    fold.each = [folded(part) for part in run] if with_each else []
    return fold


def _merged(alike: list[Part]) -> Part:
    """Parts of one structure as one, costs and parameters summed."""
    first = alike[0]
    new = replace(first, elements=Counter(first.elements), marks=[mark for part in alike for mark in part.marks])
    for other in alike[1:]:
        _add(new, other)
    columns = zip(*(part.children for part in alike), strict=True)
    new.children = [_merged(list(column)) for column in columns]
    return new


def _move(part: Part, old: str, new: str) -> None:
    part.path = f"{new}{part.path.removeprefix(old)}"
    for child in part.children:
        _move(child, old, new)


def opened(root: Part, most: int) -> set[int]:
    """Ids of the parts whose children are shown at first: level by level, while at most `most` rows are visible."""
    chosen = {id(part) for part in root.inside() if _holds_mark(part)} | {id(root)}
    visible = 1 + sum(len(part.children) for part in root.inside() if id(part) in chosen)
    if visible > most:
        chosen, visible = {id(root)}, 1 + len(root.children)
    level = [root]
    while level:
        level = [child for part in level if id(part) in chosen for child in part.children if child.children]
        for part in level:
            if id(part) not in chosen and visible + len(part.children) <= most:
                chosen.add(id(part))
                visible += len(part.children)
    return chosen


def _holds_mark(part: Part) -> bool:
    return any(inner.marks for child in part.children for inner in child.inside())


def cause(mark: Mark) -> str:
    """The code that cuts, or the kind of cut where the source does not tell."""
    return mark.cut.text or mark.cut.cause.value.replace("_", " ")


def located(place: object) -> Location | None:
    return place if isinstance(place, Location) else None
