"""From a flow to the JSON of a gradient map: parameters, inputs, losses, and of all values only those that matter."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator
from typing import Any

from .causes import Cut
from .flow import Flow, Value
from .frames import Line
from .watch import Spot

Json = dict[str, Any]
PASSES_ON = {"aten::mul", "aten::div", "aten::neg", "aten::squeeze", "aten::view", "aten::_to_copy", "aten::mul_"}
SUMS = {"aten::add", "aten::sub", "aten::add_", "aten::rsub"}


def place(line: Line | None) -> list[Any] | None:
    """A line of a file as the map's JSON has it: path, line, columns of the code on it, no cell."""
    if line is None:
        return None
    text = linecache.getline(*line).rstrip("\n")
    start = len(text) - len(text.lstrip())
    return [line[0], line[1], start, line[1], max(len(text.rstrip()), start), None]


def cut_json(cut: Cut | None) -> list[Any] | None:
    return [cut.cause, place(cut.line), cut.text, cut.module, place(cut.scope)] if cut else None


class Mapper:
    """Builds the map of one flow. `places`: where each parameter was registered, by name."""

    def __init__(self, flow: Flow, places: dict[str, Line] | None = None) -> None:
        self.flow = flow
        self.places = places or {}
        self.nodes: list[list[Any]] = []
        self.edges: list[list[Any]] = []
        self.ids: dict[int, int] = {}  # value -> node of the map
        self.reached = flow.recording.reached()
        self.outputs = [(name, flow.value_of(tensor)) for name, tensor in flow.recording.other_outputs]
        self.named = {v: name for name, v in self._scalars()}
        self.losses: list[tuple[str, int, Line | None]] = list(self._losses())

    def build(self) -> Json:
        flow = self.flow
        self._reconcile()
        for value in flow.values:
            if value.kind in ("parameter", "input", "hidden"):
                self.ids[value.id] = self._leaf(value)
        ways = self._useful_ways()
        kept = set(self.ids) | {end for s, t, cut in ways if cut for end in (s, t)} | self._ends()
        for source, target, cut in contracted(ways, kept):
            self.edges.append([self._id(source), self._id(target), cut_json(cut), True])
        for name, value_id, line in self.losses:
            loss = self._node("loss", name, place=place(line))
            self.edges.append([self._id(value_id), loss, None, True])
        for name, value_id in self.outputs:
            at = place(line_of(flow.values[value_id]))
            output = self._node("value", name, place=at, numbers={"output": 1.0})
            self.edges.append([self._id(value_id), output, None, True])
        return {
            "witness": "graph", "notes": list(flow.recording.notes), "nodes": self.nodes, "edges": self.edges,
        }  # fmt: skip

    def _losses(self) -> Iterator[tuple[str, int, Line | None]]:
        flow = self.flow
        for name, tensor in flow.recording.losses:
            value = flow.value_of(tensor)
            yield name, value, line_of(flow.values[value])
            terms = list(self._terms(value, 0)) if tensor.numel() == 1 else []
            if len(terms) > 1:
                for number, term in enumerate(terms, 1):
                    known = self.named.get(term)
                    told = f"`{bare(known)}` in {name}" if known else f"term {number} of {name}"
                    yield told, term, line_of(flow.values[term])

    def _scalars(self) -> Iterator[tuple[str, int]]:
        for name, tensor in self.flow.recording.outputs:
            if tensor.dim() == 0 and id(tensor) in self.flow._now:
                yield name, self.flow.value_of(tensor)

    def _ends(self) -> set[int]:
        return {value for _, value, _ in self.losses} | {value for _, value in self.outputs}

    def reached_otherwise(self) -> dict[str, str]:
        """The parameters that no loss reaches, though an output beside it does, which could be one; and which."""
        found: dict[str, str] = {}
        for name, start in self.outputs:
            for value in self._behind({start}, lambda way: way.cut is None):
                known = self.flow.values[value]
                if known.kind == "parameter" and known.name in self.flow.recording.trainable - self.reached:
                    found.setdefault(known.name, bare(name))
        return found

    def zeroed(self) -> set[str]:
        """The trainable parameters whose gradient arrives as exact zeros: every way has a derivative of zero on it."""
        moved = self._behind({value for _, value, _ in self.losses}, lambda way: way.cut is None)
        values = self.flow.values
        return (self.reached & self.flow.recording.trainable) - {values[value].name for value in moved}

    def _terms(self, value: int, depth: int) -> Iterator[int]:
        op = self.flow.values[value].op
        ways = [way for way in self.flow.into[value] if way.op is op and self._scalar(way.source)]
        moving = [way for way in ways if self.flow.values[way.source].kind == "operation"]
        splits = op is not None and (op.name in SUMS or (op.name in PASSES_ON and len(moving) == 1))
        if not splits or depth >= 12 or not moving or (depth and value in self.named):
            yield value
            return
        for way in moving:
            yield from self._terms(way.source, depth + 1)

    def _scalar(self, value: int) -> bool:
        tensor = self.flow.values[value].tensor
        return tensor is not None and tensor.numel() == 1

    def _leaf(self, value: Value) -> int:
        recording = self.flow.recording
        if value.kind == "parameter":
            assert value.tensor is not None
            numbers = {"elements": float(value.tensor.numel()), "reached": float(value.name in self.reached)}
            trainable = value.name in recording.trainable
            owner = value.name.rpartition(".")[0]
            at = place(self.places.get(value.name))
            return self._node("parameter", value.name, trainable=trainable, place=at, module=owner, numbers=numbers)
        names = {id(tensor): name for name, tensor in recording.inputs}
        name = value.name or names.get(id(value.tensor)) or receiver(value.spot)
        read = id(value.tensor) in recording.watch.read_grads
        requires = value.kind == "hidden" or bool(value.tensor is not None and value.tensor.requires_grad)
        spot = value.spot
        at, module = (place(spot.line), spot.path) if spot else (None, "")
        return self._node("input", name, trainable=requires, place=at, module=module, read=read if requires else None)

    def _node(self, kind: str, name: str, **details: Any) -> int:
        order = ("trainable", "place", "module", "numbers", "read")
        defaults: Json = {"trainable": None, "place": None, "module": "", "numbers": {}, "read": None}
        self.nodes.append([kind, name, *(details.get(key, defaults[key]) for key in order)])
        return len(self.nodes) - 1

    def _id(self, value_id: int) -> int:
        if value_id not in self.ids:
            value = self.flow.values[value_id]
            path = value.op.path if value.op else ""
            name = value.op.name.removeprefix("aten::") if value.op else "value"
            self.ids[value_id] = self._node("value", name, place=place(line_of(value)), module=path)
        return self.ids[value_id]

    def _useful_ways(self) -> list[tuple[int, int, Cut | None]]:
        """The ways between what comes from a parameter or input and what leads to a loss."""
        flow = self.flow
        fed: set[int] = {value.id for value in flow.values if value.kind in ("parameter", "input", "hidden")}
        after: dict[int, list[int]] = {}
        for way in flow.ways:
            after.setdefault(way.source, []).append(way.target)
        todo = list(fed)
        while todo:
            for target in after.get(todo.pop(), ()):
                if target not in fed:
                    fed.add(target)
                    todo.append(target)
        leading = self._behind(self._ends(), lambda _way: True)
        return [(w.source, w.target, w.cut) for w in flow.ways if w.source in fed and w.target in leading]

    def _behind(self, starts: set[int], passes: Any) -> set[int]:
        seen = set(starts)
        todo = list(starts)
        while todo:
            for way in self.flow.into[todo.pop()]:
                if way.source not in seen and passes(way):
                    seen.add(way.source)
                    todo.append(way.source)
        return seen

    def _reconcile(self) -> None:
        """Autograd has the last word: where the map's reach differs from the recorded one, the map is corrected."""
        flow = self.flow
        starts = {value for _, value, _ in self.losses}
        reach = self._behind(starts, lambda way: way.cut is None or way.cut.cause == "zero_gradient")
        for value in flow.values:
            if value.kind != "parameter" or not self.losses:
                continue
            if value.name in self.reached and value.id not in reach:
                flow._way(value.id, self.losses[0][1])
                continue
            if value.name in flow.recording.trainable and value.name not in self.reached and value.id in reach:
                self._cut_off(value.id)

    def _cut_off(self, parameter: int) -> None:
        for way in self.flow.ways:
            if way.source == parameter and way.cut is None:
                op = way.op
                text = op.name.removeprefix("aten::") if op else ""
                way.cut = Cut("non_differentiable", op.line if op else None, text, op.path if op else "")


