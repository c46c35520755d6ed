"""Facts about what was frozen: statistics that drift, weights that move, parts that only look frozen."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from .ledger import Leaf, Ledger, Mod
from .monitor import Monitor
from .observed import Fact, below, fact, frozen_at, named, size
from .places import Place
from .source_text import call_at, lines_above, span, thrown_away
from .survey import maximal, parent
from .tape import Node, all_nodes


def frozen(monitor: Monitor) -> Iterator[Fact]:
    ledger = monitor.ledger
    yield from norms(ledger)
    yield from stepped(ledger)
    yield from only_eval(ledger)
    yield from random_features(ledger)
    yield from optimizer_groups(ledger)
    yield from crossed_stack(ledger)


def norms(ledger: Ledger) -> Iterator[Fact]:
    """Running statistics that moved although the norm's own weights, or everything around it, is frozen for good."""
    for entry in list(ledger.modules.values()):
        if not entry.frozen_drift or entry.root is None:
            continue
        mine = entry.own or (below(up) if (up := parent(entry)) else [])
        if not mine or entry.frozen_drift < 2 or any(toggled(leaf) for leaf in mine) or meant(entry, mine):
            continue
        freeze = frozen_at(mine[0])
        place = put_in_train(entry) or freeze
        if freeze is None or moved_by_hand(mine):
            place = entry.root.called_at or entry.drift_at
        yield fact(
            "norm_drift",
            place,
            entry.name,
            related=[(freeze, "its weights are frozen here")],
            forwards=entry.frozen_drift,
            moved=entry.drift,
        )


def meant(entry: Mod, mine: list[Leaf]) -> bool:
    """Whether the statistics are to move: a pass made for them alone; or a moving average of what trains, put in train
    mode by the script or part of the same module, as a momentum encoder is."""
    root = entry.root
    alone = entry.drift_without_grad == entry.frozen_drift
    if alone and root is not None and root.called_at and thrown_away(root.called_at):
        return True
    if not moved_by_hand(mine) and not entry.rewritten:
        return False
    top = entry
    while (above := parent(top)) is not None:
        top = above
    return put_in_train(entry) is not None or any(leaf.wanted for leaf in below(top))


def toggled(leaf: Leaf) -> bool:
    """Frozen for a phase of each step only, like a discriminator while its generator trains, or never."""
    freezes = sum(flag.value is False for flag in leaf.flags)
    return (leaf.wanted and freezes != 1) or (leaf.requires_grad and not freezes)


def put_in_train(entry: Mod) -> Place | None:
    """The `train()` of the script that put the norm, or something around it, in train mode."""
    above: Mod | None = entry
    latest: Any = None
    while above is not None:
        for flag in above.modes:
            if flag.value and (latest is None or flag.seq < latest.seq):
                latest = flag
        above = parent(above)
    return latest.place if latest is not None else None


def moved_by_hand(leaves: list[Leaf]) -> bool:
    """Frozen weights that the script itself keeps moving: an average of another network."""
    return any(leaf.averaged for leaf in leaves)


def stepped(ledger: Ledger) -> Iterator[Fact]:
    for opt in ledger.optimizers:
        for leaf in opt.leaves:
            if leaf.moved_frozen > 0:
                yield fact(
                    "frozen_stepped",
                    leaf.zeroed_at or frozen_at(leaf) or opt.step_at,
                    leaf.name,
                    text=opt.type,
                    related=[(opt.step_at, "stepped here")],
                    moved=leaf.moved_frozen,
                )
            elif leaf.moved_masked > 0 and not leaf.averaged and not leaf.written_back:
                yield fact(
                    "mask_stepped",
                    leaf.masked[-1],
                    leaf.name,
                    text=opt.type,
                    related=[(opt.step_at, "stepped here")],
                    moved=leaf.moved_masked,
                )


