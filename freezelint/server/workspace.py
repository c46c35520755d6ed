"""The workspace: its folders, the client's settings for all and for each of them, and settings files that change."""

from __future__ import annotations

from typing import Any

from lsprotocol import types as lsp
from pygls.uris import to_fs_path

from freezelint.editor import SettingsError
from freezelint.server.session import FreezelintServer, server

SECTION = "freezelint"
WATCHED = ("**/pyproject.toml", "**/freezelint.toml", "**/.freezelint.toml")


@server.feature(lsp.INITIALIZE)
def initialize(ls: FreezelintServer, params: lsp.InitializeParams) -> None:
    """Settings that come with the first message, as Neovim's and Helix's do."""
    given = params.initialization_options
    if isinstance(given, dict):
        take(ls, given.get("settings", given))


@server.feature(lsp.INITIALIZED)
async def initialized(ls: FreezelintServer, _params: lsp.InitializedParams) -> None:
    """Ask to hear of settings files, and for the workspace's own settings."""
    capabilities = ls.client_capabilities.workspace
    watches = capabilities and capabilities.did_change_watched_files
    if watches and watches.dynamic_registration:
        options = lsp.DidChangeWatchedFilesRegistrationOptions([lsp.FileSystemWatcher(glob) for glob in WATCHED])
        registration = lsp.Registration("settings", lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES, options)
        ls.client_register_capability(lsp.RegistrationParams([registration]))
    await ask(ls)


@server.feature(lsp.WORKSPACE_DID_CHANGE_CONFIGURATION)
async def did_change_configuration(ls: FreezelintServer, params: lsp.DidChangeConfigurationParams) -> None:
    if isinstance(params.settings, dict):
        take(ls, params.settings.get(SECTION, params.settings))
    await ask(ls)


@server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
async def did_change_watched_files(ls: FreezelintServer, _params: lsp.DidChangeWatchedFilesParams) -> None:
    await again(ls)


@server.feature(lsp.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
async def did_change_folders(ls: FreezelintServer, _params: lsp.DidChangeWorkspaceFoldersParams) -> None:
    await ask(ls)


def folders(ls: FreezelintServer) -> list[str]:
    return list(ls.workspace.folders)


async def ask(ls: FreezelintServer) -> None:
    """Take the settings that the client has for all, and for each folder; then read the open documents anew."""
    scopes = [None, *folders(ls)]
    ls.editor.folders(to_fs_path(folder) or "" for folder in scopes[1:] if folder)
    capabilities = ls.client_capabilities.workspace
    if capabilities and capabilities.configuration:
        items = [lsp.ConfigurationItem(scope_uri=scope, section=SECTION) for scope in scopes]
        answers = await ls.workspace_configuration_async(lsp.ConfigurationParams(items))
        for scope, answer in zip(scopes, answers or (), strict=False):
            if isinstance(answer, dict):
                take(ls, answer, to_fs_path(scope) or "" if scope else "")
    ls.settings_known.set()
    await again(ls)


def take(ls: FreezelintServer, options: dict[str, Any], folder: str = "") -> None:
    try:
        ls.editor.configure(options, folder)
    except SettingsError as error:
        ls.show(lsp.MessageType.Error, f"freezelint: {error}")


async def again(ls: FreezelintServer) -> None:
    """Read every open document anew."""
    ls.states.clear()
    if ls.pulls():
        ls.refresh()
        return
    for uri in list(ls.found):
        await ls.publish(uri)
