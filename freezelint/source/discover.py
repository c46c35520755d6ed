"""Which files to check: the paths given, walked, less what `.gitignore` and the settings exclude."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from freezelint.config import Resolver
from freezelint.records import record
from freezelint.settings import Settings

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

SUFFIXES = (".py", ".pyi", ".ipynb")
Ignores = tuple[tuple[str, "GitIgnoreSpec"], ...]  # (folder, its patterns), the innermost last


@record(frozen=True)
class Found:
    """One file to check, its path as the user would write it, and the settings that hold for it."""

    path: str
    settings: Settings


class Missing(Exception):
    """A path on the command line that does not exist, or is no file."""


def discover(paths: Sequence[str], resolver: Resolver) -> list[Found]:
    """The files under `paths`, each once, in a stable order. A file named itself is checked whatever its suffix."""
    found: dict[str, Found] = {}
    for path in paths:
        full = os.path.abspath(path)
        if os.path.isdir(full):
            settings = resolver.of(Path(full))
            if settings.force_exclude and excluded(full, settings):
                continue
            ignores = _outer_ignores(full) if settings.respect_gitignore else ()
            if _ignored(full, True, ignores):  # named on the command line: meant to be checked
                ignores = ()
            found.update((file.path, file) for file in _walk(full, resolver, ignores))
        elif os.path.exists(full) and not os.path.isfile(full):  # reading it may never end
            raise Missing(f"{path}: not a regular file")
        elif os.path.exists(full):
            settings = resolver.of(Path(full).parent)
            if not (settings.force_exclude and excluded(full, settings)):
                found[shown(full)] = Found(shown(full), settings)
        else:
            raise Missing(f"{path}: no such file or folder")
    return [found[path] for path in sorted(found)]


def shown(full: str) -> str:
    """`full` relative to the working folder where it lies inside it."""
    here = os.getcwd()
    if full == here:
        return "."
    return os.path.relpath(full, here) if full.startswith(here.rstrip(os.sep) + os.sep) else full


def excluded(full: str, settings: Settings) -> bool:
    """Whether an `exclude` pattern matches the path, its name, or one of its folders below the root."""
    patterns = (*settings.exclude, *settings.extend_exclude)
    root = str(settings.root.absolute())
    relative = os.path.relpath(full, root) if full.startswith(root.rstrip(os.sep) + os.sep) else os.path.basename(full)
    parts = relative.split(os.sep)
    below = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    return any(fnmatch(text, pattern.rstrip("/")) for pattern in patterns for text in (*parts, *below))


def ignored_codes(path: str, settings: Settings) -> tuple[str, ...]:
    """The codes that `per-file-ignores` turns off in this file; a pattern with `!` in front matches the others."""
    codes: list[str] = []
    full = os.path.abspath(path)
    for pattern, listed in settings.per_file_ignores.items():
        bare = pattern.removeprefix("!")
        hit = fnmatch(os.path.basename(full), bare) or fnmatch(full, os.path.join(settings.root.absolute(), bare))
        if hit != pattern.startswith("!"):
            codes.extend(listed)
    return tuple(codes)


def _walk(folder: str, resolver: Resolver, ignores: Ignores) -> Iterator[Found]:
    settings = resolver.of(Path(folder))
    if settings.respect_gitignore:
        ignores = (*ignores, *_ignores_in(folder))
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder and not entry.name.endswith(SUFFIXES):
            continue
        if _excluded_here(entry, folder, settings) or _ignored(entry.path, is_folder, ignores):
            continue
        if is_folder:
            yield from _walk(entry.path, resolver, ignores)
        elif _is_file(entry):
            yield Found(shown(entry.path), settings)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself
        return False


def _excluded_here(entry: os.DirEntry[str], folder: str, settings: Settings) -> bool:
    """`excluded` for an entry whose folder was let in: only its own name and its whole path can match."""
    root = str(settings.root.absolute())
    relative = os.path.relpath(entry.path, root) if folder.startswith(root) else entry.name
    relative = relative.replace(os.sep, "/")
    for pattern in (*settings.exclude, *settings.extend_exclude):
        bare = pattern.rstrip("/")
        if fnmatch(entry.name, bare) or ("/" in bare and fnmatch(relative, bare.removeprefix("./"))):
            return True
    return False


def _ignored(path: str, is_folder: bool, ignores: Ignores) -> bool:
    """What git would say: the innermost `.gitignore` that knows the path decides."""
    for folder, spec in reversed(ignores):
        relative = os.path.relpath(path, folder).replace(os.sep, "/") + ("/" if is_folder else "")
        verdict = spec.check_file(relative).include
        if verdict is not None:
            return verdict
    return False


def _ignores_in(folder: str) -> Ignores:
    return _spec(folder, os.path.join(folder, ".gitignore"))


def _spec(folder: str, file: str) -> Ignores:
    if not os.path.isfile(file):
        return ()
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return ()
    from pathspec import GitIgnoreSpec

    return ((folder, GitIgnoreSpec.from_lines(lines)),)


def _outer_ignores(folder: str) -> Ignores:
    """The `.gitignore` files above `folder` up to the repository's root, outermost first; none outside a repository."""
    chain = []
    for parent in (folder, *map(str, Path(folder).parents)):
        chain.append(parent)
        if os.path.exists(os.path.join(parent, ".git")):
            outer = [*_spec(parent, os.path.join(parent, ".git", "info", "exclude"))]
            for above in reversed(chain[1:]):
                outer.extend(_ignores_in(above))
            return tuple(outer)
    return ()
