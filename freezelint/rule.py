"""The contract of a rule, and the table that leads from what happened to the checks that ask about it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

from freezelint.findings import Claim, ClaimKind, Edit, Finding, Fix, Location, Related, Safety, Severity
from freezelint.gradient_map import Spot
from freezelint.records import field, record

Place = Spot | Location
Check = Callable[..., Iterator[Finding]]
C = TypeVar("C", bound=Check)


def locate(place: Place) -> Location:
    return place if isinstance(place, Location) else place.locate()


@record(eq=False, frozen=True)
class Rule:
    """One rule: code, name, and message and fix templates filled by `report`.

    A check registers with `@RULE.on(Subject)`; it is called as `check(subject, story)` for every subject of that type:
    an event of the source's timeline, a finished `Story`, a `GradientMap` from any witness, or the `Facts` of a run.
    """

    code: str
    name: str
    message: str
    fix: str = ""
    safety: Safety = Safety.SHOW
    severity: Severity = Severity.ERROR
    claim: ClaimKind | None = None
    since: str = "0.1"
    preview: bool = False  # True: only with --preview or an explicit --select
    checks: dict[type, list[Check]] = field(default_factory=dict)

    def on(self, *subjects: type) -> Callable[[C], C]:
        def register(check: C) -> C:
            for subject in subjects:
                self.checks.setdefault(subject, []).append(check)
            return check

        return register

    def report(
        self,
        place: Place,
        *,
        edits: tuple[tuple[Place, str], ...] = (),
        related: tuple[tuple[Place, str], ...] = (),
        subject: str = "",
        severity: Severity | None = None,
        safety: Safety | None = None,
        message: str = "",
        fix: str = "",
        **values: object,
    ) -> Finding:
        """The finding at `place`. `values` fill both templates; `message` and `fix` replace them for a variant."""
        title = (fix or self.fix).format(**values)
        replacements = tuple(Edit(locate(at), text) for at, text in edits)
        return Finding(
            code=self.code,
            message=(message or self.message).format(**values),
            location=locate(place),
            severity=severity or self.severity,
            related=tuple(Related(locate(at), note) for at, note in related),
            fix=Fix(title, replacements, (safety or self.safety) if replacements else Safety.SHOW) if title else None,
            claim=Claim(self.claim, subject) if self.claim else None,
        )


@lru_cache(maxsize=1)
def all_rules() -> dict[str, Rule]:
    """Every rule by code: the `RULE` of each module in `freezelint.checks`."""
    from freezelint import checks

    rules: dict[str, Rule] = {}
    for name in os.listdir(checks.__path__[0]):  # pkgutil would import `inspect` for this
        if name.startswith("frz") and name.endswith(".py"):
            rule = importlib.import_module(f"freezelint.checks.{name[:-3]}").RULE
            rules[rule.code] = rule
    return dict(sorted(rules.items()))


def table(codes: frozenset[str]) -> dict[type, list[Check]]:
    """The dispatch table `type of subject -> checks` for the chosen rules."""
    chosen: dict[type, list[Check]] = {}
    for code, rule in all_rules().items():
        if code in codes:
            for subject, checks in rule.checks.items():
                chosen.setdefault(subject, []).extend(checks)
    return chosen


def ask(checks: dict[type, list[Check]], subject: Any, *more: Any) -> Iterator[Finding]:
    """Every finding of the checks registered for the type of `subject`."""
    for check in checks.get(type(subject), ()):
        yield from check(subject, *more)
