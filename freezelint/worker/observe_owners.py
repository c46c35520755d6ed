"""Facts about who steps what: gradients computed for nobody, parameters that nobody owns or that were replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .flow_map import behind, registration
from .ledger import Backward, Leaf, Ledger, Mod, Opt
from .monitor import Monitor
from .observed import Fact, everything, fact, named, size
from .places import Place
from .survey import maximal, parent
from .tape import Node, all_nodes


def owners(monitor: Monitor) -> Iterator[Fact]:
    yield from unregistered(monitor.ledger)
    yield from made_in_forward(monitor.ledger)
    yield from replaced(monitor)
    yield from non_leaves(monitor.ledger)
    yield from thrown_away(monitor)
    yield from other_network(monitor)


def unregistered(ledger: Ledger) -> Iterator[Fact]:
    """Modules, parameters or trainable tensors in plain attributes: unknown to `parameters()`."""
    for entry, name, flag, leaves in ledger.hidden:
        if any(leaf.optimizers for leaf in leaves) or not any(leaf.used for leaf in leaves):
            continue
        place = flag.place or entry.place
        yield fact(
            "unregistered",
            place,
            f"{entry.name or entry.type}.{name}",
            text=flag.via,
            parameters=len(leaves),
            elements=size(leaves),
        )


def made_in_forward(ledger: Ledger) -> Iterator[Fact]:
    """A module or parameter made anew in every forward: what it learns is thrown away with it."""
    for entry in list(ledger.modules.values()):
        if entry.inside and any(leaf.reached and not leaf.optimizers for leaf in entry.own):
            yield fact(
                "unregistered", entry.place, entry.type, text="module made in forward", parameters=len(entry.own)
            )
    for leaf in list(ledger.leaves.values()):
        if leaf.made_inside and leaf.reached and not leaf.optimizers and not leaf.registered:
            yield fact("unregistered", leaf.place, "a parameter", text="parameter made in forward", parameters=1)


def replaced(monitor: Monitor) -> Iterator[Fact]:
    """A parameter assigned anew after the optimizer took the old one."""
    for event in monitor.events:
        if event["kind"] != "replaced" or not event["parameter"]:
            continue
        entry: Mod = event["module"]
        new = entry.current.get(event["name"])
        gone = [leaf for leaf in entry.own if leaf is not new and leaf.attribute == event["name"]]
        built = next(
            (
                opt
                for opt in monitor.ledger.optimizers
                if opt.seq < event["seq"] and any(leaf in opt.leaves for leaf in gone)
            ),
            None,
        )
        if new is not None and built is not None and not new.optimizers:
            yield fact(
                "replaced_parameter",
                event["place"],
                new.name,
                related=[(built.place, "the optimizer was built here")],
                elements=new.numel,
            )


def non_leaves(ledger: Ledger) -> Iterator[Fact]:
    for entry, name, place in ledger.non_leaf:
        yield fact("non_leaf_parameter", place or entry.place, f"{entry.name or entry.type}.{name}")


def thrown_away(monitor: Monitor) -> Iterator[Fact]:
    """Weight gradients of parameters that no optimizer holds."""
    ledger = monitor.ledger
    stepping = [opt for opt in ledger.optimizers if opt.steps]
    hidden = {id(leaf) for _, _, _, leaves in ledger.hidden for leaf in leaves}
    hidden |= {id(leaf) for leaf in ledger.leaves.values() if leaf.owner is not None and leaf.owner.inside}
    lone = [
        leaf
        for leaf in ledger.leaves.values()
        if leaf.is_parameter
        and leaf.reached
        and not leaf.optimizers
        and leaf.ref() is not None
        and leaf.requires_grad
        and leaf.owner is not None
        and id(leaf) not in hidden
        and not used_gradient(leaf)
    ]
    if not lone or not stepping:
        return
    owned = {id(leaf) for opt in stepping for leaf in opt.leaves}
    rebound = [event["module"] for event in monitor.events if event["kind"] == "replaced" and event["parameter"]]
    known = {id(leaf) for leaf in ledger.leaves.values() if leaf.requires_grad and not leaf.optimizers}
    by_root: dict[int, list[Leaf]] = {}
    for leaf in lone:
        if leaf.owner is not None and leaf.owner not in rebound:
            by_root.setdefault(id(leaf.owner.root), []).append(leaf)
    for leaves in by_root.values():
        root = leaves[0].owner.root if leaves[0].owner else None
        shared = root is not None and any(id(leaf) in owned for part in root.parts for leaf in part.own)
        groups = maximal(leaves, known)
        top = groups[0][0] if len(groups) == 1 else None
        if shared:
            yield inside(leaves, top, stepping, ledger, monitor)
        else:
            seen = maximal(leaves, {id(leaf) for leaf in leaves})
            yield separate(leaves, seen[0][0] or root, owned, monitor, stepping)


def used_gradient(leaf: Leaf) -> bool:
    return bool(leaf.read_by) and not leaf.optimizers and any(place for place in leaf.read_by)


def inside(leaves: list[Leaf], top: Mod | None, stepping: list[Opt], ledger: Ledger, monitor: Monitor) -> Fact:
    """Parameters of the trained model itself: forgotten, or a backbone left out on purpose without a freeze."""
    opt = nearest(leaves, stepping)
    late = [leaf for leaf in leaves if leaf.seq > opt.seq or any(f.value and f.seq > opt.seq for f in leaf.flags)]
    held = size(opt.leaves)
    settled = [leaf for leaf in leaves if loaded(leaf) or in_eval(leaf)]
    between = size(leaves) < 4 * held and crossed(leaves, {id(leaf) for leaf in opt.leaves}, monitor)
    missing = bool(late) or (not settled and (size(leaves) < held or between))
    kind = "missing_from_optimizer" if missing else "not_optimized"
    text = "late" if late else ""
    return fact(
        kind,
        (late_at(late[0], opt, monitor) if late else None) or opt.place,
        named(leaves, top),
        text=text,
        leaves=leaves,
        parameters=len(leaves),
        elements=size(leaves),
        passes=max(leaf.reached for leaf in leaves),
    )


def late_at(leaf: Leaf, opt: Opt, monitor: Monitor) -> Place | None:
    """Where it came too late: the line that unfroze it, or the one beside the optimizer's that put it in."""
    if leaf.seq < opt.seq:
        return next((flag.place for flag in leaf.flags if flag.value and flag.seq > opt.seq), None)
    for event in monitor.events:
        new = event.get("new")
        if event["kind"] == "replaced" and event["seq"] > opt.seq and isinstance(new, Mod) and leaf in everything(new):
            beside: Place | None = next((place for code, place in event["chain"] if code is opt.built_in), None)
            return beside or leaf.place
    return None


