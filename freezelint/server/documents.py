"""Documents and notebooks: opened, edited, saved, closed; their diagnostics, pushed or pulled."""

from __future__ import annotations

from lsprotocol import types as lsp

from freezelint.server.session import SOURCE, FreezelintServer, server


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
    ls.forget(params.text_document.uri, [params.text_document.uri])


@server.feature(lsp.NOTEBOOK_DOCUMENT_DID_OPEN)
async def notebook_did_open(ls: FreezelintServer, params: lsp.DidOpenNotebookDocumentParams) -> None:
    if not ls.pulls():
        await ls.publish(params.notebook_document.uri)


@server.feature(lsp.NOTEBOOK_DOCUMENT_DID_CHANGE)
async def notebook_did_change(ls: FreezelintServer, params: lsp.DidChangeNotebookDocumentParams) -> None:
    ls.seen.pop(params.notebook_document.uri, None)
    if not ls.pulls():
        ls.publish_soon(params.notebook_document.uri)


@server.feature(lsp.NOTEBOOK_DOCUMENT_DID_SAVE)
async def notebook_did_save(ls: FreezelintServer, params: lsp.DidSaveNotebookDocumentParams) -> None:
    if not ls.pulls():
        ls.publish_soon(params.notebook_document.uri, 0)


@server.feature(lsp.NOTEBOOK_DOCUMENT_DID_CLOSE)
def notebook_did_close(ls: FreezelintServer, params: lsp.DidCloseNotebookDocumentParams) -> None:
    ls.forget(params.notebook_document.uri, [cell.uri for cell in params.cell_text_documents])


@server.feature(
    lsp.TEXT_DOCUMENT_DIAGNOSTIC,
    lsp.DiagnosticOptions(identifier=SOURCE, inter_file_dependencies=True, workspace_diagnostics=False),
)
async def diagnostic(ls: FreezelintServer, params: lsp.DocumentDiagnosticParams) -> lsp.DocumentDiagnosticReport:
    uri = params.text_document.uri
    owner = ls.notebook_of(uri) or uri
    found = [one for one in await ls.check(owner) if ls.document_of(owner, one.location) == uri]
    return lsp.RelatedFullDocumentDiagnosticReport(items=[ls.diagnostic(owner, one) for one in found])
