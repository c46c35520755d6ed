"""The command line. Nothing heavy is imported before a command needs it."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from freezelint import __version__

FORMATS = "full concise json json-lines sarif github gitlab junit html".split()


class DefaultGroup(typer.core.TyperGroup):
    """Without a subcommand, `check` is meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {*self.commands, "-h", "--help", "-V", "--version", "--install-completion", "--show-completion"}
        completing = ctx.resilient_parsing and not args
        return super().parse_args(ctx, args if completing or (args and args[0] in own) else ["check", *args])

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The commands, and what `check` takes."""
        check = self.commands["check"]
        with check.make_context("check", [], parent=ctx, resilient_parsing=True) as inner:
            return [*super().shell_complete(ctx, incomplete), *check.shell_complete(inner, incomplete)]


class OneScreen(typer.core.TyperCommand):
    """Arguments and options in one list, one line each wherever it fits."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        rows = [row for param in self.get_params(ctx) if (row := param.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl([(_short(names), _without_range(text)) for names, text in rows], col_max=40)


def _short(names: str) -> str:
    return re.sub(r"--(\S+) / --no-\1", r"--[no-]\1", names)


def _without_range(text: str) -> str:
    return re.sub(r"  \[[^\]]*x[<>=][^\]]*\]$|  \[x[<>=][^\]]*\]$", "", text)


app = typer.Typer(
    cls=DefaultGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Compares what a PyTorch author meant to freeze or train with what autograd will do.\n\n"
    "Without a command, `check` is run: `freezelint src/ --trace --verify`.",
)


def complete_codes(incomplete: str) -> list[str]:
    """Rule codes behind the last comma."""
    from freezelint import book

    done, comma, _ = incomplete.rpartition(",")
    return [found for code in book.codes() if (found := f"{done}{comma}{code}").startswith(incomplete.upper())]


def complete_format(incomplete: str) -> list[str]:
    return [name for name in FORMATS if name.startswith(incomplete)]


def complete_picture(incomplete: str) -> list[str]:
    return [name for name in (*FORMATS, "svg", "dot") if name.startswith(incomplete)]


def option(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, show_default=False, **more)


def codes(help_text: str) -> Any:
    return option(help_text, metavar="CODES", autocompletion=complete_codes)


def flag(help_text: str, *names: str) -> Any:
    """On, off, or as the settings say."""
    return Annotated[bool | None, option(help_text, *names)]


def switch(help_text: str, *names: str) -> Any:
    return Annotated[bool, option(help_text, *names)]


Codes = list[str] | None

# Every option that more than one command may take, once; the order is that of `--help`.
OPTIONS: dict[str, Any] = {
    "select": Annotated[Codes, codes("Rules to turn on, by code or prefix.")],
    "ignore": Annotated[Codes, codes("Rules to turn off.")],
    "extend_select": Annotated[Codes, codes("Rules to turn on beside the selected ones.")],
    "per_file_ignores": Annotated[Codes, option("GLOB:CODE pairs to turn off by file.", metavar="PAIRS")],
    "preview": flag("Rules in preview too.", "--preview/--no-preview"),
    "fix": flag("Apply safe fixes.", "--fix/--no-fix"),
    "unsafe_fixes": flag("With --fix or --diff: likely fixes too.", "--unsafe-fixes/--no-unsafe-fixes"),
    "diff": flag("Print the fixes as a diff, write nothing.", "--diff"),
    "trace": flag("Trace the project's models (imports its code).", "--trace/--no-trace"),
    "verify": flag("Settle findings by real steps (runs its code).", "--verify/--no-verify"),
    "show_refuted": flag("Keep what a run refuted in the report.", "--show-refuted"),
    "python": Annotated[Path | None, option("The project's interpreter.", "--python", metavar="FILE")],
    "steps": Annotated[int | None, option("Steps of a run (2; cheap ones go on).", min=1, max=20, metavar="1..20")],
    "timeout": Annotated[float | None, option("For one model or run (default 120).", min=0.1, metavar="SECONDS")],
    "device": Annotated[str | None, option("auto, cpu, cuda or cuda:N.", "--device", metavar="DEVICE")],
    "seed": Annotated[int | None, option("Random seed of a run (default 0).", "--seed", metavar="N")],
    "output_format": Annotated[
        str | None, option(f"{', '.join(FORMATS)}.", metavar="FORMAT", autocompletion=complete_format)
    ],
    "output_file": Annotated[Path | None, option("Write the report there.", "--output-file", "-o", metavar="FILE")],
    "statistics": flag("Count the findings of each rule.", "--statistics"),
    "show_files": switch("List the files that would be checked.", "--show-files"),
    "show_settings": switch("Print the settings in use.", "--show-settings"),
    "stdin_filename": Annotated[str | None, option("Name of the file on standard input.", metavar="FILE")],
    "exclude": Annotated[Codes, option("Files to leave out.", metavar="GLOBS")],
    "extend_exclude": Annotated[Codes, option("Files to leave out beside the default ones.", metavar="GLOBS")],
    "force_exclude": flag("Leave out also what is named here.", "--force-exclude"),
    "respect_gitignore": flag("Leave out what git ignores.", "--respect-gitignore/--no-respect-gitignore"),
    "add_noqa": switch("Write `# noqa: CODE` behind every finding.", "--add-noqa"),
    "baseline": Annotated[Path | None, option("Hide the findings recorded there.", "--baseline", metavar="FILE")],
    "update_baseline": switch("Record today's findings in the baseline.", "--update-baseline"),
    "config": Annotated[Codes, option("A settings file, or KEY=VALUE; repeatable.", metavar="CONFIG")],
    "isolated": switch("Ignore every settings file.", "--isolated"),
    "no_cache": switch("Read everything anew.", "--no-cache", "-n"),
    "cache_dir": Annotated[Path | None, option("Folder of the cache.", "--cache-dir", metavar="FOLDER")],
    "watch": switch("Check again whenever a file changes.", "--watch", "-w"),
    "exit_zero": flag("Exit with 0 whatever is found.", "--exit-zero", "-e"),
    "quiet": switch("No progress, no sum-up.", "--quiet", "-q"),
}
OF_TRACE = "python timeout device output_file config isolated exit_zero quiet"
OF_RUN = (
    "select ignore extend_select preview show_refuted python steps timeout device seed output_format output_file "
    "statistics config isolated no_cache exit_zero quiet"
)


