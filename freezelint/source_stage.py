"""The source witness over many files: the gate, the cache, then one process or several."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezelint.cache import Cache, digest, state
from freezelint.findings import Finding, Location, Severity
from freezelint.records import asdict, field, record
from freezelint.source import gate
from freezelint.textfile import TextFile, Undecodable, decode

if TYPE_CHECKING:
    from freezelint.source.lint import Project
    from freezelint.source.notebook import Notebook
    from freezelint.source.targets import Target

POOL_FROM_BYTES = 150_000  # of source that has to be parsed: below, a second process costs more than it saves
GARBAGE_FROM = 1_000_000  # new objects: little of a reading is garbage, and to look for it costs a tenth of the time
ROOT_MARKS = ("pyproject.toml", "freezelint.toml", ".git", "setup.py", "setup.cfg")


@record
class Source:
    """One file as read: what to lint, what to edit, and how to write it back."""

    path: str
    data: bytes
    file: TextFile
    notebook: Notebook | None = None

    @property
    def text(self) -> str:
        return self.notebook.source if self.notebook else self.file.text

    @property
    def editable(self) -> str:
        return self.notebook.original if self.notebook else self.file.text

    def encode(self, editable: str) -> bytes:
        if self.notebook:
            from freezelint.source import notebook

            return self.file.encode(notebook.write(self.file.text, editable))
        return self.file.encode(editable)


@record
class FileReport:
    """What one file's reading gave."""

    path: str
    findings: list[Finding] = field(default_factory=list)
    dependencies: dict[str, str] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)
    suppresses: bool = False  # holds comments that may silence findings

    def to_json(self) -> dict[str, Any]:
        return {
            "findings": [finding.to_json() for finding in self.findings],
            "dependencies": self.dependencies,
            "targets": [asdict(target) for target in self.targets],
        }

    @classmethod
    def from_json(cls, path: str, data: dict[str, Any]) -> FileReport:
        targets: list[Target] = []
        if data["targets"]:
            from freezelint.source.targets import Target

            targets = [Target(**target) for target in data["targets"]]
        return cls(path, [Finding.from_json(item) for item in data["findings"]], data["dependencies"], targets)


@record(frozen=True)
class Job:
    path: str
    codes: frozenset[str]
    preview: frozenset[str] = frozenset()  # codes that may speak although they are in preview


Item = tuple[Job, bytes]
Run = Callable[[Callable[["Project | None", Item], Any], list[Item], int], Iterable[Any]]


