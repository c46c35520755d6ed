"""All stages in order: discover, source, fixes, graph, run, suppress, sort. The only module that knows them all."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezelint import book, fixes
from freezelint.cache import FOLDER, Cache
from freezelint.config import Resolver
from freezelint.findings import Finding, Location, Severity
from freezelint.records import field, record, replace
from freezelint.settings import Settings
from freezelint.source.discover import Found, discover, excluded, ignored_codes, shown
from freezelint.source_stage import FileReport, Job, Source, Unreadable, lint_files, open_source, project_roots
from freezelint.textfile import read_regular

if TYPE_CHECKING:
    from freezelint.client import Workers
    from freezelint.model_report import ModelReport
    from freezelint.source.targets import Target

FIX_ROUNDS = 10
Progress = Callable[[str], None]


def silent(_: str) -> None:
    """No progress shown."""


class Sources:
    """The files as they stand: what was edited in memory over what is on disk."""

    def __init__(self, overlay: dict[str, bytes] | None = None) -> None:
        self.overlay = dict(overlay or {})
        self._open: dict[str, Source | None] = {}
        self._lines: dict[str, fixes.Lines] = {}

    def data(self, path: str) -> bytes:
        return self.overlay[path] if path in self.overlay else read_regular(path)

    def open(self, path: str) -> Source | None:
        """The file, or None where it cannot be read."""
        if path not in self._open:
            try:
                self._open[path] = open_source(path, self.data(path))
            except (OSError, Unreadable):
                self._open[path] = None
        return self._open[path]

    def edit(self, path: str, data: bytes) -> None:
        self.overlay[path] = data
        self.forget(path)

    def forget(self, path: str) -> None:
        stores: tuple[dict[str, Any], ...] = (self._open, self._lines)
        for known in stores:
            for key in [key for key in known if key == path or key.startswith(f"{path}\0")]:
                del known[key]

    def line(self, path: str, cell: int | None, number: int) -> str:
        """One line of a file, or of a notebook's cell, as written."""
        key = f"{path}\0{cell}"
        if key not in self._lines:
            source = self.open(path)
            text = source.editable if source else ""
            if source and source.notebook and cell:
                rows = zip(source.notebook.cell_lines, text.split("\n"), strict=False)
                text = "\n".join([line for (index, _), line in rows if index == cell][1:])
            self._lines[key] = fixes.Lines(text)
        return self._lines[key].line(number)


@record
class Outcome:
    """What a check gave, before it is printed."""

    findings: list[Finding]
    files: list[Found]
    sources: Sources
    fixed: int = 0
    changed: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)  # path -> bytes before and after
    targets: list[Target] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    pictures: list[ModelReport] = field(default_factory=list)  # the models of the tables
    notes: list[str] = field(default_factory=list)
    models: int = 0
    runs: int = 0
    refuted: int = 0
    refused_targets: list[str] = field(default_factory=list)  # what was to be traced and names no model, each in a line

    def diff(self) -> str:
        """The fixes as one unified diff; a notebook's as the source of its cells."""
        import difflib

        parts: list[str] = []
        for path, (before, after) in sorted(self.changed.items()):
            old, new = open_source(path, before).editable, open_source(path, after).editable
            rows = difflib.unified_diff(old.splitlines(True), new.splitlines(True), path, path)
            parts.extend(row if row.endswith("\n") else row + "\n\\ No newline at end of file\n" for row in rows)
        return "".join(parts)