def bare(name: str) -> str:
    """`aux_loss`, of what is called `output.aux_loss` where inputs have names, too."""
    return name.removeprefix("output.")


def receiver(spot: Spot | None) -> str:
    """What was made to require grad, as the user's line has it."""
    match = re.search(r"([\w.\[\]]+)\.requires_grad", linecache.getline(*spot.line)) if spot and spot.line else None
    return match[1] if match else "a tensor made in the forward"


def line_of(value: Value) -> Line | None:
    return value.op.line if value.op else (value.spot.line if value.spot else None)


def contracted(ways: list[tuple[int, int, Cut | None]], kept: set[int]) -> list[tuple[int, int, Cut | None]]:
    """The same reach with fewer values: one that is not kept gives way to edges from its sources to its targets,
    wherever that makes no more edges than there were."""
    before: dict[int, set[int]] = {}
    after: dict[int, set[int]] = {}
    cuts = {(s, t, cut.cause, cut.line): (s, t, cut) for s, t, cut in ways if cut}
    for source, target, cut in ways:
        if cut is None:
            before.setdefault(target, set()).add(source)
            after.setdefault(source, set()).add(target)
    for value in sorted(set(before) | set(after)):
        sources, targets = before.get(value, set()), after.get(value, set())
        if value in kept or len(sources) * len(targets) > len(sources) + len(targets):
            continue
        for source in sources:
            after[source].discard(value)
            after[source] |= targets
        for target in targets:
            before[target].discard(value)
            before[target] |= sources
        before.pop(value, None)
        after.pop(value, None)
    return [(s, t, None) for t in sorted(before) for s in sorted(before[t])] + list(cuts.values())
