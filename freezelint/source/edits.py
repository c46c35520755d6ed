"""Text edits that several fixes share: a statement taken out, an argument dropped."""

from __future__ import annotations

import libcst as cst

from freezelint.findings import Location
from freezelint.rule import Place
from freezelint.source.story import Spot

Edits = tuple[tuple[Place, str], ...]


def ancestors(spot: Spot) -> list[cst.CSTNode]:
    """The nodes round a place, outermost first, the place itself last; empty where it is not in its file."""
    trail: list[cst.CSTNode] = []

    def find(node: cst.CSTNode) -> bool:
        trail.append(node)
        if node is spot.node or any(find(child) for child in node.children):
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
    call = spot.node
    if not isinstance(call, cst.Call):
        return ()
    kept = [arg for arg in call.args if arg.keyword is None or arg.keyword.value != keyword]
    if len(kept) == len(call.args):
        return ()
    if kept:
        kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT, whitespace_after_arg=cst.SimpleWhitespace(""))
    return ((spot, spot.file.code(call.with_changes(args=kept))),)
