"""The language server: diagnostics while typing, fixes, suppressions, hover; never runs user code unasked."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from typing import Any

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from freezelint import __version__, book
from freezelint.editor import Editor, Positions, SettingsError, notebook_text, suppression
from freezelint.findings import Edit, Finding, Location, Safety, Severity

PAUSE_S = 0.2  # after a keystroke, before the text is read
SOURCE = "freezelint"
SEVERITY = {
    Severity.ERROR: lsp.DiagnosticSeverity.Error,
    Severity.WARNING: lsp.DiagnosticSeverity.Warning,
    Severity.HINT: lsp.DiagnosticSeverity.Hint,
}
FIX_ALL = "source.fixAll.freezelint"
NOTEBOOKS = lsp.NotebookDocumentSyncOptions(
    notebook_selector=[
        lsp.NotebookDocumentFilterWithCells(
            notebook="jupyter-notebook", cells=[lsp.NotebookCellLanguage(language="python")]
        )
    ],
    save=True,
)


class FreezelintServer(LanguageServer):
    """The open documents, what was found in them, and one warm worker."""

    def __init__(self) -> None:
        super().__init__("freezelint", __version__, notebook_document_sync=NOTEBOOKS)
        self.editor = Editor()
        self.found: dict[str, list[Finding]] = {}  # by document, or by notebook
        self.seen: dict[str, list[Finding]] = {}  # what a trace or run added, until the file is edited
        self.waiting: dict[str, asyncio.Task[None]] = {}
        self.told_settings = ""

    def positions(self, uri: str) -> Positions:
        encoding = self.workspace.position_encoding or "utf-16"
        name = encoding.value if isinstance(encoding, lsp.PositionEncodingKind) else str(encoding)
        return Positions(self.workspace.get_text_document(uri).source, name)

    async def check(self, uri: str) -> list[Finding]:
        """Read one document in a thread of its own; bad settings are shown once."""
        path, text = to_fs_path(uri) or "", self.text(uri)
        self.editor.unsaved = {
            to_fs_path(other) or "": document.source.encode()
            for other, document in dict(self.workspace.text_documents).items()
            if other.startswith("file:")
        }
        try:
            found = await asyncio.get_running_loop().run_in_executor(None, self.editor.findings, path, text)
        except SettingsError as error:
            if str(error) != self.told_settings:
                self.told_settings = str(error)
                self.window_show_message(lsp.ShowMessageParams(lsp.MessageType.Error, f"freezelint: {error}"))
            found = []
        self.found[uri] = found
        seen = self.seen.get(uri, [])
        told = {(one.code, one.location.line) for one in seen}
        return [one for one in found if (one.code, one.location.line) not in told] + seen

    def text(self, uri: str) -> str:
        notebook = self.workspace.get_notebook_document(notebook_uri=uri)
        if notebook is None:
            return self.workspace.get_text_document(uri).source
        return notebook_text([self._cell(cell) for cell in notebook.cells])

    def _cell(self, cell: lsp.NotebookCell) -> tuple[str, str]:
        if cell.kind != lsp.NotebookCellKind.Code:
            return "markdown", ""
        return "code", self.workspace.get_text_document(cell.document).source

    def document_of(self, uri: str, location: Location) -> str:
        """Where the editor shows a place: the cell of a notebook, another file, or the document itself."""
        notebook = self.workspace.get_notebook_document(notebook_uri=uri)
        if notebook is not None and location.cell:
            return notebook.cells[location.cell - 1].document
        path = to_fs_path(uri) or ""
        same = os.path.abspath(location.path) == os.path.abspath(path)
        return uri if same else from_fs_path(os.path.abspath(location.path)) or uri

    def range(self, uri: str, location: Location) -> lsp.Range:
        positions = self.positions(self.document_of(uri, location))
        start = positions.to_client(location.line, location.column)
        end = positions.to_client(location.end_line or location.line, location.end_column)
        return lsp.Range(lsp.Position(*start), lsp.Position(*max(start, end)))

    def diagnostic(self, uri: str, finding: Finding) -> lsp.Diagnostic:
        related = [
            lsp.DiagnosticRelatedInformation(
                lsp.Location(self.document_of(uri, item.location), self.range(uri, item.location)), item.note
            )
            for item in finding.related
        ]
        page = book.url(finding.code)
        evidence = [f"{item.verdict.value}: {item.detail}" for item in finding.evidence]
        return lsp.Diagnostic(
            range=self.range(uri, finding.location),
            message="\n".join([finding.message, *evidence]),
            severity=SEVERITY[finding.severity],
            code=finding.code,
            code_description=lsp.CodeDescription(page) if page else None,
            source=SOURCE,
            related_information=related,
        )

    async def publish(self, uri: str) -> None:
        """Push the diagnostics of a document, or of every cell of a notebook."""
        found = await self.check(uri)
        notebook = self.workspace.get_notebook_document(notebook_uri=uri)
        documents = [cell.document for cell in notebook.cells] if notebook else [uri]
        for document in documents:
            own = [self.diagnostic(uri, one) for one in found if self.document_of(uri, one.location) == document]
            self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(document, own))

    def publish_soon(self, uri: str, pause_s: float = PAUSE_S) -> None:
        """Publish after a pause, unless another keystroke comes first."""

        async def wait() -> None:
            await asyncio.sleep(pause_s)
            await self.publish(uri)

        if uri in self.waiting:
            self.waiting[uri].cancel()
        self.waiting[uri] = asyncio.get_running_loop().create_task(wait())

    def pulls(self) -> bool:
        """Whether the client asks for diagnostics itself: then none are pushed."""
        document = self.client_capabilities.text_document
        return bool(document and document.diagnostic)

    def notebook_of(self, uri: str) -> str | None:
        notebook = self.workspace.get_notebook_document(cell_uri=uri)
        return notebook.uri if notebook else None

    def edit(self, uri: str, changes: Sequence[Edit]) -> lsp.WorkspaceEdit:
        by_document: dict[str, list[lsp.TextEdit]] = {}
        for change in changes:
            document = self.document_of(uri, change.location)
            by_document.setdefault(document, []).append(lsp.TextEdit(self.range(uri, change.location), change.text))
        return lsp.WorkspaceEdit(changes=by_document)

    def replace_all(self, uri: str, text: str) -> lsp.WorkspaceEdit:
        whole = lsp.Range(lsp.Position(0, 0), lsp.Position(*self.positions(uri).end()))
        return lsp.WorkspaceEdit(changes={uri: [lsp.TextEdit(whole, text)]})


server = FreezelintServer()


@server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
async def did_open(ls: FreezelintServer, params: lsp.DidOpenTextDocumentParams) -> None:
    if not ls.pulls():
        await ls.publish(params.text_document.uri)


@server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
async def did_change(ls: FreezelintServer, params: lsp.DidChangeTextDocumentParams) -> None:
    ls.seen.pop(params.text_document.uri, None)
    if not ls.pulls():
        ls.publish_soon(params.text_document.uri)


@server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
async def did_save(ls: FreezelintServer, params: lsp.DidSaveTextDocumentParams) -> None:
    if not ls.pulls():
        ls.publish_soon(params.text_document.uri, 0)


@server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
def did_close(ls: FreezelintServer, params: lsp.DidCloseTextDocumentParams) -> None:
    uri = params.text_document.uri
    ls.found.pop(uri, None)
    ls.seen.pop(uri, None)
    ls.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, []))


@server.feature(lsp.NOTEBOOK_DOCUMENT_DID_OPEN)
async def notebook_did_open(ls: FreezelintServer, params: lsp.DidOpenNotebookDocumentParams) -> None:
    await ls.publish(params.notebook_document.uri)


@server.feature(lsp.NOTEBOOK_DOCUMENT_DID_CHANGE)
async def notebook_did_change(ls: FreezelintServer, params: lsp.DidChangeNotebookDocumentParams) -> None:
    ls.publish_soon(params.notebook_document.uri)


@server.feature(lsp.NOTEBOOK_DOCUMENT_DID_SAVE)
async def notebook_did_save(ls: FreezelintServer, params: lsp.DidSaveNotebookDocumentParams) -> None:
    ls.publish_soon(params.notebook_document.uri, 0)


@server.feature(
    lsp.TEXT_DOCUMENT_DIAGNOSTIC,
    lsp.DiagnosticOptions(identifier=SOURCE, inter_file_dependencies=True, workspace_diagnostics=False),
)
async def diagnostic(ls: FreezelintServer, params: lsp.DocumentDiagnosticParams) -> lsp.DocumentDiagnosticReport:
    uri = params.text_document.uri
    owner = ls.notebook_of(uri) or uri
    found = [one for one in await ls.check(owner) if ls.document_of(owner, one.location) == uri]
    return lsp.RelatedFullDocumentDiagnosticReport(items=[ls.diagnostic(owner, one) for one in found])


@server.feature(lsp.WORKSPACE_DID_CHANGE_CONFIGURATION)
async def did_change_configuration(ls: FreezelintServer, params: lsp.DidChangeConfigurationParams) -> None:
    given = params.settings if isinstance(params.settings, dict) else {}
    await reconfigure(ls, given.get("freezelint", given))


@server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
async def did_change_watched_files(ls: FreezelintServer, _params: lsp.DidChangeWatchedFilesParams) -> None:
    await again(ls)


@server.feature(lsp.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
async def did_change_folders(ls: FreezelintServer, _params: lsp.DidChangeWorkspaceFoldersParams) -> None:
    await again(ls)


@server.feature(lsp.INITIALIZED)
async def initialized(ls: FreezelintServer, _params: lsp.InitializedParams) -> None:
    """Ask to hear of settings files, and for the workspace's own settings."""
    capabilities = ls.client_capabilities.workspace
    watches = capabilities and capabilities.did_change_watched_files
    if watches and watches.dynamic_registration:
        globs = ["**/pyproject.toml", "**/freezelint.toml", "**/.freezelint.toml"]
        options = lsp.DidChangeWatchedFilesRegistrationOptions([lsp.FileSystemWatcher(glob) for glob in globs])
        registration = lsp.Registration("settings", lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES, options)
        ls.client_register_capability(lsp.RegistrationParams([registration]))
    if capabilities and capabilities.configuration:
        asked = lsp.ConfigurationParams([lsp.ConfigurationItem(section="freezelint")])
        answer = await ls.workspace_configuration_async(asked)
        if answer and isinstance(answer[0], dict):
            await reconfigure(ls, answer[0])