def only_eval(ledger: Ledger) -> Iterator[Fact]:
    """`eval()` or a `no_grad` construction as the only freeze of a part that trains on."""
    for entry in list(ledger.modules.values()):
        above = parent(entry)
        if above is None or entry.root is None:
            continue
        mine = below(entry)
        trained = [leaf for leaf in mine if leaf.wanted and leaf.had_gradient]
        if not trained or len(trained) < len(mine) or any(flag.value is False for leaf in mine for flag in leaf.flags):
            continue
        if entry.no_grad_at is not None and (above.no_grad_at is None) and entry.root.no_grad_at is None:
            yield fact("not_a_freeze", entry.no_grad_at, entry.name, text="no_grad", parameters=len(trained))
            continue
        evals = [flag for flag in entry.modes if flag.value is False]
        if evals and entry.calls and entry.calls_training == 0 and above.calls_training and not_a_norm(entry):
            yield fact("not_a_freeze", evals[-1].place, entry.name, text="eval", parameters=len(trained))


def not_a_norm(entry: Mod) -> bool:
    return any(part.own and not part.norm for part in entry.parts)


_ON_PURPOSE = (
    "random",
    "rand_",
    "fourier",
    "rff",
    "fixed",
    "noise",
    "target",
    "hash",
    "sketch",
    "reservoir",
    "position",
)


def random_features(ledger: Ledger) -> Iterator[Fact]:
    """Frozen modules in use whose weights were drawn and never loaded."""
    drawn = [
        leaf
        for leaf in ledger.leaves.values()
        if leaf.is_parameter
        and leaf.ref() is not None
        and not leaf.wanted
        and not leaf.requires_grad
        and frozen_at(leaf)
        and leaf.owner is not None
        and leaf.owner.calls
        and leaf.numel > 1
        and leaf.writes
        and all(write.value == "init" for write in leaf.writes)
    ]
    for top, members in maximal(drawn, {id(leaf) for leaf in ledger.leaves.values() if untouched(leaf)}):
        if top is None or not any(len(leaf.shape) > 1 for leaf in members):
            continue
        if opened_elsewhere(frozen_at(members[0]), ledger):
            continue  # one of several that a schedule opens in turn
        words = f"{top.name} {top.type}".lower()
        place = frozen_at(members[0])
        near = " ".join(lines_above(place, 3) if place else []).lower()
        if (
            not (loaded_beside(top) or any(part.own_freeze for part in top.parts))
            or any(word in words for word in _ON_PURPOSE)
            or any(word in near for word in ("random", "on purpose"))
        ):
            continue
        yield fact("random_frozen", place, top.name, parameters=len(members), elements=size(members))


def opened_elsewhere(place: Place | None, ledger: Ledger) -> bool:
    """Whether something frozen by the same line trains again later."""
    frozen = (leaf for leaf in ledger.leaves.values() if any(flag.place == place for flag in leaf.flags))
    return any(flag.value for leaf in frozen for flag in leaf.flags)


def loaded_beside(top: Mod) -> bool:
    """Whether another frozen part of the same model was given weights: this one was forgotten."""
    others = [leaf for part in top.root.parts for leaf in part.own] if top.root else []
    mine = {id(leaf) for leaf in below(top)}
    return any(
        not leaf.wanted
        and not leaf.requires_grad
        and id(leaf) not in mine
        and any(write.value == "load" for write in leaf.writes)
        for leaf in others
    )


def untouched(leaf: Leaf) -> bool:
    return not leaf.wanted and not leaf.requires_grad and all(write.value == "init" for write in leaf.writes)


