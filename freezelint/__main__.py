"""The `freezelint` command. Plain `freezelint PATHS` needs no option parser and goes without its start-up time."""

from __future__ import annotations

import os
import sys

from freezelint import __version__

COMMANDS = ("check", "trace", "run", "rule", "server", "clean")


def main() -> None:
    """Run the command line and leave with its exit code."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        print(f"freezelint {__version__}")
        return
    completing = "_FREEZELINT_COMPLETE" in os.environ
    command = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    rest = arguments[1:] if command else arguments
    if command in ("", "check", "rule") and not completing and not any(item.startswith("-") for item in rest):
        from freezelint.commands import call

        code = rest[0] if command == "rule" and len(rest) == 1 else None
        if command != "rule" or code:
            raise SystemExit(call(command or "check", {"paths": rest, "code": code}))
    from freezelint.cli import app

    app(prog_name="freezelint")


if __name__ == "__main__":
    main()
