"""What a trace says about one model: its gradient map, every module and parameter, and what a step costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from freezelint.findings import Claim, Evidence, Finding, Location, Related, Severity, Verdict
from freezelint.gradient_map import Cut, GradientMap, Kind, Node
from freezelint.records import field, record

if TYPE_CHECKING:
    from freezelint.rule import Rule
    from freezelint.worker.bill import Bill

DGRAD_THRESHOLD = 0.3  # share of a full backward from which on crossing frozen layers is worth a word


@record(frozen=True)
class ModuleRow:
    """One module with its own parameters and costs, those of its submodules not included.

    `state`: trains, starved, passes (frozen, a gradient goes through), frozen; through and idle have no parameters.
    `training`: in train mode, or else in eval mode, during the step.
    """

    path: str
    class_name: str
    state: str
    own_parameters: int
    own_elements: int
    trainable_elements: int
    reached_elements: int
    present: Bill
    whole: Bill
    training: bool = True


@record(frozen=True)
class ParameterRow:
    """One parameter. `reached`: autograd brings it a gradient; `zero`: one that is exactly zero whatever the data."""

    name: str
    shape: tuple[int, ...]
    trainable: bool
    reached: bool
    in_optimizer: bool | None
    place: Location | None  # where it is made
    frozen_at: Location | None = None  # where set-up code froze it
    zero: bool = False
    output: str = ""  # the output beside the loss that reaches it where the loss does not

    @property
    def elements(self) -> int:
        size = 1
        for length in self.shape:
            size *= length
        return size


@record(frozen=True)
class WhatIf:
    """One change to the freeze and what it leaves. `confirmed`: recorded again, not only computed."""

    kind: str  # "freeze" or "input"
    title: str
    names: tuple[str, ...]
    place: Location | None
    left: Bill
    saved_flops: int
    saved_bytes: int | None
    confirmed: bool

    @property
    def parts(self) -> str:
        """What a further freeze takes: `embed`, or several parts."""
        return self.title.removeprefix("freeze ").removesuffix(" too")

    def less(self, present: Bill) -> str:
        """9.8 GFLOP less (86 %) and reads 84 MB less of saved activations."""
        share = round(100 * self.saved_flops / present.backward_flops) if present.backward_flops else 0
        kept = f" and reads {size(self.saved_bytes)} less of saved activations" if self.saved_bytes else ""
        return f"{flop(self.saved_flops)} less ({share} %){kept}"


@record(frozen=True)
class AttributeFreeze:
    """A module that was given a plain attribute `requires_grad`."""

    path: str
    text: str  # what the line, or else Python, calls it: `self.body`, `model.layers[3]`
    place: Location
    parameters: int  # of its own and its submodules, that train on


@record(frozen=True)
class TraceFact:
    """What a trace tells beside its map, in the form that checks ask of a run; `detail` says how it is so."""

    kind: str
    place: Location
    subject: str
    text: str
    detail: str
    related: tuple[Related, ...] = ()
    device: str = ""

    def report(
        self, rule: Rule, message: str, _detail: str, *, severity: Severity | None = None, **values: object
    ) -> Finding:
        """The finding this fact makes on its own, confirmed by the trace. A run's own measure does not apply."""
        evidence = Evidence("graph", Verdict.CONFIRMED, self.detail, self.device)
        return Finding(
            code=rule.code,
            message=message.format(**{"subject": self.subject, "text": self.text, **values}),
            location=self.place,
            severity=severity or rule.severity,
            related=self.related,
            claim=Claim(rule.claim, self.subject) if rule.claim else None,
            evidence=(evidence,),
        )

    @classmethod
    def from_json(cls, data: dict[str, Any], device: str) -> TraceFact:
        related = tuple(Related(Location(*at), note) for at, note in data["related"])
        plain = {key: data[key] for key in ("kind", "subject", "text", "detail")}
        return cls(place=Location(*data["place"]), related=related, device=device, **plain)