def lint_files(
    jobs: Iterable[Job], roots: Sequence[Path], store: Cache, overlay: Mapping[str, bytes], *, models: bool
) -> list[FileReport]:
    """A report for every file that passes the gate; the others have nothing to say."""
    reports: list[FileReport] = []
    todo: list[Item] = []
    silent: list[Item] = []
    for job in jobs:
        try:
            data = overlay[job.path] if job.path in overlay else Path(job.path).read_bytes()
        except OSError as error:
            reports.append(FileReport(job.path, [unreadable(job.path, error.strerror or str(error))]))
            continue
        if not gate.passes(gate.code_of(job.path, data), models=models):
            silent.append((job, data))
            continue
        kept = None if overlay else store.get(job.path, data, _mark(job.codes, job.preview))
        if kept is None:
            todo.append((job, data))
        else:
            reports.append(FileReport.from_json(job.path, kept))
            reports[-1].suppresses = gate.suppresses(data)
    todo.sort(key=lambda item: -_effort(item[1]))
    with _hands(todo, roots, overlay) as run:
        replies, broken = run(_linted, todo, 1 + len(todo) // 100), run(_broken, silent, 1 + len(silent) // 100)
        unparsed: list[Item] = []
        for (job, data), bad in zip(silent, broken, strict=True):
            if bad:
                unparsed.append((job, data))
            elif gate.suppresses(data):
                reports.append(FileReport(job.path, suppresses=True))
        more = run(_linted, unparsed, 1)
        for (job, data), reply in zip((*todo, *unparsed), chain(replies, more), strict=True):
            report = FileReport.from_json(job.path, reply)
            report.suppresses = gate.suppresses(data)
            reports.append(report)
            if not overlay:
                store.put(job.path, data, _mark(job.codes, job.preview), reply)
    return reports


def _effort(data: bytes) -> int:
    """What reading a file will cost, roughly: the dearest are read first, so that all hands are done together."""
    return len(data) * (4 if b"backward" in data else 1)


@cache
def _mark(codes: frozenset[str], preview: frozenset[str]) -> str:
    """A choice of rules as a short word, the same in every process."""
    return digest(f"{sorted(codes)} {sorted(preview)}".encode())[:12]


@contextmanager
def _hands(todo: list[Item], roots: Sequence[Path], overlay: Mapping[str, bytes]) -> Iterator[Run]:
    """How to do one thing to many files: in a pool where there is enough to read, else here."""
    processes = min(_cpus(), len(todo) // 2)
    if processes < 2 or sum(len(data) for _, data in todo) < POOL_FROM_BYTES:
        project: list[Project] = []

        def here(work: Callable[[Project | None, Item], Any], items: list[Item], _chunk: int) -> Iterable[Any]:
            if items and work is _linted and not project:
                project.append(_project(roots, overlay))
            return [work(project[0] if project else None, item) for item in items]

        yield here
        return
    from concurrent.futures import ProcessPoolExecutor

    import freezelint.source.lint  # noqa: F401  before any fork: the children share it

    with ProcessPoolExecutor(processes, initializer=_start, initargs=(roots, overlay)) as pool:
        yield lambda work, items, chunk: pool.map(partial(_in_pool, work), items, chunksize=chunk)


_shared: list[Project] = []


def _start(roots: Sequence[Path], overlay: Mapping[str, bytes]) -> None:
    gc.freeze()
    gc.disable()
    _shared.append(_project(roots, overlay))


def _in_pool(work: Callable[[Project | None, Item], Any], item: Item) -> Any:
    if gc.get_count()[0] > GARBAGE_FROM:
        gc.collect()
        gc.freeze()  # what lives are the trees of the files, which stay
    return work(_shared[0], item)


def _broken(_: Project | None, item: Item) -> bool:
    return gate.broken(item[1], item[0].path)


def _linted(project: Project | None, item: Item) -> dict[str, Any]:
    assert project is not None
    return lint_one(*item, project).to_json()


def _project(roots: Sequence[Path], overlay: Mapping[str, bytes]) -> Project:
    from freezelint.source.lint import Project

    _digest.cache_clear()
    texts = {}
    for path, data in overlay.items():
        if path.endswith(".py"):
            try:
                texts[path] = texts[os.path.abspath(path)] = decode(data).text
            except Undecodable:
                continue
    return Project(roots, texts)


def lint_one(job: Job, data: bytes, project: Project) -> FileReport:
    """Read, decode and lint one file; whatever goes wrong is a finding, never a traceback."""
    from freezelint.source.lint import lint_file

    enabled = gc.isenabled()
    gc.disable()
    try:
        source = open_source(job.path, data)
        report = lint_file(job.path, source.text, project, _codes(job))
    except Unreadable as error:
        return FileReport(job.path, [unreadable(job.path, str(error))])
    except RecursionError:
        return FileReport(job.path, [unreadable(job.path, "nested too deeply")])
    except Exception as error:
        if os.environ.get("FREEZELINT_DEBUG"):
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return FileReport(job.path, [unreadable(job.path, f"the reading failed, please report it: {text[:200]}")])
    finally:
        if enabled:
            gc.enable()
    dependencies = {os.path.abspath(other): _digest(other) for other in project.consulted(job.path)}
    return FileReport(job.path, list(report.findings), dependencies, list(report.targets))


_digest = cache(state)


def _codes(job: Job) -> frozenset[str]:
    from freezelint.rule import all_rules

    rules = all_rules()
    return frozenset(code for code in job.codes if code not in rules or not rules[code].preview or code in job.preview)


class Unreadable(Exception):
    """A file that is not text, or a notebook that is none."""


def open_source(path: str, data: bytes) -> Source:
    """The file as source to lint. Raises Unreadable."""
    try:
        file = decode(data)
    except Undecodable as error:
        raise Unreadable(str(error)) from None
    if not path.endswith(".ipynb"):
        return Source(path, data, file)
    from freezelint.source.notebook import NotANotebook, read

    try:
        return Source(path, data, file, read(file.text))
    except NotANotebook as error:
        raise Unreadable(str(error)) from None


def unreadable(path: str, reason: str) -> Finding:
    return Finding("FRZ002", f"not checked: {reason}", Location(path, 1, 0, 1, 0), Severity.ERROR)


def project_roots(paths: Iterable[str]) -> list[Path]:
    """Where imports are looked up: the project folders of the paths (the nearest one with a project file, else the
    working folder), then the folders themselves: a script finds its neighbours without a package."""
    roots: list[Path] = []
    here = Path.cwd()
    folders = [full if full.is_dir() else full.parent for full in (Path(os.path.abspath(path)) for path in paths)]
    for folder in folders:
        marked = next(
            (up for up in (folder, *folder.parents) if any((up / mark).exists() for mark in ROOT_MARKS)), None
        )
        inside = folder.is_relative_to(here) and here != Path(here.anchor) and here != Path.home()
        roots.append(marked or (here if inside else folder))
    return list(dict.fromkeys([*roots, *folders]))


def _cpus() -> int:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, 61)  # a pool can wait for no more processes on Windows
