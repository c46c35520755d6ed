"""What the parameters of a run say of a claim, by the names it is about: gradients had or missed, weights that moved.

A finding whose own fact the run did not raise is refuted only where these numbers do not bear it out either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from freezelint.facts import Facts, Parameter
from freezelint.findings import ClaimKind, Evidence, Finding, Verdict

NAMES = re.compile(r", | and ")
LEFT_OUT = frozenset({"FRZ309", "FRZ402", "FRZ405"})  # in no optimizer, though a backward pass reaches it


def borne_out(finding: Finding, facts: Facts) -> Evidence | None:
    """The evidence for a claim in the counts of its parameters, if there is any."""
    told = _told(finding, _meant(finding, facts.parameters), facts.steps)
    return Evidence("run", Verdict.CONFIRMED, told, facts.device, {"steps": facts.steps}) if told else None


def about(finding: Finding, names: Sequence[str]) -> set[str]:
    """Those of a model's parameters that are named by a claim on its map, or lie in a module that is; all of them
    where it names none, as one on the loss does, or leaves some out for length."""
    tokens = NAMES.split(finding.claim.subject) if finding.claim else []
    told = {name for name in names if any(f"{name}.".startswith(f"{token}.") for token in tokens if token)}
    return told if told and not tokens[-1].endswith(" more") else set(names)


def _told(finding: Finding, rows: Sequence[Parameter], steps: int) -> str:
    if not rows or finding.claim is None:
        return ""
    kind, count = finding.claim.kind, f"{len(rows)} parameter{'s' * (len(rows) > 1)}"
    if finding.code == "FRZ107":
        return "" if any(row.loaded for row in rows) else f"{count} were drawn and never loaded"
    if finding.code in LEFT_OUT:
        passes = max(row.passes for row in rows)
        lone = passes and not any(row.optimizers for row in rows)
        return f"no optimizer holds {count} that {passes} passes reached" if lone else ""
    if kind is ClaimKind.STARVED:
        held = [row for row in rows if row.trainable and row.optimizers]
        starved = held and not any(row.steps_with_gradient for row in held)
        return f"{len(held)} of {count} in the optimizer had no gradient in {steps} steps" if starved else ""
    if kind is ClaimKind.STILL_TRAINS:
        taught = [row for row in rows if row.trainable and row.steps_with_gradient]
        return f"{len(taught)} of {count} got a gradient in {steps} steps" if len(taught) == len(rows) else ""
    if kind is ClaimKind.FROZEN_MOVES:
        moved = max(row.moved_while_frozen for row in rows)
        return f"it moved by {moved:.3g} in one step while it was frozen" if moved else ""
    return ""


def _meant(finding: Finding, parameters: Sequence[Parameter]) -> list[Parameter]:
    """The parameters a claim names; none where it names something else, such as the loss."""
    if finding.claim is None:
        return []
    tokens = [token.strip("` ").removeprefix("self.") for token in NAMES.split(finding.claim.subject)]
    return [row for row in parameters if any(token and f".{token}." in f".{row.name}." for token in tokens)]
