"""The language server, driven by a real client library and by headless Neovim."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from test_settle import MODEL
from tool import FIXED, FROZEN_BY_ATTRIBUTE

pytest.importorskip("pygls", reason="the server extra is not installed")
pytest_lsp = pytest.importorskip("pytest_lsp", reason="pytest-lsp is not installed")
from lsprotocol import types as lsp  # noqa: E402

from freezelint import book  # noqa: E402
from freezelint.editor import Editor, Positions, suppression  # noqa: E402

COMMAND = [sys.executable, "-m", "freezelint", "server"]
WIDE = FROZEN_BY_ATTRIBUTE.replace("net.requires_grad", "'\U00010348'; net.requires_grad")


def capabilities(encoding: str = "utf-16", *, pull: bool = False) -> lsp.ClientCapabilities:
    return lsp.ClientCapabilities(
        general=lsp.GeneralClientCapabilities(position_encodings=[lsp.PositionEncodingKind(encoding)]),
        text_document=lsp.TextDocumentClientCapabilities(
            diagnostic=lsp.DiagnosticClientCapabilities() if pull else None,
            code_action=lsp.CodeActionClientCapabilities(),
        ),
        workspace=lsp.WorkspaceClientCapabilities(apply_edit=True),
        notebook_document=lsp.NotebookDocumentClientCapabilities(lsp.NotebookDocumentSyncClientCapabilities()),
    )


class Session:
    """One client and its server on a folder."""

    def __init__(self, client: Any, folder: Path) -> None:
        self.client, self.folder, self.version = client, folder, 1

    def uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    async def open(self, name: str, text: str) -> list[lsp.Diagnostic]:
        (self.folder / name).write_text(text, encoding="utf-8")
        item = lsp.TextDocumentItem(self.uri(name), "python", self.version, text)
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))
        return await self.told(name)

    async def change(self, name: str, text: str) -> list[lsp.Diagnostic]:
        self.version += 1
        document = lsp.VersionedTextDocumentIdentifier(self.version, self.uri(name))
        whole = lsp.TextDocumentContentChangeWholeDocument(text)
        self.client.text_document_did_change(lsp.DidChangeTextDocumentParams(document, [whole]))
        return await self.told(name)

    async def told(self, name: str) -> list[lsp.Diagnostic]:
        return await self.told_of(self.uri(name))

    async def told_of(self, uri: str) -> list[lsp.Diagnostic]:
        """The next diagnostics that the server pushes for a document."""
        for _ in range(1000):
            if uri in self.client.diagnostics:
                return list(self.client.diagnostics.pop(uri))
            await asyncio.sleep(0.02)
        raise TimeoutError(f"no diagnostics for {uri}")

    async def actions(self, name: str, line: int, only: list[str] | None = None) -> list[lsp.CodeAction]:
        return await self.actions_at(self.uri(name), line, only)

    async def actions_at(self, uri: str, line: int, only: list[str] | None = None) -> list[lsp.CodeAction]:
        place = lsp.Range(lsp.Position(line, 0), lsp.Position(line, 0))
        context = lsp.CodeActionContext([], only=only)
        params = lsp.CodeActionParams(lsp.TextDocumentIdentifier(uri), place, context)
        return list(await self.client.text_document_code_action_async(params) or [])

    async def hover(self, name: str, line: int, character: int) -> str:
        document = lsp.TextDocumentIdentifier(self.uri(name))
        answer = await self.client.text_document_hover_async(lsp.HoverParams(document, lsp.Position(line, character)))
        return answer.contents.value if answer else ""


async def start(client: Any, folder: Path, given: lsp.ClientCapabilities) -> Session:
    root = lsp.WorkspaceFolder(folder.as_uri(), "project")
    await client.initialize_session(lsp.InitializeParams(given, root_uri=folder.as_uri(), workspace_folders=[root]))
    return Session(client, folder)


@pytest_lsp.fixture(config=pytest_lsp.ClientServerConfig(server_command=COMMAND))
async def pushed(lsp_client: pytest_lsp.LanguageClient, tmp_path: Path) -> AsyncIterator[None]:
    lsp_client.session = await start(lsp_client, tmp_path, capabilities())
    yield
    await lsp_client.shutdown_session()


@pytest_lsp.fixture(config=pytest_lsp.ClientServerConfig(server_command=COMMAND))
async def pulled(lsp_client: pytest_lsp.LanguageClient, tmp_path: Path) -> AsyncIterator[None]:
    lsp_client.session = await start(lsp_client, tmp_path, capabilities("utf-8", pull=True))
    yield
    await lsp_client.shutdown_session()


@pytest.mark.asyncio
async def test_diagnostics_on_open_change_and_save(pushed: Any) -> None:
    session = pushed.session
    (found,) = await session.open("a.py", FROZEN_BY_ATTRIBUTE)
    assert (found.code, found.source, found.severity) == ("FRZ101", "freezelint", lsp.DiagnosticSeverity.Error)
    assert (found.range.start.line, found.range.start.character) == (3, 0)
    assert await session.change("a.py", FIXED) == []
    assert len(await session.change("a.py", FROZEN_BY_ATTRIBUTE)) == 1
    pushed.text_document_did_save(lsp.DidSaveTextDocumentParams(lsp.TextDocumentIdentifier(session.uri("a.py"))))
    assert len(await session.told("a.py")) == 1


@pytest.mark.asyncio
async def test_positions_are_utf_16_units(pushed: Any) -> None:
    (found,) = await pushed.session.open("a.py", WIDE)
    assert found.range.start.character == 6  # the letter takes two units


@pytest.mark.asyncio
async def test_fix_suppression_and_fix_all(pushed: Any) -> None:
    session = pushed.session
    await session.open("a.py", FROZEN_BY_ATTRIBUTE)
    fix, silence, verify = await session.actions("a.py", 3)
    assert fix.is_preferred
    assert fix.edit.changes[session.uri("a.py")]
    assert silence.edit.changes[session.uri("a.py")][0].new_text == "net.requires_grad = False  # noqa: FRZ101"
    assert verify.title == "FRZ101: verify by a short run"
    assert await session.actions("a.py", 0) == []
    (whole,) = await session.actions("a.py", 0, only=["source.fixAll"])
    assert whole.edit.changes[session.uri("a.py")][0].new_text == FIXED


@pytest.mark.asyncio
async def test_hover_shows_the_page(pushed: Any) -> None:
    session = pushed.session
    await session.open("a.py", FROZEN_BY_ATTRIBUTE + "x = 1  # about FRZ302\n")
    assert await session.hover("a.py", 3, 5) == book.page("FRZ101")
    assert await session.hover("a.py", 4, 16) == book.page("FRZ302")
    assert await session.hover("a.py", 0, 0) == ""


@pytest.mark.asyncio
async def test_settings_of_the_workspace_and_of_its_files(pushed: Any) -> None:
    session = pushed.session
    await session.open("a.py", FROZEN_BY_ATTRIBUTE)
    pushed.workspace_did_change_configuration(lsp.DidChangeConfigurationParams({"freezelint": {"ignore": ["FRZ1"]}}))
    assert await session.told("a.py") == []
    pushed.workspace_did_change_configuration(lsp.DidChangeConfigurationParams({"freezelint": {}}))
    assert len(await session.told("a.py")) == 1
    (session.folder / "freezelint.toml").write_text('ignore = ["FRZ101"]\n')
    event = lsp.FileEvent(session.uri("freezelint.toml"), lsp.FileChangeType.Created)
    pushed.workspace_did_change_watched_files(lsp.DidChangeWatchedFilesParams([event]))
    assert await session.told("a.py") == []


@pytest.mark.asyncio
async def test_bad_settings_are_shown_and_the_server_lives(pushed: Any) -> None:
    session = pushed.session
    (session.folder / "freezelint.toml").write_text("steps = 0\n")
    assert await session.open("a.py", FROZEN_BY_ATTRIBUTE) == []
    assert "freezelint.toml:1: `steps` lies between 1 and 20" in pushed.messages[-1].message
    (session.folder / "freezelint.toml").unlink()
    assert len(await session.change("a.py", FROZEN_BY_ATTRIBUTE)) == 1


@pytest.mark.asyncio
async def test_verify_runs_the_models_when_asked(pushed: Any) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    session = pushed.session
    (session.folder / "freezelint.toml").write_text(f'python = "{sys.executable}"\n')
    (found,) = await session.open("models.py", MODEL)
    assert found.message.count("\n") == 0
    asked = lsp.ExecuteCommandParams("freezelint.verify", [session.uri("models.py")])
    text = await pushed.workspace_execute_command_async(asked)
    assert "models:Net: " in text
    (found,) = await session.told("models.py")
    assert "\nconfirmed: " in found.message


@pytest.mark.asyncio
@pytest.mark.parametrize("uri", ["untitled:Untitled-1", "file:///nowhere/gone.py"])
async def test_verify_of_a_text_that_is_no_file_is_refused(pushed: Any, uri: str) -> None:
    (pushed.session.folder / "models.py").write_text(MODEL)
    said = await pushed.workspace_execute_command_async(lsp.ExecuteCommandParams("freezelint.verify", [uri]))
    assert said.endswith("is no file yet: save it first")
    assert [message.message for message in pushed.messages] == [said]


@pytest.mark.asyncio
async def test_notebook_cells(pushed: Any) -> None:
    session = pushed.session
    cells, items = [], []
    for number, text in enumerate(["import torch\n%time\n", "net = torch.nn.Linear(1, 1)\nnet.requires_grad = False"]):
        uri = f"vscode-notebook-cell:{session.uri('n.ipynb')}#c{number}"
        cells.append(lsp.NotebookCell(lsp.NotebookCellKind.Code, uri))
        items.append(lsp.TextDocumentItem(uri, "python", 1, text))
    document = lsp.NotebookDocument(session.uri("n.ipynb"), "jupyter-notebook", 1, cells)
    pushed.notebook_document_did_open(lsp.DidOpenNotebookDocumentParams(document, items))
    assert await session.told_of(cells[0].document) == []
    (found,) = await session.told_of(cells[1].document)
    assert (found.code, found.range.start.line) == ("FRZ101", 1)


@pytest.mark.asyncio
async def test_fixes_in_notebook_cells(pushed: Any) -> None:
    session = pushed.session
    texts = ["import torch\nnet = torch.nn.Linear(1, 1)", "net.requires_grad = False", "x = 1"]
    cells = [f"vscode-notebook-cell:{session.uri('n.ipynb')}#c{number}" for number in range(3)]
    listed = [lsp.NotebookCell(lsp.NotebookCellKind.Code, cell) for cell in cells]
    document = lsp.NotebookDocument(session.uri("n.ipynb"), "jupyter-notebook", 1, listed)
    items = [lsp.TextDocumentItem(cell, "python", 1, text) for cell, text in zip(cells, texts, strict=True)]
    pushed.notebook_document_did_open(lsp.DidOpenNotebookDocumentParams(document, items))
    await session.told_of(cells[1])
    fix, silence, _verify = await session.actions_at(cells[1], 0)
    assert [edit.new_text for edit in fix.edit.changes[cells[1]]] == ["net.requires_grad_(False)"]
    assert silence.edit.changes[cells[1]][0].new_text == "net.requires_grad = False  # noqa: FRZ101"
    (whole,) = await session.actions_at(cells[0], 0, only=["notebook.source.fixAll"])
    assert {uri: [edit.new_text for edit in edits] for uri, edits in whole.edit.changes.items()} == {
        cells[1]: ["net.requires_grad_(False)"]
    }
    pushed.diagnostics.clear()
    closed = [lsp.TextDocumentIdentifier(cell) for cell in cells]
    notebook = lsp.NotebookDocumentIdentifier(session.uri("n.ipynb"))
    pushed.notebook_document_did_close(lsp.DidCloseNotebookDocumentParams(notebook, closed))
    assert await session.told_of(cells[1]) == []


@pytest.mark.asyncio
async def test_actions_are_about_the_text_as_it_stands(pushed: Any) -> None:
    session = pushed.session
    await session.open("a.py", FROZEN_BY_ATTRIBUTE)
    changed = lsp.VersionedTextDocumentIdentifier(2, session.uri("a.py"))
    moved = lsp.TextDocumentContentChangeWholeDocument("# moved\n" + FROZEN_BY_ATTRIBUTE)
    pushed.text_document_did_change(lsp.DidChangeTextDocumentParams(changed, [moved]))
    fix, *_ = await session.actions("a.py", 4)
    assert fix.edit.changes[session.uri("a.py")][0].range.start.line == 4


@pytest.mark.asyncio
async def test_pulled_diagnostics_in_utf_8(pulled: Any) -> None:
    session = pulled.session
    (session.folder / "a.py").write_text(WIDE, encoding="utf-8")
    item = lsp.TextDocumentItem(session.uri("a.py"), "python", 1, WIDE)
    pulled.text_document_did_open(lsp.DidOpenTextDocumentParams(item))
    asked = lsp.DocumentDiagnosticParams(lsp.TextDocumentIdentifier(session.uri("a.py")))
    report = await pulled.text_document_diagnostic_async(asked)
    assert [(one.code, one.range.start.character) for one in report.items] == [("FRZ101", 8)]
    assert pulled.diagnostics == {}


@pytest.mark.asyncio
async def test_pulled_diagnostics_of_a_cell(pulled: Any) -> None:
    session = pulled.session
    cells = [f"vscode-notebook-cell:{session.uri('n.ipynb')}#c{number}" for number in range(2)]
    listed = [lsp.NotebookCell(lsp.NotebookCellKind.Code, cell) for cell in cells]
    document = lsp.NotebookDocument(session.uri("n.ipynb"), "jupyter-notebook", 1, listed)
    texts = ["import torch\nnet = torch.nn.Linear(1, 1)", "net.requires_grad = False"]
    items = [lsp.TextDocumentItem(cell, "python", 1, text) for cell, text in zip(cells, texts, strict=True)]
    pulled.notebook_document_did_open(lsp.DidOpenNotebookDocumentParams(document, items))
    found = []
    for cell in cells:
        asked = lsp.DocumentDiagnosticParams(lsp.TextDocumentIdentifier(cell))
        found.append([one.code for one in (await pulled.text_document_diagnostic_async(asked)).items])
    assert found == [[], ["FRZ101"]]
    assert pulled.diagnostics == {}


def test_positions_both_ways() -> None:
    for encoding, character in (("utf-8", 4), ("utf-16", 2), ("utf-32", 1)):
        positions = Positions("x\n\U00010348y\r\nz", encoding)
        assert positions.to_client(2, 1) == (1, character)
        assert positions.from_client(1, character) == (2, 1)
        assert positions.end() == (2, 1)


def test_editor_sees_other_unsaved_files(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text("import torch\n\n\ndef make():\n    return 3\n")
    train = "from models import make\n\nnet = make()\nnet.requires_grad = False\n"
    editor = Editor()
    assert editor.findings(str(tmp_path / "train.py"), train) == []
    editor.unsaved[str(tmp_path / "models.py")] = b"import torch\n\n\ndef make():\n    return torch.nn.Linear(1, 1)\n"
    (found,) = editor.findings(str(tmp_path / "train.py"), train)
    assert (found.code, suppression(train, found)) == ("FRZ101", (4, "net.requires_grad = False  # noqa: FRZ101"))


NEOVIM = """
local root = vim.env.ROOT
local out = {}
local client = vim.lsp.start_client({ name = 'freezelint', cmd = vim.json.decode(vim.env.SERVER), root_dir = root })
local function wait(count)
  return vim.wait(20000, function() return #vim.diagnostic.get(0) == count end, 20)
end
vim.lsp.buf_attach_client(0, client)
out.open = wait(1)
out.code = vim.diagnostic.get(0)[1].code
local params = { textDocument = vim.lsp.util.make_text_document_params(), position = { line = 3, character = 5 } }
local answer = vim.lsp.buf_request_sync(0, 'textDocument/hover', params, 10000)
out.hover = answer[client].result.contents.value:sub(1, 8)
local range = { start = { line = 3, character = 0 }, ['end'] = { line = 3, character = 0 } }
params = { textDocument = params.textDocument, range = range, context = { diagnostics = {} } }
answer = vim.lsp.buf_request_sync(0, 'textDocument/codeAction', params, 10000)
vim.lsp.util.apply_workspace_edit(answer[client].result[1].edit, 'utf-16')
out.fixed = wait(0)
vim.cmd('write')
out.saved = wait(0)
vim.fn.writefile({ vim.json.encode(out) }, vim.env.OUT)
vim.cmd('qall!')
"""


@pytest.mark.slow
def test_headless_neovim(tmp_path: Path) -> None:
    nvim = shutil.which("nvim")
    if nvim is None:
        pytest.skip("Neovim is not installed")
    (tmp_path / "a.py").write_text(FROZEN_BY_ATTRIBUTE)
    (tmp_path / "drive.lua").write_text(NEOVIM)
    out = tmp_path / "out.json"
    env = {**os.environ, "ROOT": str(tmp_path), "SERVER": json.dumps(COMMAND), "OUT": str(out)}
    command = [nvim, "--headless", "--clean", str(tmp_path / "a.py"), "-c", f"luafile {tmp_path / 'drive.lua'}"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=90, check=False)
    assert out.exists(), done.stderr
    said = json.loads(out.read_text())
    assert said == {"open": True, "code": "FRZ101", "hover": "# FRZ101", "fixed": True, "saved": True}
    assert (tmp_path / "a.py").read_text() == FIXED