async def reconfigure(ls: FreezelintServer, options: dict[str, Any]) -> None:
    try:
        ls.editor.configure(options)
    except SettingsError as error:
        ls.window_show_message(lsp.ShowMessageParams(lsp.MessageType.Error, f"freezelint: {error}"))
    await again(ls)


async def again(ls: FreezelintServer) -> None:
    """Read every open document anew."""
    if ls.pulls():
        ls.workspace_diagnostic_refresh(None)
        return
    for uri in list(ls.found):
        await ls.publish(uri)


@server.feature(
    lsp.TEXT_DOCUMENT_CODE_ACTION,
    lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix, FIX_ALL, lsp.CodeActionKind.SourceFixAll]),
)
async def code_action(ls: FreezelintServer, params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
    uri = params.text_document.uri
    owner = ls.notebook_of(uri) or uri
    only = [str(getattr(kind, "value", kind)) for kind in params.context.only or ()]
    actions: list[lsp.CodeAction] = []
    if not only or any(lsp.CodeActionKind.QuickFix.value.startswith(kind) for kind in only):
        for finding in ls.found.get(owner, []):
            if ls.document_of(owner, finding.location) == uri and _meet(
                ls.range(owner, finding.location), params.range
            ):
                actions.extend(_quick_fixes(ls, owner, uri, finding))
    if owner == uri and any(FIX_ALL.startswith(kind) for kind in only):
        fixed = await asyncio.get_running_loop().run_in_executor(
            None, ls.editor.fixed, to_fs_path(uri) or "", ls.text(uri)
        )
        if fixed is not None:
            actions.append(lsp.CodeAction("Fix all safe freezelint findings", FIX_ALL, edit=ls.replace_all(uri, fixed)))
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


def _meet(one: lsp.Range, other: lsp.Range) -> bool:
    return one.start.line <= other.end.line and other.start.line <= one.end.line


@server.feature(lsp.TEXT_DOCUMENT_HOVER)
def hover(ls: FreezelintServer, params: lsp.HoverParams) -> lsp.Hover | None:
    """The page of the finding under the cursor, or of a code named in a comment."""
    uri, at = params.text_document.uri, params.position
    owner = ls.notebook_of(uri) or uri
    for finding in [*ls.found.get(owner, []), *ls.seen.get(owner, [])]:
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


@server.command("freezelint.trace")
async def trace(ls: FreezelintServer, uri: str) -> str:
    """Trace the models of a file; shows the cost tables and adds what they say to the diagnostics."""
    return await _witness(ls, uri, verify=False)


@server.command("freezelint.verify")
async def verify(ls: FreezelintServer, uri: str) -> str:
    """Trace and run the models of a file, and settle its findings."""
    return await _witness(ls, uri, verify=True)


async def _witness(ls: FreezelintServer, uri: str, *, verify: bool) -> str:
    from freezelint.output import Report, render

    path = to_fs_path(uri) or ""

    def work() -> tuple[list[Finding], str]:
        outcome = ls.editor.witness(path, verify=verify)
        report = Report(outcome.findings, len(outcome.files), models=outcome.models, runs=outcome.runs)
        report.tables, report.refuted = outcome.tables, outcome.refuted
        return outcome.findings, render(report, "concise")

    try:
        findings, text = await asyncio.get_running_loop().run_in_executor(None, work)
    except SettingsError as error:
        return f"freezelint: {error}"
    ls.seen[uri] = [one for one in findings if one.evidence and ls.document_of(uri, one.location) == uri]
    if not ls.pulls():
        await ls.publish(uri)
    ls.window_show_message(lsp.ShowMessageParams(lsp.MessageType.Info, text.splitlines()[-1]))
    return text


def serve() -> None:
    """Speak the protocol on standard input and output until told to exit."""
    server.start_io()
