"""Names and ownership of everything alive: taken while the script runs, since its objects may be gone at its end."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn

from .ledger import Leaf, Mod
from .monitor import Monitor
from .tape import leaves as leaves_behind

SCRIPTED = torch.jit.ScriptModule  # its parameters live in C++


def survey(monitor: Monitor) -> None:
    """Name every module and parameter by the variable of its outermost module, and say who owns what."""
    known = [entry.ref() for entry in monitor.ledger.modules.values()]
    alive = {id(module): module for module in known if module is not None and not isinstance(module, SCRIPTED)}
    below = {id(child) for module in alive.values() for child in module.children()}
    tops = [module for key, module in alive.items() if key not in below]
    names = variables(tops, monitor)
    for module in sorted(tops, key=lambda module: -sum(1 for _ in module.modules())):
        entry = monitor.ledger.module(module)
        entry.variable = names.get(id(module), "") or entry.variable or type(module).__name__
        walk(monitor, module, entry.variable)
    look_behind(monitor, list(alive.values()))
    for opt in monitor.ledger.optimizers:
        for leaf in opt.leaves:
            if not leaf.name and leaf.ref() is not None:
                leaf.name = names.get(id(leaf.ref()), "")


def walk(monitor: Monitor, top: nn.Module, prefix: str) -> None:
    root = monitor.ledger.module(top)
    for path, module in top.named_modules():
        entry = monitor.ledger.module(module)
        dotted = f"{prefix}.{path}" if path else prefix
        if not entry.name or entry.root is root:
            entry.name, entry.root, entry.path = dotted, root, path
            entry.parts = [monitor.ledger.module(part) for part in module.modules()]
            entry.norm = hasattr(module, "running_mean") and getattr(module, "track_running_stats", False)
            entry.training = module.training
            statistics = getattr(module, "running_mean", None)
            if entry.statistics is not None and isinstance(statistics, Tensor):
                entry.drift = float((statistics.detach() - entry.statistics).abs().max())
        for name, parameter in module._parameters.items():
            if not isinstance(parameter, Tensor):
                continue
            leaf = monitor.ledger.leaf(parameter, make=isinstance(parameter, nn.Parameter))
            if leaf is not None:
                if not leaf.name or leaf.owner is None or leaf.owner.root is root:
                    leaf.name, leaf.owner, leaf.attribute = f"{dotted}.{name}", entry, name
                leaf.registered = True
                entry.hold(name, leaf)


def look_behind(monitor: Monitor, modules: list[nn.Module]) -> None:
    """Trainable things in plain attributes of modules, and tensors that took a parameter's place."""
    ledger = monitor.ledger
    for module in modules:
        entry = ledger.module(module)
        for name, flag in entry.children.items():
            found = [leaf for item in hidden_in(module, name) for leaf in leaves_of(item, monitor)]
            mine = {id(leaf) for part in (entry.root or entry).parts for leaf in part.own}
            lost = [leaf for leaf in found if id(leaf) not in mine and leaf.requires_grad]
            if lost:
                ledger.hidden = [row for row in ledger.hidden if (row[0], row[1]) != (entry, name)]
                ledger.hidden.append((entry, name, flag, lost))
        for name in (*module._parameters, *entry.children):
            parameter = module._parameters.get(name, vars(module).get(name))
            if isinstance(parameter, Tensor) and not isinstance(parameter, nn.Parameter) and made_of_one(parameter):
                node = monitor.flow.of(parameter)
                row = (entry, name, node.place if node is not None else entry.place)
                ledger.non_leaf = [*(known for known in ledger.non_leaf if known[:2] != row[:2]), row]


def made_of_one(tensor: Tensor) -> bool:
    """Whether a tensor is what an operation made of leaves alone, as `nn.Parameter(...) * 0.02` is."""
    start = tensor.grad_fn
    if start is None:
        return False
    found = leaves_behind(start, 64)
    return len(found) == 1 and isinstance(found[0], nn.Parameter)


def hidden_in(module: nn.Module, name: str) -> list[Any]:
    """What a plain attribute of a module holds: modules, parameters or tensors in a list, tuple or dict."""
    value = vars(module).get(name)
    if isinstance(value, Tensor):
        return [value] if value.requires_grad and value.is_leaf else []
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [item for item in list(items)[:512] if isinstance(item, (nn.Module, nn.Parameter))]


def leaves_of(item: Any, monitor: Monitor) -> list[Leaf]:
    tensors = item.parameters() if isinstance(item, nn.Module) else [item]
    return [leaf for leaf in (monitor.ledger.leaf(tensor) for tensor in tensors) if leaf is not None]


def variables(objects: list[Any], monitor: Monitor) -> dict[int, str]:
    """The names under which the frames of the user's code know these objects."""
    wanted = {id(item) for item in objects}
    for opt in monitor.ledger.optimizers:
        wanted |= {id(leaf.ref()) for leaf in opt.leaves if not leaf.name}
    wanted.discard(id(None))
    found: dict[int, str] = {}
    frame: Any = sys._getframe(1)
    while frame is not None:
        if monitor.places.is_user(frame.f_code):
            named(frame.f_locals, wanted, found, "")
            owner = frame.f_locals.get("self")
            if owner is not None and not isinstance(owner, Tensor):
                held = getattr(owner, "__dict__", {})
                named(held, wanted, found, "self.")
            if frame.f_locals is not frame.f_globals:
                named(frame.f_globals, wanted, found, "")
        frame = frame.f_back
    main = sys.modules.get("__main__")
    if main is not None:
        named(vars(main), wanted, found, "")
    return found


def named(scope: dict[str, Any], wanted: set[int], found: dict[int, str], prefix: str) -> None:
    for name, value in list(scope.items()):
        if id(value) in wanted and name != "self" and id(value) not in found:
            found[id(value)] = f"{prefix}{name}"
        elif isinstance(value, (nn.ModuleDict, nn.ModuleList, dict)) and not name.startswith("_") and len(value) < 64:
            items = enumerate(value) if isinstance(value, nn.ModuleList) else value.items()
            for key, item in list(items):
                if id(item) in wanted and id(item) not in found:
                    found[id(item)] = f"{prefix}{name}[{key!r}]"
        elif not isinstance(value, (nn.Module, Tensor, type)) and hasattr(value, "__dict__") and not callable(value):
            held = vars(value)
            if len(held) < 64 and type(value).__module__ not in ("builtins",):
                for key, item in list(held.items()):
                    if id(item) in wanted and id(item) not in found:
                        found[id(item)] = f"{prefix}{name}.{key}"


def maximal(leaves: list[Leaf], chosen: set[int]) -> list[tuple[Mod | None, list[Leaf]]]:
    """`leaves` grouped under the largest modules all of whose parameters are among `chosen` (ids of leaves)."""
    groups: dict[int, tuple[Mod | None, list[Leaf]]] = {}
    for leaf in leaves:
        top: Mod | None = None
        entry = leaf.owner
        while entry is not None and whole(entry, chosen):
            top = entry
            entry = parent(entry)
        key = id(top) if top is not None else id(leaf)
        groups.setdefault(key, (top, []))[1].append(leaf)
    return list(groups.values())


def whole(entry: Mod, chosen: set[int]) -> bool:
    mine = [leaf for part in entry.parts for leaf in part.own]
    return bool(mine) and all(id(leaf) in chosen for leaf in mine)


def parent(entry: Mod) -> Mod | None:
    if not entry.path or entry.root is None:
        return None
    path = entry.path.rpartition(".")[0]
    return next((part for part in entry.root.parts if part.path == path and part.root is entry.root), None)
