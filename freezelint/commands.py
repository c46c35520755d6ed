"""What each command does: options become settings, the engine works, the outcome is printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezelint import book
from freezelint.config import Resolver
from freezelint.findings import Finding
from freezelint.output import Report, render
from freezelint.settings import (
    OUTPUT_FORMATS,
    PICTURES,
    Settings,
    SettingsError,
    Where,
    check_codes,
    check_values,
    to_json,
)

if TYPE_CHECKING:
    from freezelint.engine import Outcome
    from freezelint.progress import Progress

LISTS = ("select", "ignore", "extend_select", "exclude", "extend_exclude")
PLAIN = (
    "force_exclude respect_gitignore preview fix unsafe_fixes diff trace verify show_refuted python steps device seed "
    "output_format output_file statistics exit_zero cache_dir baseline"
).split()
FOR_READERS = ("full", "text", "concise")
FOR_PROGRAMS = frozenset(OUTPUT_FORMATS) - {*FOR_READERS, "html"}
Options = dict[str, Any]


def call(name: str, options: Options) -> int:
    """Run one command; bad settings are one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):  # what a terminal's encoding cannot show is no reason to end
        _set(stream, errors="replace")
    try:
        return COMMANDS[name](options)
    except SettingsError as error:
        print(f"freezelint: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        if os.environ.get("FREEZELINT_DEBUG"):
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"freezelint: internal error: {text[:300]} (FREEZELINT_DEBUG=1 shows where)", file=sys.stderr)
        return 2


def check(options: Options) -> int:
    """`freezelint check`: 0 clean, 1 findings, 2 could not work."""
    paths = options["paths"] or ["."]
    resolver = resolve(options)
    if options.get("show_settings"):
        print(to_json(resolver.settings_for(paths[0])))
        return 0
    if options.get("watch"):
        from freezelint.watch import watch

        if "-" in paths:
            raise SettingsError("--watch: standard input does not change")
        return watch(lambda: _check_once(options, resolver, paths), paths, resolver)
    return _check_once(options, resolver, paths)


def _check_once(options: Options, resolver: Resolver, paths: list[str]) -> int:
    from freezelint import engine
    from freezelint.source.discover import Missing

    from_stdin = "-" in paths
    if from_stdin and options.get("add_noqa"):
        raise SettingsError("--add-noqa: standard input has no file to write in")
    name = options.get("stdin_filename") or "-"
    try:
        stdin = sys.stdin.buffer.read() if from_stdin else None
        job = engine.Check(paths, resolver, stdin=stdin, stdin_name=name)
    except Missing as error:
        print(f"freezelint: {error}", file=sys.stderr)
        return 2
    if options.get("show_files"):
        print("\n".join(os.path.abspath(file.path) for file in job.files))
        return 0
    settings = job.settings
    if not job.files and not options.get("quiet"):
        print("freezelint: warning: no Python files found under the given paths", file=sys.stderr)
    outcome = job.run(progress_line(options.get("quiet")))
    if settings.diff:
        return _print_diff(outcome, settings)
    if from_stdin and settings.fix:
        sys.stdout.buffer.write(outcome.sources.data(name))
        sys.stdout.flush()
        emit(outcome_report(outcome, settings), settings, quiet=options.get("quiet"), stream=sys.stderr)
        return exit_code(outcome.findings, settings)
    engine.write(outcome)
    if options.get("add_noqa"):
        count = engine.add_noqa(outcome)
        print(f"Added {count} `noqa` {'comment' if count == 1 else 'comments'}.")
        return 0
    report = outcome_report(outcome, settings)
    if options.get("update_baseline"):
        from freezelint import baseline

        return baseline.record(_baseline_file(settings), outcome)
    if settings.baseline:
        from freezelint import baseline

        report.findings, report.hidden = baseline.hide(settings.baseline, outcome)
    emit(report, settings, quiet=options.get("quiet"))
    return exit_code(report.findings, settings)