def takes(names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Puts shared options in the place of a command's `**options`."""

    def give(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command).parameters.values())[:-1]
        shared = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=_default(OPTIONS[name]), annotation=OPTIONS[name]
            )
            for name in names.split()
        ]
        parameters = [*own, *shared]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return give


def _default(annotation: Any) -> Any:
    return False if annotation.__origin__ is bool else None


def finish(name: str, options: dict[str, Any]) -> None:
    """Run a command from `freezelint.commands` and leave with its exit code."""
    from freezelint.commands import call

    raise typer.Exit(call(name, options))


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"freezelint {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    """The options that belong to no command."""


@app.command(cls=OneScreen)
@takes(" ".join(OPTIONS))
def check(
    paths: Annotated[list[str] | None, typer.Argument(help="Files and folders (default: .); `-` is stdin.")] = None,
    **options: Any,
) -> None:
    """Check files and folders for mistakes (the default command)."""
    finish("check", {"paths": paths, **options})


@app.command(cls=OneScreen)
@takes(OF_TRACE)
def trace(
    targets: Annotated[list[str], typer.Argument(help="pkg.mod:callable, a name in the settings, or a script.")],
    output_format: Annotated[
        str | None,
        option("As of check (html draws the model), svg or dot.", metavar="FORMAT", autocompletion=complete_picture),
    ] = None,
    **options: Any,
) -> None:
    """Show what the backward pass of a model reaches and costs."""
    finish("trace", {"targets": targets, "output_format": output_format, **options})


@app.command(cls=OneScreen, context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False})
@takes(OF_RUN)
def run(
    script: Annotated[str | None, typer.Argument(help="The training script.", show_default=False)] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="Its arguments.", metavar="ARGS")] = None,
    module: Annotated[
        str | None, option("Run a module, as `python -m` does.", "-m", "--module", metavar="NAME")
    ] = None,
    **options: Any,
) -> None:
    """Watch the first steps of an unmodified training script.

    `freezelint run train.py -- --epochs 1`
    """
    finish("run", {"script": script, "arguments": arguments, "module": module, **options})


@app.command(cls=OneScreen)
def rule(
    code: Annotated[
        str | None, typer.Argument(help="For instance FRZ101.", show_default=False, autocompletion=complete_codes)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="A table of every rule.")] = False,
    output_format: Annotated[str, typer.Option(help="text or json.", metavar="FORMAT")] = "text",
) -> None:
    """Print a rule's page, or a table of all rules."""
    finish("rule", {"code": code, "everything": everything, "output_format": output_format})


@app.command()
def server() -> None:
    """Start the language server on stdin and stdout."""
    finish("server", {})


@app.command()
def clean() -> None:
    """Remove the caches below the working folder."""
    finish("clean", {})