@record
class ModelReport:
    """`present`: as it is frozen; `whole`: with every parameter trainable."""

    name: str
    map: GradientMap
    modules: list[ModuleRow]
    parameters: list[ParameterRow]
    present: Bill
    whole: Bill
    what_if: list[WhatIf] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)  # "x: float32[2,3,224,224]"
    inputs_from: str = "settings"
    device: str = "cpu"
    method: str = "fake"  # or "real": a small real step
    torch: str = ""
    operations: int = 0
    build_s: float = 0.0
    trace_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    place: Location | None = None  # where the model is built or its class defined
    frozen: tuple[str, ...] = ()  # the contract, as patterns of names
    trainable: tuple[str, ...] = ()
    idle_filters: list[tuple[str, Location]] = field(default_factory=list)  # tests of names that no parameter passed
    attribute_freezes: list[AttributeFreeze] = field(default_factory=list)
    dgrad_threshold: float = DGRAD_THRESHOLD
    facts: tuple[TraceFact, ...] = ()
    others: list[str] = field(default_factory=list)  # further models of the same target
    guessed: bool = False  # values or chance decided what ran: other inputs may take another way

    def of(self, *kinds: str) -> Iterator[TraceFact]:
        return (fact for fact in self.facts if fact.kind in kinds)

    @property
    def losses(self) -> list[Node]:
        return self.map.losses()

    @property
    def starts(self) -> list[int]:
        return [node.id for node in self.map.losses()]

    def cuts(self) -> list[tuple[Cut, list[Node]]]:
        """Every place that starves trainable parameters, once, with the parameters it starves."""
        found: dict[tuple[str, str], tuple[Cut, dict[int, Node]]] = {}
        for cut, nodes in self.map.starved(self.starts):
            _, known = found.setdefault((cut.cause.value, str(cut.place)), (cut, {}))
            known.update({node.id: node for node in nodes})
        return [(cut, list(nodes.values())) for cut, nodes in found.values()]

    def unreachable(self) -> list[Node]:
        """Trainable parameters from which no way, cut or not, leads to a loss."""
        return self.map.unreachable(self.starts)

    def gradient_inputs(self) -> list[Node]:
        """Inputs, and tensors made inside the forward, that require grad."""
        return [node for node in self.map.nodes if node.kind is Kind.INPUT and node.trainable]

    def starved(self) -> list[ParameterRow]:
        """Trainable parameters that got no gradient, or zeros alone."""
        return [row for row in self.parameters if row.trainable and (row.zero or not row.reached)]

    def change_at(self, location: Location) -> WhatIf | None:
        """The change to an input that is made at this line."""
        places = ((change, change.place) for change in self.what_if if change.kind == "input")
        return next((change for change, place in places if place is not None and place.touches(location)), None)

    def share_of_backward(self) -> float:
        """Backward's operations as a share of those with everything trainable."""
        return self.present.backward_flops / self.whole.backward_flops if self.whole.backward_flops else 0.0

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModelReport:
        """From the worker's answer."""
        return cls(
            name=data["name"],
            map=GradientMap.from_json(data["map"]),
            modules=[_module(row) for row in data["modules"]],
            parameters=[_parameter(row) for row in data["parameters"]],
            present=_bill(data["present"]),
            whole=_bill(data["whole"]),
            what_if=[_what_if(row) for row in data["what_if"]],
            place=_location(data["place"]),
            attribute_freezes=[
                AttributeFreeze(**{**row, "place": Location(*row["place"])}) for row in data["attribute_freezes"]
            ],
            idle_filters=[(test, Location(*place)) for test, place in data["idle_filters"]],
            facts=tuple(TraceFact.from_json(row, data["device"]) for row in data["facts"]),
            **{key: data[key] for key in PLAIN if key in data},
        )


PLAIN = "inputs inputs_from device method torch operations build_s trace_s notes guessed others".split()


def _bill(data: dict[str, int]) -> Bill:
    from freezelint.worker.bill import Bill  # with the standard library's dataclasses, which a check does without

    return Bill(**data)


def _location(data: list[Any] | None) -> Location | None:
    return Location(*data) if data else None


def _places(row: dict[str, Any], *keys: str) -> dict[str, Location | None]:
    return {key: _location(row[key]) for key in keys}


def _module(row: dict[str, Any]) -> ModuleRow:
    plain = {key: row[key] for key in row if key not in ("class", "present", "whole")}
    return ModuleRow(class_name=row["class"], present=_bill(row["present"]), whole=_bill(row["whole"]), **plain)


def _parameter(row: dict[str, Any]) -> ParameterRow:
    return ParameterRow(**{**row, "shape": tuple(row["shape"]), **_places(row, "place", "frozen_at")})


def _what_if(row: dict[str, Any]) -> WhatIf:
    return WhatIf(**{**row, "names": tuple(row["names"]), "place": _location(row["place"]), "left": _bill(row["left"])})


def flop(value: int) -> str:
    """22.4 GFLOP"""
    return _scaled(value, "FLOP")


def size(value: int) -> str:
    """1.59 MB"""
    return _scaled(value, "B")


def count(value: int) -> str:
    """125 M"""
    return _scaled(value, "")


def _scaled(value: float, unit: str) -> str:
    """Three significant digits and a decimal prefix."""
    prefix = ""
    while abs(value) >= 999.5 and prefix != "P":
        value, prefix = value / 1000, _NEXT[prefix]
    digits = f"{value:.0f}" if not prefix or abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {prefix}{unit}".rstrip()


_NEXT = {"": "k", "k": "M", "M": "G", "G": "T", "T": "P"}