def nearest(leaves: list[Leaf], stepping: list[Opt]) -> Opt:
    """The optimizer that holds most of the same model."""
    root = leaves[0].owner.root if leaves[0].owner else None

    def share(opt: Opt) -> int:
        return sum(leaf.numel for leaf in opt.leaves if leaf.owner is not None and leaf.owner.root is root)

    return max(stepping, key=share)


def loaded(leaf: Leaf) -> bool:
    return any(write.value == "load" for write in leaf.writes)


def in_eval(leaf: Leaf) -> bool:
    return leaf.owner is not None and leaf.owner.calls > 0 and leaf.owner.calls_training == 0


def separate(leaves: list[Leaf], top: Mod | None, owned: set[int], monitor: Monitor, stepping: list[Opt]) -> Fact:
    """A network of its own that no optimizer holds: a teacher for targets, or a judge that passes gradients on."""
    passes = max(leaf.reached for leaf in leaves)
    downstream = crossed(leaves, owned, monitor)
    evals = [flag.place for part in ancestry(top) for flag in part.modes if flag.value is False]
    in_line = downstream or not beside(monitor, leaves, owned)
    opt = nearest(leaves, stepping)
    if in_line and not evals and forgotten(leaves, opt, top, always=downstream):
        return fact(
            "missing_from_optimizer",
            opt.place,
            named(leaves, top),
            parameters=len(leaves),
            elements=size(leaves),
            passes=passes,
        )
    if downstream:
        place = evals[-1] if evals else (registration(top) if top else leaves[0].place)
        return fact(
            "not_optimized",
            place,
            named(leaves, top),
            text="judge",
            leaves=leaves,
            parameters=len(leaves),
            elements=size(leaves),
            passes=passes,
        )
    if in_line:
        return fact(
            "not_optimized",
            opt.place,
            named(leaves, top),
            text="backbone",
            leaves=leaves,
            parameters=len(leaves),
            elements=size(leaves),
            passes=passes,
        )
    place = (top.called_at if top else None) or (evals[-1] if evals else leaves[0].place)
    return fact(
        "teacher_under_grad",
        place,
        named(leaves, top),
        leaves=leaves,
        parameters=len(leaves),
        elements=size(leaves),
        passes=passes,
        related=[(evals[-1], "only put in eval() here")] if evals else None,
    )


