"""What the client may do about a finding: fix it, silence it, fix all, settle it by a run; and read its page."""

from __future__ import annotations

import re

from lsprotocol import types as lsp
from pygls.uris import to_fs_path

from freezelint import book
from freezelint.editor import notebook_sources, suppression
from freezelint.findings import Finding, Safety
from freezelint.server.session import FreezelintServer, server

FIX_ALL = "source.fixAll.freezelint"
FIX_ALL_CELLS = f"notebook.{FIX_ALL}"


@server.feature(
    lsp.TEXT_DOCUMENT_CODE_ACTION,
    lsp.CodeActionOptions(
        code_action_kinds=[lsp.CodeActionKind.QuickFix, lsp.CodeActionKind.SourceFixAll, FIX_ALL, FIX_ALL_CELLS]
    ),
)
async def code_action(ls: FreezelintServer, params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
    uri = params.text_document.uri
    owner = ls.notebook_of(uri) or uri
    only = [str(getattr(kind, "value", kind)) for kind in params.context.only or ()]
    actions: list[lsp.CodeAction] = []
    if not only or any(lsp.CodeActionKind.QuickFix.value.startswith(kind) for kind in only):
        for finding in await ls.current(owner):
            at = finding.location
            if ls.document_of(owner, at) == uri and _meet(ls.range(owner, at), params.range):
                actions.extend(_quick_fixes(ls, owner, uri, finding))
    asked = [whole for whole in (FIX_ALL, FIX_ALL_CELLS) if any(whole.startswith(kind) for kind in only)]
    edit = await _fix_all(ls, owner) if asked else None
    if edit:
        actions += [lsp.CodeAction("Fix all safe freezelint findings", whole, edit=edit) for whole in asked]
    return actions


def _quick_fixes(ls: FreezelintServer, owner: str, uri: str, finding: Finding) -> list[lsp.CodeAction]:
    told = [ls.diagnostic(owner, finding)]
    actions = []
    if finding.fix and finding.fix.edits:
        safe = finding.fix.safety is Safety.SAFE
        title = f"{finding.code}: {finding.fix.title}{'' if safe else ' (unsafe)'}"
        edit = ls.edit(owner, finding.fix.edits)
        actions.append(lsp.CodeAction(title, lsp.CodeActionKind.QuickFix, told, is_preferred=safe or None, edit=edit))
    if not finding.code.startswith("FRZ0"):
        line, text = suppression(ls.workspace.get_text_document(uri).source, finding)
        positions = ls.positions(uri)
        end = positions.to_client(line, len(positions.lines.line(line)))
        whole = lsp.Range(lsp.Position(line - 1, 0), lsp.Position(*end))
        silence = lsp.WorkspaceEdit(changes={uri: [lsp.TextEdit(whole, text)]})
        title = f"{finding.code}: silence it on this line"
        actions.append(lsp.CodeAction(title, lsp.CodeActionKind.QuickFix, told, edit=silence))
        title = f"{finding.code}: verify by a short run"
        verify = lsp.Command(title, "freezelint.verify", arguments=[owner])
        actions.append(lsp.CodeAction(title, lsp.CodeActionKind.QuickFix, told, command=verify))
    return actions


async def _fix_all(ls: FreezelintServer, owner: str) -> lsp.WorkspaceEdit | None:
    """Every safe fix of a document, or of a notebook cell by cell."""
    before = ls.text(owner)
    after = await ls.read(ls.editor.fixed, to_fs_path(owner) or "", before)
    if after is None:
        return None
    notebook = ls.workspace.get_notebook_document(notebook_uri=owner)
    if notebook is None:
        return lsp.WorkspaceEdit(changes={owner: [ls.whole(owner, after)]})
    changed = zip(notebook.cells, notebook_sources(before), notebook_sources(after), strict=True)
    edits = {cell.document: [ls.whole(cell.document, new)] for cell, old, new in changed if old != new}
    return lsp.WorkspaceEdit(changes=edits) if edits else None


def _meet(one: lsp.Range, other: lsp.Range) -> bool:
    return one.start.line <= other.end.line and other.start.line <= one.end.line


@server.feature(lsp.TEXT_DOCUMENT_HOVER)
async def hover(ls: FreezelintServer, params: lsp.HoverParams) -> lsp.Hover | None:
    """The page of the finding under the cursor, or of a code named in a comment."""
    uri, at = params.text_document.uri, params.position
    owner = ls.notebook_of(uri) or uri
    for finding in [*await ls.current(owner), *ls.seen.get(owner, [])]:
        place = ls.range(owner, finding.location)
        if ls.document_of(owner, finding.location) == uri and _holds(place, at):
            return _page(finding.code, place)
    positions = ls.positions(uri)
    line, column = positions.from_client(at.line, at.character)
    for match in re.finditer(r"FRZ\d{3}", positions.lines.line(line)):
        if match.start() <= column <= match.end() and match.group() in book.codes():
            return _page(match.group(), None)
    return None


def _holds(place: lsp.Range, at: lsp.Position) -> bool:
    return (place.start.line, place.start.character) <= (at.line, at.character) <= (place.end.line, place.end.character)


def _page(code: str, place: lsp.Range | None) -> lsp.Hover:
    return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, book.page(code)), place)
