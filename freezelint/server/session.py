"""The state of one session: open documents, what was found in them, and our places in the client's units."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from freezelint import __version__, book
from freezelint.editor import Editor, Positions, SettingsError, notebook_text
from freezelint.findings import Edit, Finding, Location, Severity
from freezelint.warm import Errand

PAUSE_S = 0.2  # after a keystroke, before the text is read
SETTINGS_S = 2.0  # for the client to answer what its settings are
SOURCE = "freezelint"
SEVERITY = {
    Severity.ERROR: lsp.DiagnosticSeverity.Error,
    Severity.WARNING: lsp.DiagnosticSeverity.Warning,
    Severity.HINT: lsp.DiagnosticSeverity.Hint,
}
NOTEBOOKS = lsp.NotebookDocumentSyncOptions(
    notebook_selector=[
        lsp.NotebookDocumentFilterWithCells(
            notebook="jupyter-notebook", cells=[lsp.NotebookCellLanguage(language="python")]
        )
    ],
    save=True,
)
T = TypeVar("T")


class FreezelintServer(LanguageServer):
    """The open documents, what was found in them, and one warm worker (the editor's)."""

    def __init__(self) -> None:
        super().__init__("freezelint", __version__, notebook_document_sync=NOTEBOOKS)
        self.editor = Editor()
        self.found: dict[str, list[Finding]] = {}  # by document, or by notebook
        self.seen: dict[str, list[Finding]] = {}  # what a trace or run added, until the file is edited
        self.states: dict[str, object] = {}  # the text in which `found` was found, as its version
        self.waiting: dict[str, asyncio.Task[None]] = {}
        self.told_settings = ""
        self.reading = ThreadPoolExecutor(1, "read")
        self.settings_known = asyncio.Event()
        self.errands: set[Errand] = set()  # traces and runs under way

    def positions(self, uri: str) -> Positions:
        encoding = self.workspace.position_encoding or "utf-16"
        name = encoding.value if isinstance(encoding, lsp.PositionEncodingKind) else str(encoding)
        return Positions(self.workspace.get_text_document(uri).source, name)

    async def read(self, question: Callable[..., T], *args: Any) -> T:
        """Ask the editor's part in the thread that reads, one question after the other."""
        return await asyncio.get_running_loop().run_in_executor(self.reading, question, *args)

    async def check(self, uri: str) -> list[Finding]:
        """Read one document in a thread of its own; bad settings are shown once."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.settings_known.wait(), SETTINGS_S)
        path, text, state = to_fs_path(uri) or "", self.text(uri), self.state(uri)
        self.editor.unsaved = {
            to_fs_path(other) or "": document.source.encode()
            for other, document in dict(self.workspace.text_documents).items()
            if other.startswith("file:")
        }
        try:
            found = await self.read(self.editor.findings, path, text)
            self.told_settings = ""
        except SettingsError as error:
            if str(error) != self.told_settings:
                self.told_settings = str(error)
                self.show(lsp.MessageType.Error, f"freezelint: {error}")
            found = []
        if state == self.state(uri):  # else what it says is of a text that is gone
            self.found[uri], self.states[uri] = found, state
        seen = self.seen.get(uri, [])
        told = {(one.code, one.location.line) for one in seen}
        return [one for one in found if (one.code, one.location.line) not in told] + seen

    async def current(self, uri: str) -> list[Finding]:
        """What is found in the document as it stands."""
        if self.states.get(uri) != self.state(uri):
            await self.check(uri)
        return self.found.get(uri, [])

    def state(self, uri: str) -> object:
        """Changes with every edit of a document, or of a notebook's cells."""
        notebook = self.workspace.get_notebook_document(notebook_uri=uri)
        cells = [cell.document for cell in notebook.cells] if notebook else [uri]
        return [(cell, self.workspace.get_text_document(cell).version) for cell in cells]

    def end(self) -> None:
        """Leave no process behind."""
        for errand in list(self.errands):
            errand.cancel()
        self.editor.workers.close()

    def show(self, kind: lsp.MessageType, text: str) -> None:
        self.window_show_message(lsp.ShowMessageParams(kind, text))

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
        same = os.path.normcase(os.path.abspath(location.path)) == os.path.normcase(os.path.abspath(path))
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
        """Push the diagnostics of a document, or of every cell of a notebook, unless it was edited meanwhile."""
        state = self.state(uri)
        found = await self.check(uri)
        if state != self.state(uri):
            return
        notebook = self.workspace.get_notebook_document(notebook_uri=uri)
        for document in [cell.document for cell in notebook.cells] if notebook else [uri]:
            own = [self.diagnostic(uri, one) for one in found if self.document_of(uri, one.location) == document]
            version = self.workspace.get_text_document(document).version
            self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(document, own, version))

    def publish_soon(self, uri: str, pause_s: float = PAUSE_S) -> None:
        """Publish after a pause, unless another keystroke comes first."""

        async def wait() -> None:
            await asyncio.sleep(pause_s)
            await self.publish(uri)

        self.stop_waiting(uri)
        self.waiting[uri] = asyncio.get_running_loop().create_task(wait())

    def stop_waiting(self, uri: str) -> None:
        if uri in self.waiting:
            self.waiting.pop(uri).cancel()

    def forget(self, uri: str, documents: Sequence[str]) -> None:
        """A document or notebook was closed: its diagnostics go."""
        self.stop_waiting(uri)
        for known in (self.found, self.seen, self.states):
            known.pop(uri, None)
        if not self.pulls():
            for document in documents:
                self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(document, []))

    def pulls(self) -> bool:
        """Whether the client asks for diagnostics itself: then none are pushed."""
        document = self.client_capabilities.text_document
        return bool(document and document.diagnostic)

    def refresh(self) -> None:
        """Have a client that pulls ask again."""
        workspace = self.client_capabilities.workspace
        if workspace and workspace.diagnostics and workspace.diagnostics.refresh_support:
            self.workspace_diagnostic_refresh(None)

    def notebook_of(self, uri: str) -> str | None:
        notebook = self.workspace.get_notebook_document(cell_uri=uri)
        return notebook.uri if notebook else None

    def edit(self, uri: str, changes: Sequence[Edit]) -> lsp.WorkspaceEdit:
        by_document: dict[str, list[lsp.TextEdit]] = {}
        for change in changes:
            document = self.document_of(uri, change.location)
            by_document.setdefault(document, []).append(lsp.TextEdit(self.range(uri, change.location), change.text))
        return lsp.WorkspaceEdit(changes=by_document)

    def whole(self, uri: str, text: str) -> lsp.TextEdit:
        """The edit that makes a document read `text`."""
        return lsp.TextEdit(lsp.Range(lsp.Position(0, 0), lsp.Position(*self.positions(uri).end())), text)


server = FreezelintServer()