_FIXED = re.compile(
    r"(^|[._])(teacher|target|ema|momentum|ref|reference|reward|judge|scorer|old|frozen|fixed|anchor|prior|oracle)"
)


def forgotten(leaves: list[Leaf], opt: Opt, top: Mod | None, *, always: bool) -> bool:
    """Whether what no optimizer holds was to be trained: as it was drawn, in train mode, and a part beside the rest."""
    drawn = all(not loaded(leaf) and not in_eval(leaf) for leaf in leaves)
    return drawn and not _FIXED.search(named(leaves, top)) and (always or size(leaves) < size(opt.leaves))


def crossed(leaves: list[Leaf], owned: set[int], monitor: Monitor) -> bool:
    """Whether the gradient of something stepped comes back through these parameters."""
    return any(carries(node, owned, leaves) for node in consumers(monitor, leaves)) or fed(leaves, owned)


def fed(leaves: list[Leaf], owned: set[int]) -> bool:
    """Whether a module that holds some of them was called on something whose gradient a stepped parameter gets."""
    mine = {id(leaf) for leaf in leaves}
    above = {id(entry): entry for leaf in leaves for entry in ancestry(leaf.owner)}
    return any(behind(node, live=True) & (owned - mine) for entry in above.values() for node in entry.fed)


def beside(monitor: Monitor, leaves: list[Leaf], owned: set[int]) -> bool:
    """Whether its output reaches a loss on a way that crosses nothing that is stepped: as a target."""
    mine = {id(leaf) for leaf in leaves}
    events = [event for event in monitor.ledger.backwards if event.reached & mine][:2]
    todo = [root for event in events for root in event.roots]
    seen = {id(node) for node in todo}
    while todo:
        node = todo.pop()
        held = {id(source.detail) for source, _ in node.into if source.kind == "parameter"}
        if held & mine:
            return True
        if held & owned:
            continue
        for source, cut in node.into:
            if cut is None and id(source) not in seen:
                seen.add(id(source))
                todo.append(source)
    return False


def ancestry(entry: Mod | None) -> list[Mod]:
    found = []
    while entry is not None:
        found.append(entry)
        entry = parent(entry)
    return found


def consumers(monitor: Monitor, leaves: list[Leaf]) -> list[Node]:
    """Values made directly of these parameters, in the first two passes that reached them."""
    mine = {id(leaf) for leaf in leaves}
    events = [event for event in monitor.ledger.backwards if event.reached & mine][:2]
    return [
        node
        for node in all_nodes([root for event in events for root in event.roots])
        if any(source.kind == "parameter" and id(source.detail) in mine for source, _ in node.into)
    ]


