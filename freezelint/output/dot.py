"""`dot`: the module trees of the traced models for Graphviz, a node for each part in the colours of the states."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.findings import Finding
from freezelint.model_report import ModelReport, count, flop, size
from freezelint.output import Report
from freezelint.output.cost_table import changes, heading
from freezelint.output.module_tree import STATES, Part, cause, located, opened, tree
from freezelint.output.picture import near

MOST_NODES = 60
LOOK = {
    "trains": 'fillcolor="#d3efe2" color="#0b7a53" style="filled,rounded"',
    "starved": 'fillcolor="#fde3da" color="#b83210" style="filled,rounded,dashed"',
    "passes": 'fillcolor="#dce8fb" color="#2359b8" style="filled"',
    "frozen": 'fillcolor="#e1e5ea" color="#5d6877" style="filled" peripheries=2',
    "mixed": 'fillcolor="#ffffff" color="#56606f" style="filled"',
    "": 'fillcolor="#ffffff" color="#c3cad3" style="filled"',
}


def render(report: Report) -> str:
    last = len(report.pictures) - 1
    pictures = enumerate(report.pictures)
    return "".join(_graph(model, report.findings if number == last else []) for number, model in pictures)


def _graph(report: ModelReport, findings: list[Finding]) -> str:
    told = [heading(report), *(f"what if: {change}" for change in changes(report))]
    told += [f"{near(finding.location)}: {finding.code} {finding.message}" for finding in findings]
    head = (
        f"digraph {_quote(report.name)} {{\n"
        '  graph [rankdir=LR ranksep=0.4 nodesep=0.12 bgcolor="white" fontname="Helvetica" labeljust=l fontsize=11 '
        f"label={_quote(*told)}]\n"
        '  node [shape=box fontname="Helvetica" fontsize=10 fontcolor="#1b2330" penwidth=1.5 margin="0.12,0.05"]\n'
        '  edge [color="#8b95a3" arrowsize=0.6 fontname="Helvetica" fontsize=9]\n'
    )
    root = tree(report)
    rows = _part(root, root, opened(root, MOST_NODES), "n")
    return head + "".join(f"  {row}\n" for row in rows) + "}\n"


def _part(part: Part, root: Part, shown: set[int], name: str) -> Iterator[str]:
    state = "mixed" if len(part.states) > 1 else "".join(part.states)
    yield f"{name} [label={_quote(*_label(part, part is root))} {LOOK[state]}]"
    for mark in part.cuts():
        at = located(mark.cut.place)
        where = [near(at)] if at else []
        text = _quote(f"cut by {cause(mark)}", *where, f"{len(mark.starved)} parameters starve")
        cut = f"{name}_cut{mark.number}"
        yield f'{cut} [label={text} shape=note fontcolor="#b83210" color="#b83210"]'
        yield f'{name} -> {cut} [style=dashed color="#b83210" arrowhead=none]'
    if id(part) in shown:
        for number, child in enumerate(part.children):
            below = f"{name}_{number}"
            yield from _part(child, root, shown, below)
            yield f"{name} -> {below}"


def _label(part: Part, is_root: bool) -> Iterator[str]:
    times = f" \N{MULTIPLICATION SIGN}{part.copies}" if part.copies > 1 else ""
    yield part.class_name if is_root else f"{part.label}{times} {part.class_name}".strip()
    if part.states:
        yield f"{' + '.join(STATES[state] for state in part.states)}: {count(part.parameters)} parameters"
    now = part.present
    if now.backward_flops or now.saved_bytes:
        yield f"dgrad {flop(now.dgrad_flops)}, wgrad {flop(now.wgrad_flops)}, saved {size(now.saved_bytes)}"


def _quote(*lines: str) -> str:
    """A quoted string of Graphviz, each line to the left."""
    texts = (" ".join(line.replace("`", "").split()).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "".join(f"{text}\\l" if len(lines) > 1 else text for text in texts) + '"'
