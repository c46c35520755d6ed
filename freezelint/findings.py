"""What freezelint says: plain, frozen, JSON-able data. No node, tensor, ANSI or UTF-16 column in any of it."""

from __future__ import annotations

from enum import Enum
from typing import Any

from freezelint.records import asdict, field, record, replace


class Severity(str, Enum):
    """Harm decides: error = training is not what the author meant, warning = waste or risk, hint = no effect here."""

    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"


class Safety(str, Enum):
    """How a fix may be applied: `--fix`, `--fix --unsafe-fixes`, or only shown."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    SHOW = "show"


class Verdict(str, Enum):
    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNSETTLED = "unsettled"


class ClaimKind(str, Enum):
    """What a finding asserts about a run."""

    STILL_TRAINS = "still_trains"  # parameters meant to be frozen get a gradient or move
    FROZEN_MOVES = "frozen_moves"  # frozen parameters or buffers change
    STARVED = "starved"  # trainable parameters get no gradient, or an exactly zero one
    NOT_STEPPED = "not_stepped"  # trainable parameters with a gradient that no optimizer steps
    NO_GRAPH = "no_graph"  # the loss, or one of its terms, has no graph
    WASTED = "wasted"  # gradients are computed and never used
    NO_EFFECT = "no_effect"  # the line does nothing
    RAISES = "raises"  # the run stops with an error


@record(frozen=True, order=True)
class Location:
    """A range in a file. Lines from 1, columns from 0 in code points, the end exclusive; a notebook's `cell` from 1."""

    path: str
    line: int
    column: int = 0
    end_line: int = 0
    end_column: int = 0
    cell: int | None = None

    def touches(self, other: Location) -> bool:
        """Whether both ranges share a line of the same file (and cell)."""
        if self.path != other.path or self.cell != other.cell:
            return False
        return self.line <= (other.end_line or other.line) and other.line <= (self.end_line or self.line)


@record(frozen=True)
class Edit:
    """Replace the text at `location` (empty range: insert)."""

    location: Location
    text: str


@record(frozen=True)
class Fix:
    title: str
    edits: tuple[Edit, ...] = ()
    safety: Safety = Safety.SHOW


@record(frozen=True)
class Related:
    location: Location
    note: str


@record(frozen=True)
class Claim:
    """What must be seen in a run if the finding is true. `subject`: dotted name as the source writes it."""

    kind: ClaimKind
    subject: str


@record(frozen=True)
class Evidence:
    """A fact that settled a claim. `witness`: source, graph or run. `numbers` carry their unit in the key."""

    witness: str
    verdict: Verdict
    detail: str
    device: str = ""
    numbers: dict[str, float] = field(default_factory=dict)


@record(frozen=True)
class Finding:
    code: str
    message: str
    location: Location
    severity: Severity = Severity.ERROR
    related: tuple[Related, ...] = ()
    fix: Fix | None = None
    claim: Claim | None = None
    evidence: tuple[Evidence, ...] = ()

    def with_evidence(self, evidence: Evidence) -> Finding:
        return replace(self, evidence=(*self.evidence, evidence))

    @property
    def refuted(self) -> bool:
        return any(evidence.verdict is Verdict.REFUTED for evidence in self.evidence)

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON types; `from_json` is its inverse (the cache and the process pool use both)."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Finding:
        fix, claim = data["fix"], data["claim"]
        return cls(
            code=data["code"],
            message=data["message"],
            location=Location(**data["location"]),
            severity=Severity(data["severity"]),
            related=tuple(Related(Location(**r["location"]), r["note"]) for r in data["related"]),
            fix=fix and _fix_from_json(fix),
            claim=claim and Claim(ClaimKind(claim["kind"]), claim["subject"]),
            evidence=tuple(Evidence(**{**e, "verdict": Verdict(e["verdict"])}) for e in data["evidence"]),
        )


def _fix_from_json(data: dict[str, Any]) -> Fix:
    edits = tuple(Edit(Location(**edit["location"]), edit["text"]) for edit in data["edits"])
    return Fix(data["title"], edits, Safety(data["safety"]))