def optimizer_groups(ledger: Ledger) -> Iterator[Fact]:
    for opt in ledger.optimizers:
        if not opt.steps:
            continue
        zero = [leaf for leaf in opt.leaves if opt.zero_lr.get(id(leaf)) and leaf.had_gradient and not opt.scheduled]
        if zero and len(zero) < len(opt.leaves):
            yield fact(
                "zero_lr", zero_at(opt.place), named(zero, *tops(zero)), parameters=len(zero), elements=size(zero)
            )
        frozen = [leaf for leaf in opt.frozen_at_start if not leaf.wanted and leaf.reached == 0 and frozen_at(leaf)]
        if frozen and len(frozen) < len(opt.leaves) and opt.steps > 1:
            yield fact(
                "frozen_in_optimizer",
                opt.place,
                named(frozen, *tops(frozen)),
                parameters=len(frozen),
                elements=size(frozen),
            )


def zero_at(place: Place | None) -> Place | None:
    """The group that says `lr` 0, where it is written out."""
    call = None if place is None else call_at(place, "")
    for node in ast.walk(call) if call is not None else ():
        if isinstance(node, ast.Dict) and place is not None and says_zero_lr(node):
            return span(place, node)
    return place


def says_zero_lr(group: ast.Dict) -> bool:
    said = {key.value: value for key, value in zip(group.keys, group.values) if isinstance(key, ast.Constant)}
    rate = said.get("lr")
    return isinstance(rate, ast.Constant) and not rate.value


def tops(leaves: list[Leaf]) -> list[Any]:
    groups = maximal(leaves, {id(leaf) for leaf in leaves})
    return [groups[0][0]] if len(groups) == 1 else []


def crossed_stack(ledger: Ledger) -> Iterator[Fact]:
    """Frozen layers that backward crosses for the sake of a smaller trainable part of the same model in front of them.

    Another network behind the model, such as one that judges its output, is there to be crossed.
    """
    events = [event for event in ledger.backwards if event.kind == "backward" and event.steppers][:1]
    for event in events:
        early, crossed, every = crossing(all_nodes(event.roots))
        own = {id(leaf.owner.root) for leaf in early if leaf.owner is not None}
        frozen = [leaf for leaf in crossed if frozen_at(leaf) and leaf.owner and id(leaf.owner.root) in own]
        work = size(list(every)) + sum(leaf.numel for leaf in every if leaf.wanted)
        if not frozen or not early or size(list(early)) >= size(frozen) or work == 0:
            continue
        share = (size(frozen) + 2 * sum(leaf.numel for leaf in every if leaf.wanted)) / (2 * size(list(every)))
        yield fact(
            "frozen_stack",
            frozen_at(frozen[0]),
            named(list(early), *tops(list(early))),
            leaves=list(early),
            frozen_elements=size(frozen),
            trainable_elements=size(list(early)),
            crossed_share=size(frozen) / (2 * size(list(every))),
            share_of_backward=share,
        )


def crossing(nodes: list[Node]) -> tuple[list[Leaf], list[Leaf], list[Leaf]]:
    """Trainable leaves in front of frozen ones, the frozen ones a gradient crosses, and every leaf in use."""
    before: dict[int, frozenset[int]] = {}
    leaves: dict[int, Leaf] = {}
    early: dict[int, Leaf] = {}
    crossed: dict[int, Leaf] = {}
    for node in sorted(nodes, key=lambda node: node.order):
        if node.kind == "parameter" and isinstance(node.detail, Leaf):
            leaves[id(node.detail)] = node.detail
            before[id(node)] = frozenset((id(node.detail),)) if node.detail.wanted else frozenset()
            continue
        live = [source for source, cut in node.into if cut is None]
        flowing = [before.get(id(source), frozenset()) for source in live if source.kind != "parameter"]
        carried = frozenset().union(*flowing)
        held = [source.detail for source, _ in node.into if source.kind == "parameter"]
        if carried and held and not any(leaf.wanted for leaf in held):
            crossed.update((id(leaf), leaf) for leaf in held)
            early.update((key, leaves[key]) for key in carried)
        own = frozenset(id(leaf) for leaf in held if leaf.wanted)
        before[id(node)] = carried | own
    return list(early.values()), list(crossed.values()), list(leaves.values())