def trace(options: Options) -> int:
    """`freezelint trace pkg.mod:build`."""
    from freezelint.settle import trace_named

    resolver = resolve(options, (*OUTPUT_FORMATS, *PICTURES))
    outcome = trace_named(options["targets"], resolver, progress_line(options.get("quiet")))
    report, refused = outcome_report(outcome, resolver.settings), outcome.refused_targets
    for line in refused:
        print(f"freezelint: {line}", file=sys.stderr)
    if resolver.settings.output_format in PICTURES and not report.pictures:
        sys.stderr.write(render(report, "concise") if report.findings else "")
    elif report.findings or report.models or not refused or resolver.settings.output_format in FOR_PROGRAMS:
        emit(report, resolver.settings, quiet=options.get("quiet"))
    return 2 if refused else exit_code(outcome.findings, resolver.settings)


def run(options: Options) -> int:
    """`freezelint run train.py -- ARGS`."""
    from freezelint.settle import run_script

    script, arguments = options["module"] or options["script"], list(options["arguments"] or [])
    if options["module"] and options["script"]:
        arguments.insert(0, options["script"])
    if not script:
        print("freezelint: run needs a script, or a module with -m", file=sys.stderr)
        return 2
    if arguments[:1] == ["--"]:
        del arguments[0]
    if not options["module"] and not Path(script).is_file():
        print(f"freezelint: {script}: no such file", file=sys.stderr)
        return 2
    resolver = resolve(options)
    module = bool(options["module"])
    outcome = run_script(script, arguments, module, resolver, progress_line(options.get("quiet"), rewrites=False))
    emit(outcome_report(outcome, resolver.settings), resolver.settings, quiet=options.get("quiet"))
    return exit_code(outcome.findings, resolver.settings)


def rule(options: Options) -> int:
    """`freezelint rule CODE`, `freezelint rule --all`."""
    output_format = options.get("output_format") or "text"
    if output_format not in ("text", "json"):
        raise SettingsError(f"--output-format: `{output_format}` is not text or json")
    if options.get("everything") or not options["code"]:
        from freezelint import rules_table

        print(rules_table.render(output_format))
        return 0
    code = options["code"].upper()
    try:
        text = book.page(code)
    except KeyError:
        print(f"freezelint: no rule `{options['code']}`; `freezelint rule --all` lists them", file=sys.stderr)
        return 2
    if output_format == "json":
        from freezelint import rules_table

        text = rules_table.as_json(code)
    print(text.rstrip())
    return 0


def server(_: Options) -> int:
    """`freezelint server`."""
    try:
        import pygls  # noqa: F401
    except ImportError:
        print("freezelint: the language server needs pygls: pip install 'freezelint[server]'", file=sys.stderr)
        return 2
    from freezelint.server import serve

    serve()
    return 0


def clean(_: Options) -> int:
    """`freezelint clean`."""
    import shutil

    from freezelint.cache import FOLDER

    for folder, names, _files in os.walk(Path.cwd()):
        if FOLDER in names:
            shutil.rmtree(Path(folder) / FOLDER)
            print(f"Removed {Path(folder) / FOLDER}")
        names[:] = [name for name in names if not name.startswith(".") and name != "node_modules"]
    return 0


def resolve(options: Options, formats: tuple[str, ...] = OUTPUT_FORMATS) -> Resolver:
    """The settings of the command line over the nearest files."""
    overrides: Options = {name: options[name] for name in PLAIN if options.get(name) is not None}
    for name in LISTS:
        if options.get(name):
            overrides[name] = tuple(part.strip() for text in options[name] for part in text.split(",") if part.strip())
    for name in ("select", "ignore", "extend_select"):
        check_codes(overrides.get(name, ()), f"--{name.replace('_', '-')}")
    if "device" in overrides:
        check_values({"device": overrides["device"]}, Where("--device"))
    if options.get("per_file_ignores"):
        overrides["per_file_ignores"] = _pairs(options["per_file_ignores"])
    if options.get("timeout") is not None:
        overrides["timeout_s"] = options["timeout"]
    if options.get("no_cache"):
        overrides["cache"] = False
    if overrides.get("output_format", "full") not in formats:
        only = "; freezelint trace draws that" if overrides["output_format"] in PICTURES else ""
        raise SettingsError(f"--output-format: one of {', '.join(formats)}, not `{overrides['output_format']}`{only}")
    if overrides.get("verify") and "trace" not in overrides:
        overrides["trace"] = True
    return Resolver(overrides, tuple(options.get("config") or ()), isolated=bool(options.get("isolated")))


