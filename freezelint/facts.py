"""What a run measured: typed facts with the user's lines, the gradient map it walked, and which lines it saw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from freezelint import measured
from freezelint.findings import Claim, Evidence, Finding, Location, Related, Severity, Verdict
from freezelint.gradient_map import GradientMap
from freezelint.records import field, record

if TYPE_CHECKING:
    from freezelint.rule import Rule


@record(frozen=True)
class Fact:
    """One thing seen at one line. `kind` names it, `subject` is what it is about, `numbers` carry their unit."""

    kind: str
    place: Location
    subject: str
    text: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    related: tuple[Related, ...] = ()
    device: str = ""
    unmeasured: str = ""  # of a waste: why no numbers say what it costs

    def report(
        self,
        rule: Rule,
        message: str,
        detail: str,
        *,
        severity: Severity | None = None,
        **values: object,
    ) -> Finding:
        """The finding this fact makes on its own, confirmed by itself. `detail` says what was measured."""
        values = {"subject": self.subject, "text": self.text, **values}
        counted = {key: int(value) if float(value).is_integer() else value for key, value in self.numbers.items()}
        text = "; ".join(
            filter(None, (detail.format(**values, **counted), measured.told(self.numbers, self.unmeasured)))
        )
        evidence = Evidence("run", Verdict.CONFIRMED, text, self.device, self.numbers)
        return Finding(
            code=rule.code,
            message=message.format(**values),
            location=self.place,
            severity=severity or rule.severity,
            related=self.related,
            claim=Claim(rule.claim, self.subject) if rule.claim else None,
            evidence=(evidence,),
        )


@record(frozen=True)
class Parameter:
    """One parameter over the run."""

    name: str
    elements: int
    trainable: bool  # required a gradient when its optimizer stepped
    optimizers: int
    steps_with_gradient: int
    steps_with_zero_gradient: int
    steps_without_gradient: int
    moved_while_frozen: float
    place: Location | None = None
    passes: int = 0  # backward passes that reached it
    loaded: bool = False  # given weights after it was made


@record(frozen=True)
class Module:
    """One module over the run: in which modes its forward was called, first at `place`."""

    name: str
    type: str
    calls: int
    calls_in_train_mode: int
    calls_without_grad: int
    place: Location | None = None


@record(frozen=True)
class Facts:
    """Everything one run left behind."""

    name: str
    device: str
    torch: str
    steps: int
    backwards: int
    seconds: float
    stopped: str  # steps, end, timeout, exception
    map: GradientMap
    facts: tuple[Fact, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    modules: tuple[Module, ...] = ()
    seen: dict[tuple[str, int | None], frozenset[int]] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    troubles: tuple[str, ...] = ()  # errors of the monitor's own: what they hid was not seen
    dgrad_threshold: float = 0.3  # of a full backward, from which on a crossed frozen stack is worth a note
    contract: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())  # patterns of frozen and of trainable names

    def of(self, *kinds: str) -> Iterator[Fact]:
        return (fact for fact in self.facts if fact.kind in kinds)

    def saw(self, location: Location) -> bool:
        """Whether any line of a range did something that the monitor could see."""
        lines = self.seen.get((location.path, location.cell), frozenset())
        return any(line in lines for line in range(location.line, max(location.end_line, location.line) + 1))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Facts:
        device = data["device"]
        return cls(
            name=data.get("script", ""),
            device=device,
            torch=data["torch"],
            steps=data["steps"],
            backwards=data["backwards"],
            seconds=data["seconds"],
            stopped=data["stopped"],
            map=GradientMap.from_json(data["map"]),
            facts=tuple(_fact(item, device) for item in data["facts"]),
            parameters=tuple(
                Parameter(**{**item, "place": Location(*item["place"]) if item["place"] else None})
                for item in data.get("parameters", ())
            ),
            modules=tuple(
                Module(**{**item, "place": Location(*item["place"]) if item["place"] else None})
                for item in data.get("modules", ())
            ),
            seen={(path, cell): frozenset(lines) for path, cell, lines in data["seen"]},
            error=data.get("error"),
            troubles=tuple(data.get("troubles", ())),
        )


def _fact(item: dict[str, Any], device: str) -> Fact:
    return Fact(
        kind=item["kind"],
        place=Location(*item["place"]),
        subject=item["subject"],
        text=item["text"],
        numbers=item["numbers"],
        related=tuple(Related(Location(*at), note) for at, note in item["related"]),
        device=device,
        unmeasured=item.get("unmeasured", ""),
    )
