"""Facts about the course of the loop: steps without gradients, zeroing at the wrong time, grad mode, iterators."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .ledger import Backward, Ledger, Opt
from .monitor import Monitor
from .observed import Fact, fact, frozen_at
from .places import Place
from .source_text import function_at
from .tape import Node, all_nodes


def course(monitor: Monitor) -> Iterator[Fact]:
    yield from zeroed(monitor.ledger)
    yield from zeroed_each_time(monitor.ledger)
    yield from without_grad_mode(monitor)
    yield from fragile_switch(monitor)
    yield from inference_tensors(monitor)
    yield from exhausted(monitor)
    yield from stale_autocast(monitor)
    yield from nothing(monitor)


def zeroed(ledger: Ledger) -> Iterator[Fact]:
    """Gradients of a backward pass thrown away, and then a step of the same parameters that finds nothing."""
    for opt in ledger.optimizers:
        if not opt.steps or opt.empty_steps < opt.steps or opt.closure:
            continue
        mine = {id(leaf) for leaf in opt.leaves}
        for event in ledger.backwards:
            lost = [place for place, leaf in event.discarded if id(leaf) in mine]
            if lost and opt not in event.steppers:
                yield fact(
                    "zeroed_before_step",
                    lost[0],
                    opt.type,
                    related=[(event.place, "backward"), (opt.step_at, "step")],
                    steps=opt.steps,
                    empty_steps=opt.empty_steps,
                )
                break


def zeroed_each_time(ledger: Ledger) -> Iterator[Fact]:
    """Accumulation that keeps the last micro-batch only: same place, same parameters, most passes thrown away."""
    for opt in (opt for opt in ledger.optimizers if not opt.closure):
        mine = {id(leaf) for leaf in opt.leaves}
        by_place: dict[Place | None, list[Backward]] = {}
        for event in ledger.backwards:
            if event.kind == "backward" and event.reached & mine and event.seq < opt.last_step:
                by_place.setdefault(event.place, []).append(event)
        for place, events in by_place.items():
            kept = [event for event in events if opt in event.steppers]
            lost = [event for event in events if event.discarded and not event.steppers and event.reached & mine]
            if kept and len(lost) >= len(kept) and len(lost) >= 2 and all(others(event, opt, ledger) for event in lost):
                where = next(at for at, leaf in lost[0].discarded if id(leaf) in mine or True)
                yield fact(
                    "zeroed_each_time",
                    where,
                    opt.type,
                    related=[(place, "backward"), (opt.step_at, "step")],
                    backwards=len(events),
                    kept=len(kept),
                )


def others(event: Backward, opt: Opt, ledger: Ledger) -> bool:
    """Whether nothing but this optimizer could have used the pass: nobody read what it left."""
    return all(not leaf.read_by for leaf in event.leaves)


def without_grad_mode(monitor: Monitor) -> Iterator[Fact]:
    """No loss ever had a graph, because the forward of parameters to be trained ran without grad mode."""
    ledger = monitor.ledger
    mine = {id(leaf) for opt in ledger.optimizers for leaf in opt.leaves}
    failed = [root for event in ledger.backwards if not event.reached for root in event.roots]
    if not mine or (not failed and any(event.reached & mine for event in ledger.backwards)):
        return
    behind_loss = {(cut.place, cut.text) for node in all_nodes(failed) for _, cut in node.into if cut is not None}
    for (place, text), (calls, leaves) in monitor.flow.without_grad.items():
        bare = text.startswith("torch.set_grad_enabled")
        if leaves & mine and ((place, text) in behind_loss if failed else bare):
            yield fact("no_grad_mode", place, text, text=text, operations=calls, parameters=len(leaves & mine))


def fragile_switch(monitor: Monitor) -> Iterator[Fact]:
    """Grad mode switched off by a bare call whose restoring call can be jumped over."""
    for event in monitor.events:
        if event["kind"] != "switch" or event["enabled"]:
            continue
        body = function_at(event["place"])
        if isinstance(body, (ast.FunctionDef, ast.AsyncFunctionDef)) and (jump := jumped(body, event["place"][1])):
            path, _, _, _, _, cell = event["place"]
            yield fact(
                "fragile_switch",
                event["place"],
                body.name,
                text=jump[0],
                related=[((path, jump[1], 0, jump[1], 0, cell), "leaves before grad mode is restored")],
            )


def jumped(body: ast.FunctionDef | ast.AsyncFunctionDef, line: int) -> tuple[str, int] | None:
    """A `raise` or `return` between the switch at `line` and the last switch after it, outside of `finally`."""
    guarded = [node for node in ast.walk(body) if isinstance(node, ast.Try) and any(map(switches, node.finalbody))]
    if guarded:
        return None
    restored = [node.lineno for node in ast.walk(body) if switches(node) and node.lineno > line]  # type: ignore[attr-defined]
    way = next(ways_out(body.body, line), None) if restored else None
    return (type(way).__name__.lower(), way.lineno) if way is not None and way.lineno < max(restored) else None


def ways_out(statements: list[ast.stmt], line: int) -> Iterator[ast.stmt]:
    """`raise` and `return` of this function below `line`, but for those after a switch in the same block."""
    for statement in statements:
        if statement.lineno > line and switches(statement):
            return
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if isinstance(statement, (ast.Raise, ast.Return)) and statement.lineno > line:
            yield statement
        for name in ("body", "orelse", "finalbody"):
            yield from ways_out(getattr(statement, name, []), line)
        for handler in getattr(statement, "handlers", []):
            yield from ways_out(handler.body, line)


def switches(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        node = node.value
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return bool(name == "set_grad_enabled")


def inference_tensors(monitor: Monitor) -> Iterator[Fact]:
    for event in monitor.events:
        if event["kind"] == "inference_saved":
            made = event["made"]
            yield fact(
                "inference_saved", made or event["place"], event["text"], related=[(event["place"], "saved here")]
            )


def exhausted(monitor: Monitor) -> Iterator[Fact]:
    for event in monitor.events:
        if event["kind"] == "exhausted":
            yield fact("exhausted", event["place"], event["consumer"], related=[(event["first"], "consumed here")])
    for use, drained, name in monitor.drains.found:
        yield fact("exhausted", use, name, related=[(drained, "consumed here")])


def stale_autocast(monitor: Monitor) -> Iterator[Fact]:
    for event in monitor.events:
        if event["kind"] == "stale_autocast":
            yield fact("stale_autocast", event["place"], event["text"], related=[(event["step"], "stepped inside it")])


def nothing(monitor: Monitor) -> Iterator[Fact]:
    """No step ever found a gradient, and nothing that was meant to train lies behind a loss; or nothing is left."""
    ledger = monitor.ledger
    for event in monitor.events:
        if event["kind"] == "optimizer_error" and "empty parameter list" in event["text"]:
            yield fact("nothing_trains", event["place"], "the optimizer", text="empty", steps=0)
    taught = any(leaf.had_gradient for opt in ledger.optimizers for leaf in opt.leaves)
    if taught or not ledger.optimizers or not ledger.optimizers[0].leaves:
        return
    opt = ledger.optimizers[0]
    roots = [root for event in ledger.backwards for root in event.roots]
    frozen = [leaf for leaf in opt.leaves if not leaf.requires_grad]
    if len(frozen) == len(opt.leaves) and roots:
        yield fact("nothing_trains", frozen_at(frozen[0]) or opt.place, opt.type, text="frozen", steps=opt.steps)
    elif opt.steps and opt.empty_steps == opt.steps and not any(node_trains(node) for node in all_nodes(roots)):
        yield fact("nothing_trains", opt.step_at, opt.type, steps=opt.steps)


def node_trains(node: Node) -> bool:
    return node.kind == "parameter" and node.detail is not None and node.detail.requires_grad
