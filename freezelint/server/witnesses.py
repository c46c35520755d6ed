"""The commands that run the user's code, because the user asked: trace this file's models, verify its findings."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from lsprotocol import types as lsp
from pygls.uris import to_fs_path

from freezelint.client import Cancelled
from freezelint.editor import SettingsError
from freezelint.findings import Finding
from freezelint.server.session import FreezelintServer, server
from freezelint.warm import Errand

asking = ThreadPoolExecutor(1, "witness")  # one trace or run at a time


@server.command("freezelint.trace")
async def trace(ls: FreezelintServer, uri: str) -> str:
    """Trace the models of a file; gives the cost tables and adds what they say to the diagnostics."""
    return await _witness(ls, uri, verify=False)


@server.command("freezelint.verify")
async def verify(ls: FreezelintServer, uri: str) -> str:
    """Trace and run the models of a file, and settle its findings."""
    return await _witness(ls, uri, verify=True)


async def _witness(ls: FreezelintServer, uri: str, *, verify: bool) -> str:
    errand = Errand(ls.editor.workers)
    ls.errands.add(errand)
    _cancel_with(ls, errand)
    progress = await _Progress.start(ls, "freezelint: verifying" if verify else "freezelint: tracing", errand)
    loop = asyncio.get_running_loop()

    def tell(text: str) -> None:
        errand.check()
        if text:
            loop.call_soon_threadsafe(progress.tell, text)

    try:
        findings, text = await loop.run_in_executor(asking, _ask, ls, uri, verify, errand, tell)
    except SettingsError as error:
        ls.show(lsp.MessageType.Error, f"freezelint: {error}")
        return f"freezelint: {error}"
    except Cancelled:
        return "freezelint: cancelled"
    finally:
        ls.errands.discard(errand)
        progress.end()
    ls.seen[uri] = [one for one in findings if one.evidence and ls.document_of(uri, one.location) in _shown(ls, uri)]
    if ls.pulls():
        ls.refresh()
    else:
        await ls.publish(uri)
    ls.show(lsp.MessageType.Info, text.splitlines()[-1])
    return text


def _ask(ls: FreezelintServer, uri: str, verify: bool, errand: Errand, tell: Any) -> tuple[list[Finding], str]:
    from freezelint.output import Report, render

    outcome = ls.editor.witness(to_fs_path(uri) or "", verify=verify, workers=errand, progress=tell)
    errand.check()
    report = Report(outcome.findings, len(outcome.files), models=outcome.models, runs=outcome.runs)
    report.tables, report.refuted = outcome.tables, outcome.refuted
    return outcome.findings, render(report, "concise")


def _shown(ls: FreezelintServer, uri: str) -> list[str]:
    notebook = ls.workspace.get_notebook_document(notebook_uri=uri)
    return [cell.document for cell in notebook.cells] if notebook else [uri]


def _cancel_with(ls: FreezelintServer, errand: Errand) -> None:
    """Cancel the errand with the request: a command's handler is not told of it otherwise."""
    number = ls.protocol.msg_id
    request = None if number is None else ls.protocol._request_futures.get(number)
    if request is not None:
        request.add_done_callback(_canceller(errand))


def _canceller(errand: Errand) -> Callable[[Future[Any]], None]:
    def cancel(future: Future[Any]) -> None:
        if future.cancelled():
            errand.cancel()

    return cancel


class _Progress:
    """The client's progress bar, with its cancel button, where it has one."""

    def __init__(self, ls: FreezelintServer, token: str | None) -> None:
        self.ls, self.token = ls, token

    @classmethod
    async def start(cls, ls: FreezelintServer, title: str, errand: Errand) -> _Progress:
        window = ls.client_capabilities.window
        if not (window and window.work_done_progress):
            return cls(ls, None)
        token = str(uuid.uuid4())
        bar = ls.work_done_progress
        await bar.create_async(token)
        bar.tokens[token].add_done_callback(_canceller(errand))
        bar.begin(token, lsp.WorkDoneProgressBegin(title, cancellable=True))
        return cls(ls, token)

    def tell(self, text: str) -> None:
        if self.token:
            self.ls.work_done_progress.report(self.token, lsp.WorkDoneProgressReport(message=text))

    def end(self) -> None:
        if self.token:
            self.ls.work_done_progress.end(self.token, lsp.WorkDoneProgressEnd())
            self.token = None
