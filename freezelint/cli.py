"""The command line. Nothing heavy is imported before a command needs it."""

from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from freezelint import __version__


class DefaultGroup(typer.core.TyperGroup):
    """Without a subcommand, `check` is meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {*self.commands, "-h", "--help", "-V", "--version", "--install-completion", "--show-completion"}
        return super().parse_args(ctx, args if args and args[0] in own else ["check", *args])


app = typer.Typer(
    cls=DefaultGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Compares what a PyTorch author meant to freeze or train with what autograd will do.\n\n"
    "Without a command, `check` is run: `freezelint src/ --trace --verify`.",
)

Paths = Annotated[list[str] | None, typer.Argument(help="Files and folders; `-` reads standard input. [default: .]")]
Codes = list[str] | None
Flag = bool | None


def option(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, show_default=False, **more)


Select = Annotated[Codes, option("Rules to turn on, by code or prefix, comma-separated.", metavar="CODES")]
Ignore = Annotated[Codes, option("Rules to turn off.", metavar="CODES")]
ExtendSelect = Annotated[Codes, option("Rules to turn on beside the selected ones.", metavar="CODES")]
PerFile = Annotated[Codes, option("PATTERN:CODES pairs to turn off per file.", metavar="PAIRS")]
Exclude = Annotated[Codes, option("Patterns of files to leave out.", metavar="PATTERNS")]
ExtendExclude = Annotated[Codes, option("Patterns to leave out beside the default ones.", metavar="PATTERNS")]
ForceExclude = Annotated[Flag, option("Leave out also what is named on the command line.", "--force-exclude")]
Gitignore = Annotated[
    Flag, option("Whether .gitignore files are respected.", "--respect-gitignore/--no-respect-gitignore")
]
Preview = Annotated[Flag, option("Rules in preview too.", "--preview/--no-preview")]
FixFlag = Annotated[Flag, option("Apply safe fixes.", "--fix/--no-fix")]
Unsafe = Annotated[Flag, option("With --fix or --diff: likely fixes too.", "--unsafe-fixes/--no-unsafe-fixes")]
Diff = Annotated[Flag, option("Print the fixes as a diff, write nothing.", "--diff")]
Format = Annotated[
    str | None,
    option("full, concise, json, json-lines, sarif, github, gitlab, junit, html.", "--output-format", metavar="FORMAT"),
]
OutputFile = Annotated[Path | None, option("Write the report there.", "--output-file", "-o")]
Statistics = Annotated[Flag, option("Count the findings of each rule.", "--statistics")]
ShowFiles = Annotated[bool, option("List the files that would be checked.", "--show-files")]
ShowSettings = Annotated[bool, option("Print the settings in use.", "--show-settings")]
StdinName = Annotated[str | None, option("Name of the file on standard input.", "--stdin-filename", metavar="PATH")]
ExitZero = Annotated[Flag, option("Exit with 0 whatever is found.", "--exit-zero", "-e")]
Watch = Annotated[bool, option("Check again whenever a file changes.", "--watch", "-w")]
AddNoqa = Annotated[bool, option("Write `# noqa: CODE` behind every finding.", "--add-noqa")]
NoCache = Annotated[bool, option("Read everything anew.", "--no-cache", "-n")]
CacheDir = Annotated[Path | None, option("Folder of the cache.", "--cache-dir")]
Isolated = Annotated[bool, option("Ignore every settings file.", "--isolated")]
Config = Annotated[Codes, option("A settings file, or KEY=VALUE in TOML; repeatable.", "--config", metavar="CONFIG")]
Baseline = Annotated[Path | None, option("Hide the findings recorded in this file.", "--baseline", metavar="FILE")]
UpdateBaseline = Annotated[bool, option("Record the present findings in the baseline file.", "--update-baseline")]
Quiet = Annotated[bool, option("No progress, no sum-up.", "--quiet", "-q")]
Trace = Annotated[Flag, option("Build and trace the project's models (imports its code).", "--trace/--no-trace")]
Verify = Annotated[Flag, option("Settle the findings by a few real steps (runs its code).", "--verify/--no-verify")]
ShowRefuted = Annotated[Flag, option("Keep what a run refuted in the report.", "--show-refuted")]
Python = Annotated[Path | None, option("The project's interpreter, for --trace and --verify.", "--python")]
Steps = Annotated[int | None, option("Optimizer steps of a run (2; cheap ones go on).", "--steps", min=1, max=20)]
Timeout = Annotated[float | None, option("Seconds for one model or run (default 120).", "--timeout", min=0.1)]
Device = Annotated[str | None, option("auto, cpu, cuda or cuda:N.", "--device", metavar="DEVICE")]
Seed = Annotated[int | None, option("Random seed of a run (default 0).", "--seed")]


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


@app.command()
def check(
    paths: Paths = None,
    select: Select = None,
    ignore: Ignore = None,
    extend_select: ExtendSelect = None,
    per_file_ignores: PerFile = None,
    preview: Preview = None,
    fix: FixFlag = None,
    unsafe_fixes: Unsafe = None,
    diff: Diff = None,
    trace: Trace = None,
    verify: Verify = None,
    show_refuted: ShowRefuted = None,
    python: Python = None,
    steps: Steps = None,
    timeout: Timeout = None,
    device: Device = None,
    seed: Seed = None,
    output_format: Format = None,
    output_file: OutputFile = None,
    statistics: Statistics = None,
    show_files: ShowFiles = False,
    show_settings: ShowSettings = False,
    stdin_filename: StdinName = None,
    exclude: Exclude = None,
    extend_exclude: ExtendExclude = None,
    force_exclude: ForceExclude = None,
    respect_gitignore: Gitignore = None,
    add_noqa: AddNoqa = False,
    baseline: Baseline = None,
    update_baseline: UpdateBaseline = False,
    config: Config = None,
    isolated: Isolated = False,
    no_cache: NoCache = False,
    cache_dir: CacheDir = None,
    watch: Watch = False,
    exit_zero: ExitZero = None,
    quiet: Quiet = False,
) -> None:
    """Check files and folders for freezing mistakes (the default command)."""
    finish("check", dict(locals()))


@app.command()
def trace(
    targets: Annotated[list[str], typer.Argument(help="Models as pkg.mod:callable.")],
    python: Python = None,
    timeout: Timeout = None,
    device: Device = None,
    output_format: Format = None,
    output_file: OutputFile = None,
    config: Config = None,
    isolated: Isolated = False,
    exit_zero: ExitZero = None,
    quiet: Quiet = False,
) -> None:
    """Build a model on fake tensors and show what backward reaches and costs."""
    finish("trace", dict(locals()))


@app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False})
def run(
    script: Annotated[str | None, typer.Argument(help="The training script.", show_default=False)] = None,
    arguments: Annotated[list[str] | None, typer.Argument(help="Its arguments.", metavar="ARGS")] = None,
    module: Annotated[str | None, option("Run a module instead, as `python -m` does.", "-m", "--module")] = None,
    select: Select = None,
    ignore: Ignore = None,
    extend_select: ExtendSelect = None,
    preview: Preview = None,
    show_refuted: ShowRefuted = None,
    python: Python = None,
    steps: Steps = None,
    timeout: Timeout = None,
    device: Device = None,
    seed: Seed = None,
    output_format: Format = None,
    output_file: OutputFile = None,
    statistics: Statistics = None,
    config: Config = None,
    isolated: Isolated = False,
    no_cache: NoCache = False,
    exit_zero: ExitZero = None,
    quiet: Quiet = False,
) -> None:
    """Watch the first steps of an unmodified training script: `freezelint run train.py -- --epochs 1`."""
    finish("run", dict(locals()))


@app.command()
def rule(
    code: Annotated[str | None, typer.Argument(help="For instance FRZ101.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="A table of every rule.")] = False,
    output_format: Annotated[str, typer.Option(help="text or json.", metavar="FORMAT")] = "text",
) -> None:
    """Print a rule's page, or a table of all rules."""
    finish("rule", dict(locals()))


@app.command()
def server() -> None:
    """Start the language server on standard input and output (needs `freezelint[server]`)."""
    finish("server", {})


@app.command()
def clean() -> None:
    """Remove the caches below the working folder."""
    finish("clean", {})
