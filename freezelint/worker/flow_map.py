"""The record as a gradient map: the JSON that the host's GradientMap reads, witness `run`."""

from __future__ import annotations

from typing import Any

from .ledger import Backward, Leaf, Mod
from .monitor import Monitor
from .operations import KIND
from .places import Place
from .survey import maximal, parent
from .tape import Cut, Node

MOST_LOSSES = 12


class MapBuilder:
    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.nodes: list[list[Any]] = []
        self.edges: list[list[Any]] = []
        self.ids: dict[int, int] = {}
        self.notes: list[str] = []
        self.purposes: dict[int, set[int]] = {}  # value -> leaves that the optimizers behind its passes step
        self.leaves = [leaf for leaf in monitor.ledger.leaves.values() if trainable(leaf)]
        self.hidden = {id(leaf) for _, _, _, leaves in monitor.ledger.hidden for leaf in leaves}
        self.wanted = {
            id(leaf) for opt in monitor.ledger.optimizers for leaf in opt.leaves if leaf.wanted or not opt.steps
        }

    def build(self) -> dict[str, Any]:
        losses = chosen(self.monitor.ledger.backwards)
        self.note_purposes(losses)
        for event in losses:
            fresh = [node for node in nodes_behind(event.roots) if id(node) not in self.ids]
            fresh.sort(key=lambda node: node.order)
            for node in fresh:
                self.reserve(node)
            for node in fresh:
                self.connect(node, event)
        for event in losses:
            for root in event.roots:
                self.loss(root, event)
            self.reached_unseen(event)
        self.unreached()
        return {"witness": "run", "notes": self.notes, "nodes": self.nodes, "edges": self.edges}

    def note_purposes(self, losses: list[Backward]) -> None:
        """Which leaves each value's passes are made to step: all of them where no pass was stepped."""
        for event in losses:
            stepped = {id(leaf) for opt in event.steppers for leaf in opt.leaves} or self.wanted
            for node in nodes_behind(event.roots):
                self.purposes[id(node)] = self.purposes.get(id(node), set()) | stepped

    def connect(self, node: Node, event: Backward) -> None:
        if given_by_hand(node):
            return
        for source, cut in node.into:
            stale = cut is not None and node.order < event.since
            start = self.summary(source, node) if stale else self.number(source, node)
            self.edges.append([start, self.ids[id(node)], packed(cut), True])

    def reserve(self, node: Node) -> None:
        leaf = node.detail if isinstance(node.detail, Leaf) else None
        if leaf is not None and stands_for_itself(node, leaf):
            number = self.parameter(leaf, node)
        elif node.kind == "input" and leaf is not None:
            number = self.put("input", leaf.name or leaf.via or "input", node.place)
            self.nodes[number][2] = True
            used = leaf.needed or leaf.numel == 1 or id(leaf) in self.hidden or self.forced(node)
            self.nodes[number][6] = bool(leaf.read_by) or used
        else:
            number = self.put("value", spelled(node.text), node.place)
        self.ids[id(node)] = number

    def summary(self, source: Node, user: Node) -> int:
        """What a cut of an earlier pass took the gradient from, in one step: the cut nearest to the loss is told."""
        number = self.put("value", spelled(source.text), source.place)
        lost = behind(source, live=False)
        for leaf in self.leaves:
            if id(leaf) in lost:
                self.edges.append([self.parameter(leaf, user), number, None, True])
        return number

    def number(self, node: Node, user: Node) -> int:
        leaf = node.detail
        if isinstance(leaf, Leaf) and stands_for_itself(node, leaf):
            return self.parameter(leaf, user)
        return self.ids[id(node)]

    def forced(self, node: Node) -> bool:
        """A leaf made of a value that depends on something to be trained: it only hides the missing graph."""
        return bool(node.into) and not node.detail.read_by and bool(behind(node, live=False) & self.wanted)

    def put(self, kind: str, name: str, place: Place | None) -> int:
        self.nodes.append([kind, name, None, list(place) if place else None, "", {}, None])
        return len(self.nodes) - 1

    def parameter(self, leaf: Leaf, user: Node | None = None) -> int:
        """Its node: one where it is about to be stepped, another where the passes are not meant for it."""
        purpose = self.purposes.get(id(user)) if user is not None else None
        meant = leaf.attacked or (trainable(leaf) and (not purpose or id(leaf) in purpose))
        key = id(leaf) if meant or not trainable(leaf) else -id(leaf)
        known = self.ids.get(key)
        if known is not None:
            return known
        number = self.put("parameter", leaf.name or leaf.attribute or "parameter", leaf.place)
        self.nodes[number][2] = meant
        self.nodes[number][4] = leaf.owner.name if leaf.owner else ""
        self.nodes[number][5] = {"numel": leaf.numel, "steps_with_gradient": leaf.had_gradient}
        self.ids[key] = number
        return number

    def loss(self, root: Node, event: Backward) -> None:
        number = self.put("loss", "loss", event.place)
        self.edges.append([self.ids[id(root)], number, None, True])

    def reached_unseen(self, event: Backward) -> None:
        """What autograd reached though the record knows no way (work in C++, other threads)."""
        if not event.roots:
            return
        known = {id(node.detail) for node in nodes_behind(event.roots) if node.kind == "parameter"}
        root = self.ids[id(event.roots[0])]
        for leaf in event.leaves:
            if leaf.is_parameter and id(leaf) not in known:
                self.edges.append([self.parameter(leaf), root, None, True])

    def unreached(self) -> None:
        """Trainable parameters no loss depends on, named and placed by the largest module that is wholly unreached."""
        ledger = self.monitor.ledger
        dead = [
            leaf
            for opt in ledger.optimizers
            if opt.steps
            for leaf in opt.leaves
            if trainable(leaf) and not {id(leaf), -id(leaf)} & self.ids.keys() and self.in_use(leaf)
        ]
        for leaf in dead:
            self.parameter(leaf)
        for top, members in maximal(dead, {id(leaf) for leaf in dead}):
            place = (top.called_at or registration(top)) if top is not None else None
            for leaf in members:
                entry = self.nodes[self.ids[id(leaf)]]
                if top is not None and place is not None:
                    entry[3], entry[4] = list(place), top.name

    def in_use(self, leaf: Leaf) -> bool:
        """Not replaced by another parameter since the optimizer took it."""
        owner = leaf.owner
        if leaf.ref() is None or owner is None:
            return leaf.ref() is not None
        return owner.ref() is not None and owner.current.get(leaf.attribute) is leaf


