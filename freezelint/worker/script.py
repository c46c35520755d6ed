"""Runs the user's own unmodified script under the monitor: `__main__.py script --facts FILE [options] SCRIPT [ARGS]`.

The script is `__main__`, with its own argv, path, stdin, stdout and exit code. It is stopped after some optimizer steps
by an exception that passes `except Exception`, so that its `finally` blocks run; what was learnt goes to FILE, never to
its output streams.
"""

from __future__ import annotations

import argparse
import builtins
import json
import linecache
import os
import signal
import sys
import time
import traceback
import types
import warnings
from pathlib import Path
from typing import Any, NoReturn

from .notebook import cells
from .places import CELL_MARK

SETTLE_S = 2.5  # of the main thread's own time: cheap steps go on, since rare branches of a loop show only later
MOST_STEPS = 64
MORE_STEPS = 8
LAUNCHERS = ("torch.distributed.run", "torch.distributed.launch")


class Stopped(SystemExit):
    """Enough was seen. A SystemExit, so that only a bare `except:` could swallow it."""


class Session:
    """One run: when it stops, and what it leaves behind."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.started = time.monotonic()
        self.first_step = 0.0
        self.stopped = "end"
        self.error: dict[str, Any] | None = None
        self.swallowed = 0
        self.more = 0  # steps made only to measure what is wasted
        self.pid = os.getpid()
        self.written = False
        self.monitor: Any = None
        self.mode: Any = None
        self.patches: Any = None
        self.leave = os._exit

    def listen(self) -> None:
        """The host's word that time is up, for a script that comes to no step: a signal that no script needs."""
        if hasattr(signal, "SIGXCPU"):
            signal.signal(signal.SIGXCPU, self.overdue)

    def overdue(self, _signal: int, _frame: Any) -> None:
        if os.getpid() == self.pid and not self.written:
            self.stop("timeout")

    def start(self, roots: tuple[str, ...]) -> None:
        from .monitor import Monitor
        from .patches import Patches
        from .places import Places

        self.monitor = Monitor(Places(roots))
        self.monitor.on_step = self.after_step
        self.monitor.trials.left_s = lambda: self.options.timeout - (time.monotonic() - self.started)
        self.patches = Patches(self.monitor)
        self.patches.install()
        relocate_warnings(self.monitor.places)
        self.monitor.flow.__enter__()
        os._exit = self.leave_at_once

    def leave_at_once(self, status: int) -> NoReturn:
        """The script's `os._exit`, of which no `finally` hears."""
        try:
            self.write()
        finally:
            self.leave(status)

    def after_step(self) -> None:
        if os.getpid() != self.pid:
            return
        self.first_step = self.first_step or time.thread_time()
        self.monitor.survey()
        enough = self.enough()
        if enough or is_power_of_two(self.monitor.steps):
            self.propose()
        if enough and not self.measuring():
            self.stop("steps")

    def propose(self) -> None:
        from .digest import propose

        self.monitor.safely(propose, self.monitor)

    def measuring(self) -> bool:
        """Whether to go on for what is to be measured at the next pass."""
        self.more += 1
        return self.options.settle and self.more <= MORE_STEPS and bool(self.monitor.trials.waiting())

    def enough(self) -> bool:
        """Every optimizer has made its steps, and either time has passed or more than enough cheap steps were seen."""
        wanted = self.options.steps
        if time.monotonic() - self.started > self.options.timeout:
            self.stop("timeout")
        live = [opt for opt in self.monitor.ledger.optimizers if opt.steps]
        if any(opt.steps < wanted for opt in live) and self.monitor.steps < 40 * wanted:
            return False
        if self.monitor.steps < wanted:
            return False
        settled = self.monitor.steps >= MOST_STEPS or time.thread_time() - self.first_step > SETTLE_S
        return settled or not self.options.settle

    def stop(self, why: str) -> None:
        self.stopped = why
        self.swallowed += 1
        self.write()
        if self.swallowed > 3:
            sys.stdout.flush()
            sys.stderr.flush()
            self.leave(0)
        raise Stopped(0)

    def write(self) -> None:
        """Leave the facts; the last call wins."""
        if os.getpid() != self.pid or self.monitor is None:
            return
        from .digest import digest

        self.monitor.flow.quiet += 1
        try:
            facts = digest(self.monitor)
        finally:
            self.monitor.flow.quiet -= 1
        facts.update(
            script=self.options.script, stopped=self.stopped, error=self.error, seconds=time.monotonic() - self.started
        )
        target = Path(self.options.facts)
        if os.environ.get("RANK"):
            target = target.with_name(f"{target.stem}-{os.environ['RANK']}{target.suffix}")
        draft = target.with_suffix(f".{self.pid}")
        draft.write_text(json.dumps(facts), encoding="utf-8")
        draft.replace(target)
        self.written = True