def carries(node: Node, owned: set[int], leaves: list[Leaf]) -> bool:
    """Whether a stepped parameter's gradient comes through this use of the network."""
    mine = {id(leaf) for leaf in leaves}
    for source, cut in node.into:
        if cut is None and source.kind != "parameter":
            live = behind(source, live=True)
            if live & owned - mine:
                return True
            if source.kind == "input" and source.detail is not None and source.detail.read_by:
                return True
    return False


def other_network(monitor: Monitor) -> Iterator[Fact]:
    """A pass meant for one network that goes back through another, whose gradient is then thrown away."""
    ledger = monitor.ledger
    if len([opt for opt in ledger.optimizers if opt.steps]) < 2:
        return
    for event in ledger.backwards:
        if event.kind != "backward" or not event.steppers or event.inputs_given:
            continue
        for opt in ledger.optimizers:
            other = [leaf for leaf in opt.leaves if id(leaf) in event.reached and not leaf.read_by]
            stepped = [own for own in event.steppers if own is not opt]
            if not apart(other, stepped) or not opt.first_step < event.seq < opt.last_step:
                continue
            if opt.empty_steps == opt.steps:
                continue  # it never finds a gradient: what takes them away is told
            mixed = opt in event.steppers
            if mixed and not stolen(event, opt, ledger):
                continue
            mine = {id(leaf) for own in stepped for leaf in own.leaves} - {id(leaf) for leaf in other}
            values = all_nodes(event.roots)
            nodes = [node for node in values if uses(node, other)]
            if any(node.asked and behind(node, live=True) & {id(leaf) for leaf in other} for node in values):
                continue  # the gradient at its output is read
            if nodes and not any(carries(node, mine, other) for node in nodes):
                yield fact(
                    "other_network",
                    meeting(values, mine, {id(leaf) for leaf in other}) or event.place,
                    named(other, group(other)),
                    text="mixed" if mixed else "",
                    related=[(stepped[0].step_at, "only this step uses the pass")],
                    leaves=other,
                    pass_at=event.place,
                    parameters=len(other),
                    elements=size(other),
                )


def apart(other: list[Leaf], stepped: list[Opt]) -> bool:
    """Whether some of it belongs to a module of its own, not to one that holds what is stepped, too."""
    held = {id(leaf) for own in stepped for leaf in own.leaves}
    owners = [leaf.owner for leaf in other if leaf.owner is not None]
    return bool(held) and any(not any(id(leaf) in held for part in own.parts for leaf in part.own) for own in owners)


def meeting(values: list[Node], mine: set[int], other: set[int]) -> Place | None:
    """The call at which the other network's output enters the one that is stepped."""
    for node in sorted(values, key=lambda node: node.order):
        held = any(source.kind == "parameter" and id(source.detail) in mine for source, _ in node.into)
        fed = (source for source, cut in node.into if cut is None and source.kind == "value")
        if held and any(behind(source, live=True) & other for source in fed):
            return node.site or node.place
    return None


def stolen(event: Backward, opt: Opt, ledger: Ledger) -> bool:
    """The other optimizer has a pass of its own that it alone steps: this one only leaks into its gradients."""
    mine = {id(leaf) for leaf in opt.leaves}
    own = [e for e in ledger.backwards if e.kind == "backward" and e.place != event.place and opt in e.steppers]
    return any(not (set(e.steppers) - {opt}) and e.reached & mine for e in own)


def uses(node: Node, leaves: list[Leaf]) -> bool:
    mine = {id(leaf) for leaf in leaves}
    return any(cut is None and source.kind == "parameter" and id(source.detail) in mine for source, cut in node.into)


def group(leaves: list[Leaf]) -> Mod | None:
    groups = maximal(leaves, {id(leaf) for leaf in leaves})
    return groups[0][0] if len(groups) == 1 else None