def registration(entry: Mod) -> Place | None:
    above = parent(entry)
    if above is not None:
        flag = above.children.get(entry.path.rpartition(".")[2])
        if flag is not None and flag.place is not None:
            return flag.place
    return entry.place


def trainable(leaf: Leaf) -> bool:
    return leaf.is_parameter and leaf.wanted


def chosen(backwards: list[Backward]) -> list[Backward]:
    """The first two and the last backward pass of each place."""
    by_place: dict[Place | None, list[Backward]] = {}
    for event in backwards:
        if event.kind == "backward" or event.optimises_inputs:
            by_place.setdefault(event.place, []).append(event)
    kept = [event for events in by_place.values() for event in dict.fromkeys([*events[:2], events[-1]])]
    return sorted(kept, key=lambda event: event.seq)[:MOST_LOSSES]


def terms(root: Node) -> list[Node]:
    """The summands of a loss, through sums, differences and multiples by numbers."""
    found: list[Node] = []
    todo, seen = [root], {id(root)}
    while todo:
        node = todo.pop()
        following = [source for source, cut in node.into if cut is None]
        if node.text in KIND.linear and following and node.shape in ((), (1,)):
            for source in following:
                if id(source) not in seen:
                    seen.add(id(source))
                    todo.append(source)
        else:
            found.append(node)
    return found


def constant_terms(event: Backward) -> list[Node]:
    """Summands that depend on parameters about to be stepped, yet bring none of them a gradient."""
    stepped = {id(leaf) for opt in event.steppers for leaf in opt.leaves if leaf.wanted}
    if not stepped:
        return []
    found = []
    for root in event.roots:
        for term in terms(root):
            if term is root or term.kind != "value":
                continue
            if not (behind(term, live=True) & stepped) and behind(term, live=False) & stepped:
                found.append(term)
    return found


def behind(node: Node, *, live: bool) -> set[int]:
    """Ids of the leaves behind a node: over every edge, or only those that carry a gradient."""
    leaves: set[int] = set()
    todo, seen = [node], {id(node)}
    while todo:
        current = todo.pop()
        if current.kind == "parameter":
            leaves.add(id(current.detail))
        for source, cut in current.into:
            if (cut is None or not live) and id(source) not in seen:
                seen.add(id(source))
                todo.append(source)
    return leaves


def spelled(name: str) -> str:
    """`__radd__` as `add`, the way the operation is called everywhere else."""
    if not name.startswith("__"):
        return name
    bare = name.strip("_")
    for prefix in ("r", "i"):
        if bare.startswith(prefix) and bare[1:] in _OPERATORS:
            bare = "rsub" if bare == "rsub" else bare[1:]
    return _OPERATORS.get(bare, bare)


_OPERATORS = {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "matmul": "matmul", "pow": "pow"}


def stands_for_itself(node: Node, leaf: Leaf) -> bool:
    """A parameter, or an input that an optimizer or the script itself moves like one."""
    return node.kind == "parameter" or leaf.attacked or bool(leaf.optimizers)


def given_by_hand(node: Node) -> bool:
    """A leaf whose gradient the script uses itself: where its value came from is another story."""
    return node.kind == "input" and node.detail is not None and bool(node.detail.read_by)


def nodes_behind(roots: list[Node]) -> list[Node]:
    found = {id(node): node for node in roots}
    todo = list(roots)
    while todo:
        node = todo.pop()
        for source, _ in () if given_by_hand(node) else node.into:
            if id(source) not in found:
                found[id(source)] = source
                todo.append(source)
    return list(found.values())


def packed(cut: Cut | None) -> list[Any] | None:
    if cut is None:
        return None
    place = list(cut.place) if cut.place and not cut.bare else None  # a switch for good is told of on its own
    return [cut.cause, place, cut.text, cut.module, list(cut.scope) if cut.scope else None]
