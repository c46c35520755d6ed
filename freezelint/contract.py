"""The contract of the settings, `frozen` and `trainable` name patterns, held against a model's parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from freezelint.findings import Finding, Location
from freezelint.rule import Rule

Breach = tuple[str, Location | None]  # what a parameter does against the contract, "" for nothing; and where to say so
NOWHERE = Location(".", 1)


def breaches(
    rule: Rule,
    patterns: Iterable[str],
    rows: Iterable[Any],
    model: str,
    judge: Callable[[Any], Breach],
    elsewhere: Location | None = None,
) -> Iterator[Finding]:
    """One finding for each pattern and each way in which parameters of that name break it."""
    for pattern in patterns:
        wrong: dict[str, list[tuple[str, Location | None]]] = {}
        for row in rows:
            if fnmatchcase(row.name, pattern):
                why, place = judge(row)
                if why:
                    wrong.setdefault(why, []).append((row.name, place))
        for why, found in wrong.items():
            at = next((place for _, place in found if place), elsewhere or NOWHERE)
            name, count = found[0][0], len(found)
            yield rule.report(at, pattern=pattern, model=model, count=count, name=name, why=why, subject=pattern)


def idle(
    rule: Rule, patterns: Iterable[str], rows: Iterable[Any], model: str, place: Location | None, message: str
) -> Iterator[Finding]:
    """One finding for each pattern that matches nothing."""
    for pattern in patterns:
        if not any(fnmatchcase(row.name, pattern) for row in rows):
            yield rule.report(place or NOWHERE, message=message, pattern=pattern, model=model, subject=pattern)
