"""Child processes on every system: started apart from us, ended with all that they started, their end put in words."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

OUT_OF_MEMORY = "most likely for want of memory"


def apart() -> dict[str, Any]:
    """Arguments of Popen: a process group of its own, which `end` ends as a whole."""
    if os.name == "nt":
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return {"start_new_session": True}


def interrupt(process: subprocess.Popen[Any], within_s: float) -> None:
    """Ask the process and all it started to stop, as Ctrl-C does; what has not within the time is ended."""
    try:
        if os.name == "nt":
            process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
        else:
            os.killpg(process.pid, signal.SIGINT)
        process.wait(within_s)
    except (OSError, subprocess.TimeoutExpired):
        end(process)


def end(process: subprocess.Popen[Any]) -> None:
    """End the process and everything it started, at once."""
    if os.name == "nt":
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        try:
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
    else:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
    process.wait()


def was_killed(code: int) -> bool:
    """Whether the system ended it, as it does where memory runs out."""
    return os.name != "nt" and code == -signal.SIGKILL


def ending(code: int) -> str:
    """How a process ended: the signal on Unix, the exit code elsewhere (in hexadecimal where Windows means a fault)."""
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code:#x}" if code >= 0xC0000000 else f"exit code {code}"
