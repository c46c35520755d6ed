"""The `freezelint` command. `freezelint PATHS` with plain flags needs no option parser, nor its start-up time."""

from __future__ import annotations

import gc
import os
import sys

from freezelint import __version__

FLAGS = {
    "-q": "quiet", "--quiet": "quiet", "-n": "no_cache", "--no-cache": "no_cache", "-e": "exit_zero",
    "--exit-zero": "exit_zero", "--isolated": "isolated", "--fix": "fix", "--unsafe-fixes": "unsafe_fixes",
    "--diff": "diff", "--trace": "trace", "--verify": "verify", "--statistics": "statistics",
    "--force-exclude": "force_exclude", "--preview": "preview",
}  # fmt: skip
COMMANDS = ("check", "trace", "run", "rule", "server", "clean")


def main() -> None:
    """Run the command line and leave with its exit code."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        print(f"freezelint {__version__}")
        return
    command = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    rest = arguments[1:] if command else arguments
    paths = [item for item in rest if item not in FLAGS]
    flags = {FLAGS[item]: True for item in rest if item in FLAGS}
    plain = "_FREEZELINT_COMPLETE" not in os.environ and not any(item.startswith("-") for item in paths)
    if plain and (command in ("", "check") or (command == "rule" and len(paths) == 1 and not flags)):
        gc.set_threshold(100_000)  # one check ends with its process: a look for garbage at every 700 objects finds none
        from freezelint.commands import call

        raise SystemExit(call(command or "check", {"paths": paths, "code": paths[0] if paths else None, **flags}))
    from freezelint.cli import app

    app(prog_name="freezelint")


if __name__ == "__main__":
    main()