class Check:
    """One check of some paths, or of text from standard input under a file name (`unsaved`: other files' texts)."""

    def __init__(
        self,
        paths: Sequence[str],
        resolver: Resolver,
        *,
        stdin: bytes | None = None,
        stdin_name: str = "-",
        unsaved: dict[str, bytes] | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.resolver = resolver
        self._workers = workers
        self.settings = resolver.settings
        self.paths = list(paths) or ["."]
        if stdin is None:
            self.files = discover(self.paths, resolver)
            self.sources = Sources()
        else:
            self.files = [Found(stdin_name, resolver.of(Path(stdin_name).absolute().parent))]
            self.sources = Sources({**(unsaved or {}), stdin_name: stdin})
            self.paths = [stdin_name if stdin_name != "-" else "."]
        self.by_path = {file.path: file for file in self.files}
        self.roots = project_roots(self.paths)

    @property
    def workers(self) -> Workers:
        """Where the other two witnesses get their workers."""
        from freezelint.client import Worker

        return self._workers or Worker

    @classmethod
    def of_nothing(cls, resolver: Resolver) -> Check:
        """A check without files: the command names what it works on."""
        check = cls([], resolver, stdin=b"", stdin_name="-")
        check.files, check.by_path, check.sources = [], {}, Sources()
        return check

    def source_findings(self) -> list[Finding]:
        """What the source alone says."""
        return self._finished(self._lint(self.files))

    def run(self, progress: Progress = silent) -> Outcome:
        """Every stage the settings ask for."""
        progress(f"reading {len(self.files)} files")
        reports = self._lint(self.files)
        outcome = Outcome([], self.files, self.sources)
        if self.settings.fix or self.settings.diff:
            self._fix(reports, outcome)
        found = self._finished(reports)
        outcome.targets = [target for report in reports.values() for target in report.targets]
        if self.settings.trace or self.settings.verify:
            from freezelint.settle import witness

            found = witness(found, outcome, self, progress)
        outcome.findings = self.told(found)
        progress("")
        return outcome

    def codes(self, settings: Settings) -> frozenset[str]:
        return settings.codes(book.codes())

    def asked(self) -> frozenset[str]:
        """The rules asked of a trace or a run: those that are on, less the ones in preview that were not chosen."""
        from freezelint.rule import all_rules

        rules, settings = all_rules(), self.settings
        on = self.codes(settings) & rules.keys()
        return frozenset(code for code in on if not rules[code].preview or settings.allows_preview(code))

    def keep(self, found: Iterable[Finding], seen: set[str] | None = None) -> list[Finding]:
        """Findings less the ones turned off for their file or silenced by a comment, each once; FRZ001 added.

        `seen`: files with suppression comments that hold no finding.
        """
        groups: dict[str, dict[tuple[str, Location], Finding]] = defaultdict(dict)
        for finding in (_moved(item, self._joined) for item in found):
            groups[finding.location.path].setdefault((finding.code, finding.location), finding)
        kept: list[Finding] = []
        for path in sorted({*groups, *(seen or ())}):
            kept.extend(self._keep_in(path, list(groups[path].values()), unused=seen is not None))
        return kept

    def _keep_in(self, path: str, found: list[Finding], *, unused: bool) -> list[Finding]:
        known = self.by_path.get(path)
        settings = known.settings if known else self.resolver.of(Path(path).absolute().parent)
        if not known and excluded(str(Path(path).absolute()), settings):
            return []
        active = self.codes(settings)
        off = ignored_codes(path, settings)
        active = frozenset(code for code in active if not any(code.startswith(prefix) for prefix in off))
        found = [finding for finding in found if finding.code in active]
        source = self.sources.open(path)
        if source is None:
            return found
        from freezelint import suppress

        judged = {code for code in active if self._judged(code, settings)}
        found, idle = suppress.silence(path, source.editable, found, judged)
        return found + (idle if unused and known and "FRZ001" in active else [])

    def _judged(self, code: str, settings: Settings) -> bool:
        """Whether the rule had the chance to speak in this check."""
        from freezelint.rule import all_rules

        rule = all_rules().get(code)
        if rule is None or (rule.preview and not settings.allows_preview(code)):
            return False
        return "source" in book.witnesses(code) or (self.settings.trace and self.settings.verify)

    def _lint(self, files: Iterable[Found]) -> dict[str, FileReport]:
        settings = self.settings
        jobs = [Job(file.path, self.codes(file.settings), self._preview(file.settings)) for file in files]
        folder = (settings.cache_dir or self.roots[0] / FOLDER) if settings.cache and not self.sources.overlay else None
        models = settings.trace or settings.verify
        cache = Cache(folder, "-models" if models else "")
        reports = lint_files(jobs, self.roots, cache, self.sources.overlay, models=models)
        cache.save()
        return {report.path: report for report in reports}

    def _preview(self, settings: Settings) -> frozenset[str]:
        return frozenset(code for code in book.codes() if settings.allows_preview(code))

    def _finished(self, reports: dict[str, FileReport]) -> list[Finding]:
        found = (finding for report in reports.values() for finding in report.findings)
        return self.keep(found, {path for path, report in reports.items() if report.suppresses})

    def told(self, found: list[Finding]) -> list[Finding]:
        """In the order of the files, with notebook places told by cell."""
        ordered = sorted(found, key=lambda item: (item.location, item.code))
        return [_moved(finding, self.in_cells) for finding in ordered]

    def in_cells(self, location: Location) -> Location:
        """A place of a notebook's joined source as cell and line."""
        source = self.sources.open(location.path) if location.path.endswith(".ipynb") else None
        return source.notebook.place(location) if source and source.notebook else location

    def _joined(self, location: Location) -> Location:
        """A place with its path as the user writes it, and a notebook's cell as lines of the joined source."""
        path = shown(os.path.abspath(location.path)) if location.path != "-" else "-"
        short = location if path == location.path else replace(location, path=path)
        source = self.sources.open(path) if short.cell is not None else None
        return source.notebook.join(short) if source and source.notebook else short

    def _fix(self, reports: dict[str, FileReport], outcome: Outcome) -> None:
        """Apply fixes and read again, until nothing is left to fix; a fix that breaks its file is taken back."""
        broken: set[str] = set()
        first: dict[str, bytes] = {}
        for _ in range(FIX_ROUNDS):
            found = [item for item in self._finished(reports) if item.location.path not in broken]
            texts = {item.location.path for item in found}
            texts |= {edit.location.path for item in found if item.fix for edit in item.fix.edits}
            opened = {
                path: source for path in texts - broken if path in self.by_path and (source := self.sources.open(path))
            }
            edited, count = fixes.apply(
                {path: source.editable for path, source in opened.items()}, found, unsafe=self.settings.unsafe_fixes
            )
            if not edited:
                break
            before = {path: self.sources.data(path) for path in edited}
            for path, text in edited.items():
                self.sources.edit(path, opened[path].encode(text))
            again = self._lint([self.by_path[path] for path in self._affected(edited.keys(), reports)])
            spoilt = {path for path in edited if _broken(again.get(path)) and not _broken(reports.get(path))}
            for path in spoilt:
                self.sources.edit(path, before[path])
                outcome.notes.append(f"{path}: a fix would have broken the file, nothing was changed in it")
                again.pop(path, None)
            broken |= spoilt
            first.update({path: data for path, data in before.items() if path not in first and path not in spoilt})
            for path in edited.keys() - spoilt:
                reports.pop(path, None)
            reports.update(again)
            outcome.fixed += count if not spoilt else 0
        outcome.changed = {
            path: (data, self.sources.data(path)) for path, data in first.items() if data != self.sources.data(path)
        }

    def _affected(self, edited: Iterable[str], reports: dict[str, FileReport]) -> list[str]:
        """The edited files and the ones whose reading consulted them."""
        changed = set(edited)
        full = {str(Path(path).absolute()) for path in changed}
        for path, report in reports.items():
            if path in self.by_path and full & {str(Path(other).absolute()) for other in report.dependencies}:
                changed.add(path)
        return sorted(changed & self.by_path.keys())


def write(outcome: Outcome) -> None:
    """Put the fixed files on disk."""
    for path, (_, after) in outcome.changed.items():
        Path(path).write_bytes(after)


def add_noqa(outcome: Outcome) -> int:
    """Write `# noqa` behind every finding of `outcome` in a Python file; how many findings that silences."""
    from freezelint import suppress

    by_path: dict[str, list[Finding]] = defaultdict(list)
    for finding in outcome.findings:
        if not finding.code.startswith("FRZ0") and finding.location.cell is None:
            by_path[finding.location.path].append(finding)
    for path, found in by_path.items():
        source = outcome.sources.open(path)
        if source:
            Path(path).write_bytes(source.encode(suppress.add_noqa(source.editable, found)))
    return sum(map(len, by_path.values()))


def failing(findings: Iterable[Finding]) -> bool:
    """Whether a build should fail: a hint is only told."""
    return any(finding.severity is not Severity.HINT for finding in findings)


def _moved(finding: Finding, move: Callable[[Location], Location]) -> Finding:
    """`finding` with every place in it moved."""
    fix = finding.fix
    if fix is not None:
        fix = replace(fix, edits=tuple(replace(edit, location=move(edit.location)) for edit in fix.edits))
    related = tuple(replace(item, location=move(item.location)) for item in finding.related)
    return replace(finding, location=move(finding.location), related=related, fix=fix)


def _broken(report: FileReport | None) -> bool:
    return bool(report and any(finding.code == "FRZ002" for finding in report.findings))
