"""The cost table of a traced model, as plain text: a row for each part, sums for the freeze and for no freeze."""

from __future__ import annotations

from collections.abc import Iterable

from freezelint.model_report import ModelReport, ModuleRow, count, flop, size
from freezelint.output import plural
from freezelint.worker.bill import Bill

MOST_ROWS = 14
MOST_LOSSES = 6
COLUMNS = ("module", "state", "parameters", "forward", "dgrad", "wgrad", "dgrad ops", "wgrad ops", "saved")
STATES = {
    "trains": "trains", "starved": "starved", "passes": "frozen, passed", "frozen": "frozen",
    "through": "", "idle": "", "": "",
}  # fmt: skip


def render(report: ModelReport) -> str:
    """Table, sums, starved parameters and what one change would save. Columns are fixed; operations are heavy ones."""
    rows = [_row(part) for part in parts(report.modules)]
    total = ("total", "", count(sum(row.own_elements for row in report.modules)), *_bill(report.present))
    whole = ("all trainable", "", "", *_bill(report.whole))
    lines = [heading(report), *columns([COLUMNS, *rows, total, whole])]
    if report.whole.backward_flops and not report.starved():
        lines.append(f"backward: {report.share_of_backward():.3f} of what it is with everything trainable")
    lines.extend(_starved(report))
    lines.extend(_reach(report))
    lines.extend(f"what if: {what_if}" for what_if in changes(report))
    lines.extend(f"note: {text}" for text in report.notes)
    return "\n".join(lines)


def heading(report: ModelReport) -> str:
    fake = "fake tensors" if report.method == "fake" else "a real step"
    inputs = ", ".join(report.inputs)
    mode = "" if in_train_mode(report.modules) else ", in eval mode"
    return f"{report.name}: {inputs} ({report.inputs_from}) on {report.device}, {fake}, torch {report.torch}{mode}"


def in_train_mode(modules: list[ModuleRow]) -> bool:
    return all(row.training for row in modules if not row.path)


def parts(modules: list[ModuleRow]) -> list[tuple[str, str, int, Bill]]:
    """The module tree cut where it fits the screen: the deepest level with at most MOST_ROWS rows."""
    deepest = max((row.path.count(".") + 1 for row in modules if row.path), default=0)
    best = _at_depth(modules, 1)
    for depth in range(2, deepest + 1):
        rows = _at_depth(modules, depth)
        if len(rows) > MOST_ROWS:
            break
        best = rows
    return best


def _at_depth(modules: list[ModuleRow], depth: int) -> list[tuple[str, str, int, Bill]]:
    groups: dict[str, list[ModuleRow]] = {}
    for row in modules:
        groups.setdefault(".".join(row.path.split(".")[:depth]), []).append(row)
    shown = []
    for path, rows in groups.items():
        bill = sum((row.present for row in rows), Bill())
        elements = sum(row.own_elements for row in rows)
        if elements or bill != Bill():
            still = in_train_mode(modules) and not any(row.training for row in rows)
            state = ", ".join(filter(None, (_state(rows), "eval" if still else "")))
            shown.append((path, state, elements, bill))
    return shown


def _state(rows: list[ModuleRow]) -> str:
    """The states of a part's modules, worst first, as one word or two."""
    states = [row.state for row in rows if row.own_parameters]
    for state in ("starved", "trains"):
        if state in states:
            rest = set(states) - {state}
            return f"{state}, some" if rest else STATES[state]
    return STATES["passes"] if "passes" in states else STATES.get(states[0] if states else "", "")


def _row(part: tuple[str, str, int, Bill]) -> tuple[str, ...]:
    path, state, elements, bill = part
    return (path or "(own)", state, count(elements), *_bill(bill))


def _bill(bill: Bill) -> tuple[str, ...]:
    flops = (bill.forward_flops, bill.dgrad_flops, bill.wgrad_flops)
    return (*map(flop, flops), str(bill.dgrad_ops), str(bill.wgrad_ops), size(bill.saved_bytes))


def columns(rows: list[tuple[str, ...]]) -> Iterable[str]:
    """Names left, numbers right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]
        yield "  ".join(cells).rstrip()


def _starved(report: ModelReport) -> list[str]:
    starved = report.starved()
    if not starved:
        return []
    groups: dict[tuple[str, bool], list[str]] = {}
    for row in starved:
        groups.setdefault((row.output, row.zero), []).append(f"`{row.name}`")
    told = []
    for (output, zero), names in groups.items():
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        what = "only a gradient of zeros" if zero else "no gradient"
        but = f" from `loss`, only from the output `{output}`" if output else ""
        told.append(f"{what} reaches {plural(len(names), 'trainable parameter')}{but}: {', '.join(names[:4])}{more}")
    return told


def _reach(report: ModelReport) -> list[str]:
    """How far each of a few losses, or terms of one, reaches, where they differ."""
    graph, losses = report.map, report.losses
    reach = [len(graph.parameters(graph.reached([loss.id]))) for loss in losses]
    if not 1 < len(losses) <= MOST_LOSSES or len(set(reach)) == 1:
        return []
    each = ", ".join(f"{name(loss.name)} {count}" for loss, count in zip(losses, reach, strict=True))
    return [f"of {sum(row.trainable for row in report.parameters)} trainable parameters are reached by {each}"]


def name(loss: str) -> str:
    return loss if "`" in loss else f"`{loss}`"


def changes(report: ModelReport) -> list[str]:
    """What each single change would save, most first."""
    told = []
    for change in report.what_if:
        before = report.present.backward_flops
        share = f"backward -{100 * change.saved_flops / before:.0f} %" if before else "backward unchanged"
        saved = f", -{size(change.saved_bytes)} saved" if change.saved_bytes else ""
        told.append(f"{change.title}: {share} (-{flop(change.saved_flops)}{saved})")
    return told
