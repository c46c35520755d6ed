"""A stand-in for the user's interpreter that starts at once: each call is a fork of one process that has torch loaded.

The file that `stand_in` writes is given to `--python`. It hands its arguments, folder, environment and standard streams
to the process that forks, and ends with the exit code of the fork; what runs there is what Python itself would run.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CALLER = """#!{python} -SEs
import json, os, socket, sys
if sys.argv[1] == "-c":
    sys.exit(0)
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
order = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]) + "\\n"
socket.send_fds(server, [order.encode()], [0, 1, 2])
sys.exit(int(server.makefile().readline() or 70))
"""


@contextmanager
def stand_in(folder: Path) -> Iterator[Path]:
    """An executable that behaves as an interpreter with torch, for as long as the context lasts."""
    address, python = str(folder / "socket"), folder / "python"
    python.write_text(CALLER.format(python=sys.executable, address=address), encoding="utf-8")
    python.chmod(0o755)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([sys.executable, __file__, address], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield python
    finally:
        server.terminate()
        server.wait()


def serve(address: str) -> None:
    import torch
    import torch._dynamo

    torch.set_num_threads(1)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        caller, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            answer(caller)
        caller.close()


def answer(caller: socket.socket) -> None:
    data, streams, _, _ = socket.recv_fds(caller, 1 << 20, 3)
    while not data.endswith(b"\n"):
        data += caller.recv(1 << 20)
    child = os.fork()
    if child == 0:
        caller.close()
        run(json.loads(data), streams)
    _, status = os.waitpid(child, 0)
    caller.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def run(order: list[Any], streams: list[int]) -> None:
    """What `python FILE ARGUMENTS` does, and the end of the process."""
    arguments, folder, environment = order
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = [argument for argument in arguments if argument != "-u"]
    sys.path[0] = os.path.dirname(sys.argv[0])
    code: Any = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as leave:
        code = leave.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    serve(sys.argv[1])