def outcome_report(outcome: Outcome, settings: Settings) -> Report:
    return Report(
        outcome.findings,
        files=len(outcome.files),
        fixed=outcome.fixed,
        models=outcome.models,
        runs=outcome.runs,
        tables=outcome.tables,
        pictures=outcome.pictures,
        notes=outcome.notes,
        refuted=outcome.refuted,
        lines=outcome.sources.line,
        unsafe_fixes=settings.unsafe_fixes,
    )


def emit(report: Report, settings: Settings, *, quiet: bool | None = False, stream: Any = None) -> None:
    """Print the report, or write it to the output file."""
    stream = stream or sys.stdout
    report.colour = settings.output_file is None and _wants_colour(stream)
    report.quiet = bool(quiet)
    if settings.statistics and settings.output_format in ("full", "text", "concise"):
        from freezelint.output import fix_line, statistics, sum_up

        text = "\n".join(row for row in (statistics(report.findings), sum_up(report), fix_line(report)) if row) + "\n"
    else:
        text = render(report, settings.output_format)
    if settings.output_file:
        try:
            settings.output_file.parent.mkdir(parents=True, exist_ok=True)
            settings.output_file.write_text(text, encoding="utf-8", errors="replace", newline="\n")
        except OSError as error:
            reason = error.strerror or error
            raise SettingsError(f"--output-file: cannot write `{settings.output_file}`: {reason}") from None
        return
    if settings.output_format not in FOR_READERS:  # a program reads it: the same bytes on every system
        _set(stream, encoding="utf-8", errors="replace", newline="\n")
    stream.write(text)
    stream.flush()


def exit_code(findings: list[Finding], settings: Settings) -> int:
    from freezelint.engine import failing

    return int(failing(findings) and not settings.exit_zero)


def progress_line(quiet: bool | None, *, rewrites: bool = True) -> Progress:
    from freezelint.progress import Progress

    return Progress(quiet=bool(quiet), rewrites=rewrites)


def _set(stream: Any, **how: str) -> None:
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(**how)


def _print_diff(outcome: Outcome, settings: Settings) -> int:
    _set(sys.stdout, newline="")  # the files' own line ends
    sys.stdout.write(outcome.diff())
    sys.stdout.flush()
    count = len(outcome.changed)
    if count:
        print(f"Would fix {outcome.fixed} in {count} {'file' if count == 1 else 'files'}.", file=sys.stderr)
    return int(bool(count) and not settings.exit_zero)


def _baseline_file(settings: Settings) -> Path:
    if settings.baseline is None:
        raise SettingsError("--update-baseline: needs `--baseline FILE`, or `baseline` in the settings")
    return settings.baseline


def _pairs(texts: list[str]) -> dict[str, tuple[str, ...]]:
    pairs: dict[str, tuple[str, ...]] = {}
    for part in (part for text in texts for part in text.split(",")):
        pattern, _, code = part.rpartition(":")
        if not pattern:
            raise SettingsError(f"--per-file-ignores: `{part}` is not PATTERN:CODE")
        check_codes([code], "--per-file-ignores")
        pairs[pattern] = (*pairs.get(pattern, ()), code)
    return pairs


def _wants_colour(stream: Any) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


COMMANDS: dict[str, Callable[[Options], int]] = {
    "check": check,
    "trace": trace,
    "run": run,
    "rule": rule,
    "server": server,
    "clean": clean,
}
