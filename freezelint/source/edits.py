"""Text edits that several fixes share: a statement taken out, an argument dropped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from freezelint.findings import Location
from freezelint.rule import Place
from freezelint.source import cst
from freezelint.source.elements import dotted_names
from freezelint.source.story import Event, Spot
from freezelint.source.tree import children
from freezelint.source.values import Instance

Edits = tuple[tuple[Place, str], ...]
_TO_COMMA = re.compile(r"(?:[\s)]|#[^\n]*\n)*,")  # from the end of an argument, brackets round it too


def ancestors(spot: Spot) -> list[cst.CSTNode]:
    """The nodes round a place, outermost first, the place itself last; empty where it is not in its file."""
    trail: list[cst.CSTNode] = []

    def find(node: cst.CSTNode) -> bool:
        trail.append(node)
        if node is spot.node or any(find(child) for child in children(node)):
            return True
        trail.pop()
        return False

    return trail if find(spot.file.tree) else []


def without_statement(spot: Spot) -> Edits:
    """The simple statement round `spot` gone: its whole line, or `pass` where a block would be left empty."""
    trail = ancestors(spot)
    at = next((i for i, node in enumerate(trail) if isinstance(node, cst.SimpleStatementLine)), None)
    if at is None or len(trail[at].body) != 1:  # type: ignore[attr-defined]
        return ()
    line = Spot(spot.file, trail[at]).locate()
    body = getattr(trail[at - 1], "body", ())
    if len(body) < 2 or line.end_line >= spot.file.text.count("\n"):
        return ((Spot(spot.file, trail[at].body[0]), "pass"),)  # type: ignore[attr-defined]
    return ((Location(line.path, line.line, 0, line.end_line + 1, 0), ""),)


def is_statement(spot: Spot) -> bool:
    """Whether the expression at `spot` stands alone: its value is thrown away."""
    trail = ancestors(spot)
    return len(trail) > 1 and isinstance(trail[-2], cst.Expr)


def without_argument(spot: Spot, keyword: str) -> Edits:
    """The call at `spot` without one keyword argument."""
    text = call_without(spot, keyword)
    return ((spot, text),) if text != spot.text else ()


def call_without(spot: Spot, keyword: str) -> str:
    """The text of the call at `spot` without one keyword argument; the rest stays as it is written."""
    call = spot.node
    named = [arg.keyword.value if arg.keyword else "" for arg in call.args] if isinstance(call, cst.Call) else []
    if not isinstance(call, cst.Call) or keyword not in named:
        return spot.text
    number = named.index(keyword)
    places = [spot.file.positions.offsets(arg) or (0, 0) for arg in call.args]
    first, last = spot.file.positions.offsets(call) or (0, 0)
    text = spot.file.text
    if len(places) == 1:
        start, end = places[0][0], last - 1
    elif number + 1 < len(places):
        start, end = places[number][0], places[number + 1][0]
    else:
        before = places[number - 1][1]
        comma = _TO_COMMA.match(text, before)
        start, end = (comma.end() - 1 if comma else before), places[number][1]
    return text[first:start] + text[end:last]


def freeze_before(event: Event, root: Instance | None, modules: Sequence[Instance]) -> Edits:
    """`module.requires_grad_(False)` for each module, on lines of their own before the statement of an event."""
    trail = ancestors(event.spot)
    line = next((node for node in trail if isinstance(node, cst.SimpleStatementLine)), None)
    names = [expression_for(event, root, module) for module in modules]
    if line is None or not names or None in names:
        return ()
    at = Spot(event.spot.file, line).locate()
    indent = event.spot.file.text.splitlines()[at.line - 1][: at.column]
    text = "".join(f"{name}.requires_grad_(False)\n{indent}" for name in names)
    return ((Location(at.path, at.line, at.column, at.line, at.column), text),)


def expression_for(event: Event, root: Instance | None, module: Instance, spot: Spot | None = None) -> str | None:
    """How the code round an event, or round the call that led to it, can write a module; None where that is not plain.

    `spot`: the call, where it is one of the event's sites.
    """
    if root is None:
        return None
    path = next((name for name, part in dotted_names(root) if part is module), None)
    sites, calls = event.context.sites, event.context.calls
    depth = sites.index(spot) if spot in sites else len(calls)
    inside = calls[depth - 1] if depth else None
    if path is None or any(part.isdigit() for part in path.split(".")):
        plain = inside is None and module.name.isidentifier()
        return module.name if plain and re.search(rf"^{module.name}\b", event.spot.file.text, re.MULTILINE) else None
    if inside is not None and inside.owner is not None and root.cls and inside.owner in root.cls.lineage()[0]:
        return f"self.{path}" if path else "self"
    text = inside.file.code(inside.node) if inside is not None else event.spot.file.text
    if not root.name.isidentifier() or not re.search(rf"\b{root.name}\b", text):
        return None
    return f"{root.name}.{path}" if path else root.name


def under_no_grad(spot: Spot, alone: bool) -> Edits:
    """The statement round `spot` in a `no_grad` block; nothing where it holds more than that (`alone` is false)."""
    trail = ancestors(spot)
    line = next((node for node in trail if isinstance(node, cst.SimpleStatementLine)), None)
    if line is None or not alone or len(line.body) != 1 or not isinstance(line.body[0], cst.Assign):
        return ()
    if not re.search(r"^import torch(\s*$|[, ])", spot.file.text, re.MULTILINE):
        return ()
    at = Spot(spot.file, line).locate()
    indent = spot.file.text.splitlines()[at.line - 1][: at.column]
    deeper = "\t" if indent.endswith("\t") else "    "
    return ((Location(at.path, at.line, at.column, at.line, at.column), f"with torch.no_grad():\n{indent}{deeper}"),)


def statement_of(spot: Spot) -> cst.CSTNode | None:
    """The simple statement round a place."""
    return next((node for node in ancestors(spot) if isinstance(node, cst.SimpleStatementLine)), None)


def eval_beside(
    spot: Spot, event: Event, root: Instance | None, modules: Sequence[Instance], *, before: bool = False
) -> Edits:
    """`module.eval()` for each module, on lines of their own after (or before) the statement round `spot`."""
    line = statement_of(spot)
    names = [expression_for(event, root, module, spot) for module in modules]
    if line is None or not names or None in names:
        return ()
    at = Spot(spot.file, line).locate()
    lines = spot.file.text.splitlines()
    if at.end_line >= len(lines):
        return ()
    indent = lines[at.line - 1][: at.column]
    text = "".join(f"{indent}{name}.eval()\n" for name in names)
    row = at.line if before else at.end_line + 1
    return ((Location(at.path, row, 0, row, 0), text),)


def assigned_name(spot: Spot) -> str:
    """The name the statement round a place assigns; '' where it assigns none."""
    assign = next((node for node in ancestors(spot) if isinstance(node, cst.Assign)), None)
    target = assign.targets[0].target if assign else None
    return target.value if isinstance(target, cst.Name) else ""
