"""Lines a second of the source witness on unpacked packages, beside TorchFix where its command is given.

    python tests/bench/source_speed.py FOLDER [PACKAGE …] [--torchfix PATH_OF_torchfix]

FOLDER holds one folder a package, sources only. Both read the same files in the same run, one after the other; the
figure that counts is the ratio. CPU seconds are those of the process and its children. freezelint is compiled first, as
pip leaves what it installs.
"""

from __future__ import annotations

import argparse
import compileall
import os
import resource
import subprocess
import sys
import time
from pathlib import Path


def spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def timed(command: list[str]) -> tuple[float, float, int]:
    """(wall seconds, CPU seconds, exit status)."""
    before, start = spent(), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.perf_counter() - start, spent() - before, done.returncode


def lines_of(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.rglob("*.py"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("packages", nargs="*")
    parser.add_argument("--torchfix", default="")
    options = parser.parse_args()
    names = options.packages or sorted(p.name for p in options.folder.iterdir() if p.is_dir() and p.name[0] != ".")
    compileall.compile_dir(Path(__file__).parents[2] / "freezelint", quiet=1)
    ours = [sys.executable, "-m", "freezelint", "check", "--isolated", "--no-cache", "--exit-zero"]
    ours += ["--output-format", "json"]
    _, start_cpu, _ = timed([sys.executable, "-m", "freezelint", "--version"])
    print(f"freezelint --version: {start_cpu * 1000:.0f} ms of process time; {os.cpu_count()} cores")
    print(f"{'package':26}{'lines':>10}{'wall s':>9}{'CPU s':>9}{'lines/s':>10}{'TorchFix':>10}{'ratio':>8}{'exit':>6}")
    total_lines, total_wall = 0, 0.0
    for name in names:
        folder = options.folder / name
        lines = lines_of(folder)
        wall, cpu, status = timed([*ours, str(folder)])
        total_lines, total_wall = total_lines + lines, total_wall + wall
        row = f"{name:26}{lines:10}{wall:9.1f}{cpu:9.1f}{lines / wall:10.0f}"
        if options.torchfix:
            theirs, _, _ = timed([options.torchfix, "--select=ALL", str(folder)])
            row += f"{lines / theirs:10.0f}{theirs / wall:8.1f}"
        else:
            row += f"{'':18}"
        print(f"{row}{status:6}", flush=True)
    print(f"{'all':26}{total_lines:10}{total_wall:9.1f}{'':9}{total_lines / total_wall:10.0f}")


if __name__ == "__main__":
    main()
