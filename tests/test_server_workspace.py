"""The language server's folders and their settings; its traces and runs, by one warm worker, and their end."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from test_server import COMMAND, Session, capabilities
from test_settle import MODEL
from tool import FROZEN_BY_ATTRIBUTE

pytest_lsp = pytest.importorskip("pytest_lsp", reason="pytest-lsp is not installed")
from lsprotocol import types as lsp  # noqa: E402
from pygls.exceptions import JsonRpcException  # noqa: E402

from freezelint.client import Cancelled, Worker  # noqa: E402
from freezelint.warm import Errand, WarmWorkers  # noqa: E402

HANGS = """import os, time
import torch

open("started.%d" % os.getpid(), "w").close()
time.sleep(600)
"""


@pytest_lsp.fixture(config=pytest_lsp.ClientServerConfig(server_command=COMMAND))
async def two_folders(lsp_client: pytest_lsp.LanguageClient, tmp_path: Path) -> AsyncIterator[None]:
    folders = [tmp_path / "quiet", tmp_path / "loud"]
    for folder in folders:
        folder.mkdir()
    lsp_client.set_configuration({"freezelint": {"ignore": ["FRZ1"]}}, scope_uri=folders[0].as_uri())
    lsp_client.set_configuration({"freezelint": {}}, scope_uri=folders[1].as_uri())
    lsp_client.set_configuration({"freezelint": {"python": sys.executable}})
    given = capabilities()
    assert given.workspace is not None
    given.workspace.configuration = True
    given.workspace.workspace_folders = True
    given.window = lsp.WindowClientCapabilities(work_done_progress=True)
    roots = [lsp.WorkspaceFolder(folder.as_uri(), folder.name) for folder in folders]
    await lsp_client.initialize_session(lsp.InitializeParams(given, workspace_folders=roots))
    lsp_client.session = Session(lsp_client, tmp_path)
    yield
    await lsp_client.shutdown_session()


@pytest.mark.asyncio
async def test_each_folder_has_settings_of_its_own(two_folders: Any) -> None:
    client, session = two_folders, two_folders.session
    assert len(await session.open("loud/a.py", FROZEN_BY_ATTRIBUTE)) == 1
    assert await session.open("quiet/a.py", FROZEN_BY_ATTRIBUTE) == []
    (session.folder / "loud/freezelint.toml").write_text('ignore = ["FRZ101"]\n')
    event = lsp.FileEvent(session.uri("loud/freezelint.toml"), lsp.FileChangeType.Created)
    client.workspace_did_change_watched_files(lsp.DidChangeWatchedFilesParams([event]))
    assert await session.told("loud/a.py") == []
    assert await session.told("quiet/a.py") == []  # every open document is read anew
    (session.folder / "loud/freezelint.toml").unlink()
    client.set_configuration({"freezelint": {"select": ["FRZ2"]}}, scope_uri=session.uri("loud"))
    client.set_configuration({"freezelint": {}}, scope_uri=session.uri("quiet"))
    client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(None))
    assert (await session.told("loud/a.py"), len(await session.told("quiet/a.py"))) == ([], 1)


@pytest.mark.asyncio
async def test_a_wrong_setting_is_told_and_the_old_ones_hold(two_folders: Any) -> None:
    client, session = two_folders, two_folders.session
    assert await session.open("quiet/a.py", FROZEN_BY_ATTRIBUTE) == []
    client.set_configuration({"freezelint": {"steps": "two"}}, scope_uri=session.uri("quiet"))
    client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(None))
    assert await session.told("quiet/a.py") == []
    assert [m.message for m in client.messages] == [
        "freezelint: the editor's settings: `steps` must be a whole number, not `'two'`"
    ]


@pytest.mark.asyncio
async def test_a_cancelled_trace_ends_with_the_processes_it_started(two_folders: Any) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    client, session = two_folders, two_folders.session
    await session.open("loud/models.py", HANGS + MODEL)
    assert not list((session.folder / "loud").glob("started.*"))  # opening runs nothing
    asked = lsp.ExecuteCommandParams("freezelint.trace", [session.uri("loud/models.py")])
    request = asyncio.ensure_future(client.workspace_execute_command_async(asked))
    for _ in range(1200):
        if started := list((session.folder / "loud").glob("started.*")):
            break
        await asyncio.sleep(0.05)
    process = int(started[0].suffix[1:])
    number = next(iter(client.protocol._request_futures))
    client.cancel_request(lsp.CancelParams(number))
    with pytest.raises(JsonRpcException, match="cancel"):
        await request
    for _ in range(200):
        if not running(process):
            break
        await asyncio.sleep(0.05)
    assert not running(process)
    (reports,) = client.progress_reports.values()
    for _ in range(200):
        if reports[-1].kind == "end":
            break
        await asyncio.sleep(0.05)
    assert (reports[0].kind, reports[0].cancellable, reports[-1].kind) == ("begin", True, "end")


@pytest.mark.slow
def test_a_server_told_to_exit_leaves_no_process(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    (tmp_path / "models.py").write_text(HANGS + MODEL)
    settings = {"python": sys.executable}
    questions: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": {"capabilities": {}, "initializationOptions": settings}},
        {"method": "initialized", "params": {}},
        {"id": 2, "method": "workspace/executeCommand", "params": {"command": "freezelint.trace"}},
        {"id": 3, "method": "shutdown"},
        {"method": "exit"},
    ]
    questions[2]["params"]["arguments"] = [(tmp_path / "models.py").as_uri()]
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as server:
        assert server.stdin is not None
        for question in questions:
            if question["method"] == "shutdown":
                wait_until(lambda: list(tmp_path.glob("started.*")))
            text = json.dumps({"jsonrpc": "2.0", **question})
            server.stdin.write(f"Content-Length: {len(text)}\r\n\r\n{text}".encode())
            server.stdin.flush()
        assert server.wait(60) == 0
    (started,) = tmp_path.glob("started.*")
    wait_until(lambda: not running(int(started.suffix[1:])))


def wait_until(holds: Callable[[], object]) -> None:
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    pytest.fail("waited for a minute")


def running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_warm_worker_waits_and_sees_edited_code(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    file, target = tmp_path / "m.py", {"build": "m:build"}
    workers = WarmWorkers()
    python = Path(sys.executable)
    try:
        file.write_text("import torch\n\ndef build():\n    return torch.nn.Linear(1, 2)\n")
        with workers(python, tmp_path) as first:
            assert [row["shape"] for row in first.call("trace", target=target)["parameters"]] == [[2, 1], [2]]
        file.write_text("import torch\n\ndef build():\n    return torch.nn.Linear(1, 3)\n")
        assert workers._ready is not None
        workers._ready.join()
        spare = workers._spare
        started = time.monotonic()
        with workers(python, tmp_path) as second:
            assert second is spare
            assert [row["shape"] for row in second.call("trace", target=target)["parameters"]] == [[3, 1], [3]]
        assert time.monotonic() - started < 30
    finally:
        workers.close()
    assert workers._spare is None


def test_an_errand_that_is_off_gets_no_worker() -> None:
    errand = Errand(WarmWorkers())
    errand.cancel()
    with pytest.raises(Cancelled):
        errand(Path(sys.executable), Path())
    with pytest.raises(Cancelled):
        errand.check()
    assert not Worker(Path(sys.executable), Path()).alive
