"""A baseline: findings that were there already, known by file, rule and line of code, not by line number."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from freezelint.findings import Finding
from freezelint.settings import SettingsError
from freezelint.textfile import relative

if TYPE_CHECKING:
    from freezelint.engine import Outcome

VERSION = 1


def record(file: Path, outcome: Outcome) -> int:
    """Write the present findings down."""
    counts = Counter(_key(finding, file, outcome) for finding in outcome.findings)
    entries = [
        {"path": path, "code": code, "line": line, "count": count}
        for (path, code, line), count in sorted(counts.items())
    ]
    text = json.dumps({"version": VERSION, "findings": entries}, indent=1) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise SettingsError(f"--baseline: cannot write `{file}`: {error.strerror or error}") from None
    print(f"Recorded {sum(counts.values())} in {file}.")
    return 0


def hide(file: Path, outcome: Outcome) -> tuple[list[Finding], int]:
    """(the findings that are new, how many are known). One line recorded twice hides two findings, not three."""
    left = _read(file)
    new = []
    for finding in outcome.findings:
        key = _key(finding, file, outcome)
        if left[key] > 0:
            left[key] -= 1
        else:
            new.append(finding)
    return new, len(outcome.findings) - len(new)


def _read(file: Path) -> Counter[tuple[str, str, str]]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            raise ValueError
        return Counter({(item["path"], item["code"], item["line"]): int(item["count"]) for item in data["findings"]})
    except OSError as error:
        raise SettingsError(f"{file}: the baseline cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise SettingsError(f"{file}: not a baseline; write one with `--update-baseline`") from None


def _key(finding: Finding, file: Path, outcome: Outcome) -> tuple[str, str, str]:
    at = finding.location
    path = relative(at.path, file.absolute().parent).replace(os.sep, "/")
    code = " ".join(outcome.sources.line(at.path, at.cell, at.line).split())
    return path, finding.code, hashlib.sha256(code.encode()).hexdigest()[:16]
