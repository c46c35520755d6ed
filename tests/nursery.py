"""Runs many small scripts under the monitor quickly: torch is imported once, each script gets a fork of that process.

`run(scripts)` gives, for each script path, its exit code, its output and the facts it left; `watch=False` runs it bare.
As a program it is the process that forks: one JSON line a script on stdin, one JSON line a result on stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORKER = ROOT / "freezelint" / "worker"


@dataclass
class Ended:
    code: int
    stdout: str
    stderr: str
    facts: dict[str, Any] | None


def run(scripts: Iterable[Path], folder: Path, *, steps: int = 2, watch: bool = True) -> list[Ended]:
    """Every script in a process of its own, one after the other, in its own folder."""
    orders = [
        {"script": str(script), "at": str(folder / f"{number}"), "steps": steps, "watch": watch}
        for number, script in enumerate(scripts)
    ]
    text = "".join(json.dumps(order) + "\n" for order in orders)
    done = subprocess.run(
        [sys.executable, __file__],
        input=text,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    codes = [json.loads(line) for line in done.stdout.splitlines()]
    return [_ended(order, code) for order, code in zip(orders, codes, strict=True)]


def _ended(order: dict[str, Any], code: int) -> Ended:
    at = order["at"]
    facts = Path(f"{at}.json")
    return Ended(
        code,
        Path(f"{at}.out").read_text(encoding="utf-8"),
        Path(f"{at}.err").read_text(encoding="utf-8"),
        json.loads(facts.read_text(encoding="utf-8")) if facts.exists() else None,
    )


def serve() -> None:
    import importlib
    import runpy

    sys.path.insert(0, str(WORKER))
    load = runpy.run_path(str(WORKER / "__main__.py"), run_name="worker")["load"]
    load()
    import torch
    import torch._dynamo

    torch.set_num_threads(1)
    script = importlib.import_module("freezelint_worker.script")
    importlib.import_module("freezelint_worker.digest")
    importlib.import_module("freezelint_worker.patches")
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            alone(order, script)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def alone(order: dict[str, Any], script: Any) -> None:
    """In the fork: the script as the worker would run it, or as Python would."""
    import runpy
    import traceback

    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{order['at']}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(Path(order["script"]).parent)
    code: Any = 0
    try:
        if order["watch"]:
            settle = ["--settle"] if order["steps"] == 2 else []  # as the command line does
            options = ["--facts", f"{order['at']}.json", "--steps", str(order["steps"]), *settle]
            script.main([*options, order["script"], "--flag"])
        else:
            sys.argv = [order["script"], "--flag"]
            runpy.run_path(order["script"], run_name="__main__")
    except SystemExit as leave:
        code = leave.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve()