def is_power_of_two(count: int) -> bool:
    return count & (count - 1) == 0


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    if options.module and options.script in LAUNCHERS:
        launch(options)
    session = Session(options)
    session.listen()
    script = options.script
    sys.argv = [script, *options.args]
    if options.module:
        sys.path.insert(0, str(Path.cwd()))
        roots: tuple[str, ...] = (str(Path.cwd()),)
    else:
        sys.path.insert(0, str(Path(script).resolve().parent))
        roots = (str(Path(script).resolve().parent), str(Path.cwd()))
    session.start(roots)
    code: Any = 0
    try:
        execute(options, session)
    except Stopped:
        pass
    except SystemExit as leave:
        code = leave.code
    except BaseException as error:
        code = report(error, session)
    finish(session, code)


def launch(options: argparse.Namespace) -> None:
    """`-m torch.distributed.run ... train.py`: torch starts the processes, each of them under its own monitor."""
    from torch.distributed import run

    if hasattr(signal, "SIGXCPU"):
        signal.signal(
            signal.SIGXCPU, signal.SIG_IGN
        )  # the word is for a script, and would end what watches over several
    asked = run.get_args_parser().parse_args(options.args)
    ours = ["script", "--facts", options.facts, "--steps", str(options.steps), "--timeout", str(options.timeout)]
    ours += ["--settle"] if options.settle else []
    ours += ["--module"] if asked.module else []
    asked.training_script_args = [*ours, asked.training_script, *asked.training_script_args]
    asked.training_script, asked.module = str(Path(__file__).with_name("__main__.py")), False
    run.run(asked)  # type: ignore[no-untyped-call]
    sys.exit(0)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="freezelint run", add_help=False)
    parser.add_argument("--facts", required=True)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--settle", action="store_true", help="go on while steps are cheap")
    parser.add_argument("--timeout", type=float, default=120.0)
    parser.add_argument("--module", action="store_true")
    parser.add_argument("script")
    parser.add_argument("args", nargs=argparse.REMAINDER)
    return parser.parse_args(arguments)


def execute(options: argparse.Namespace, session: Session) -> None:
    main_module = types.ModuleType("__main__")
    main_module.__builtins__ = builtins  # type: ignore[attr-defined]
    sys.modules["__main__"] = main_module
    space = vars(main_module)
    if options.module:
        import runpy

        runpy.run_module(options.script, run_name="__main__", alter_sys=True)
        return
    path = Path(options.script)
    main_module.__file__ = os.path.abspath(path)  # as Python itself: it holds after a chdir
    if path.suffix == ".ipynb":
        for number, source in cells(path):
            filename = f"{path.resolve()}{CELL_MARK}{number}"
            linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
            exec(compile(source, filename, "exec", dont_inherit=True), space)
        return
    import io

    with io.open_code(str(path)) as file:
        code = compile(file.read(), str(path.resolve()), "exec", dont_inherit=True)
    exec(code, space)


def relocate_warnings(places: Any) -> None:
    """A warning that torch raises in a watched call is told at the user's line, as without us."""
    show = warnings._showwarnmsg  # type: ignore[attr-defined]
    ours = str(Path(__file__).resolve().parent)

    def told(message: Any) -> None:
        at = places.here() if message.filename.startswith(ours) else None
        if at is not None:
            message.filename, message.lineno = at[0], at[1]
        show(message)

    warnings._showwarnmsg = told  # type: ignore[attr-defined]


def report(error: BaseException, session: Session) -> int:
    """The script's own traceback, without our frames; and where it broke."""
    for link in chain(error):
        link.__traceback__ = own_frames(link.__traceback__)
    trace = error.__traceback__
    user = [entry for entry in traceback.walk_tb(trace) if session.monitor.places.is_user(entry[0].f_code)]
    place = None
    if user:
        frame, line = user[-1]
        path, _, cell = frame.f_code.co_filename.partition(CELL_MARK)
        place = [path, line, 0, line, 0, int(cell) if cell else None]
    elif isinstance(error, SyntaxError) and error.filename and error.lineno:
        path, _, cell = error.filename.partition(CELL_MARK)
        place = [path, error.lineno, 0, error.lineno, 0, int(cell) if cell else None]
    session.error = {"type": type(error).__name__, "text": str(error)[:2000], "place": place}
    session.stopped = "exception"
    sys.excepthook(type(error), error, trace)
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def chain(error: BaseException) -> list[BaseException]:
    """The exception and those it was raised from, or while handling which it was."""
    found = [error]
    for link in found:
        found += [one for one in (link.__cause__, link.__context__) if one is not None and one not in found]
    return found


def own_frames(trace: types.TracebackType | None) -> types.TracebackType | None:
    """A traceback without our frames and those that torch put there for us."""
    ours = str(Path(__file__).resolve().parent)
    kept = []
    while trace is not None:
        code = trace.tb_frame.f_code
        passing = code.co_filename.endswith("overrides.py") and code.co_name == "handle_torch_function"
        if not passing and not code.co_filename.startswith((ours, "<frozen runpy")):
            kept.append(trace)
        trace = trace.tb_next
    rebuilt: types.TracebackType | None = None
    for entry in reversed(kept):
        rebuilt = types.TracebackType(rebuilt, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return rebuilt


def finish(session: Session, code: Any) -> None:
    """Take the ears off, leave the facts, and end as the script would have ended."""
    session.write()
    session.monitor.flow.__exit__(None, None, None)
    session.patches.undo()
    os._exit = session.leave
    if session.stopped == "steps":
        code = 0
    sys.exit(code)
