"""What start-up pays for classes of fields: as many as a check makes, by `freezelint.records` and by `dataclasses`.

    python tests/bench/records.py

Each class has five fields, one of them made anew for every record. The ratio is what counts.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from freezelint import records

HINTS = {"name": "str", "line": "int", "column": "int", "shape": "tuple[int, ...]", "rows": "list[int]"}


def body(made: Any) -> dict[str, Any]:
    return {"__annotations__": dict(HINTS), "line": 0, "column": 0, "shape": (), "rows": made, "__module__": __name__}


def best(work: Callable[[], object], times: int = 50) -> float:
    """Microseconds of the quickest of `times`."""
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        spans.append(time.perf_counter() - start)
    return min(spans) * 1e6


def main() -> None:
    ours = records.record(frozen=True)
    theirs = dataclasses.dataclass(frozen=True, slots=True)
    quick = best(lambda: ours(type("Row", (), body(records.field(default_factory=list)))))
    slow = best(lambda: theirs(type("Row", (), body(dataclasses.field(default_factory=list)))))
    print(f"a class:   records {quick:6.1f} us, dataclasses {slow:6.1f} us, {slow / quick:.1f} times")
    one = ours(type("Row", (), body(records.field(default_factory=list))))
    other = theirs(type("Row", (), body(dataclasses.field(default_factory=list))))
    quick, slow = best(lambda: [one("a") for _ in range(1000)]), best(lambda: [other("a") for _ in range(1000)])
    print(f"a record:  records {quick / 1000:6.2f} us, dataclasses {slow / 1000:6.2f} us, {slow / quick:.1f} times")
    start = (
        "import time; t = time.perf_counter(); import freezelint.commands, freezelint.engine, freezelint.source.lint; "
        "from freezelint.rule import all_rules; all_rules(); print(time.perf_counter() - t)"
    )
    command = [sys.executable, "-c", start]
    spans = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(7)]
    print(f"what a check imports, records and all: {min(spans) * 1000:.0f} ms")


if __name__ == "__main__":
    main()
