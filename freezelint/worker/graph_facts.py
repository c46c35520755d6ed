"""What a trace knows beside its map: freezes undone, statistics that drift, weights that no optimizer can know.

Each fact has the kind, subject and place that a run's has, so that the same check asks both.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from .capture import Recording
from .frames import Line
from .hidden import parameter_behind
from .mapping import place
from .setup_log import SetupLog

Json = dict[str, Any]
RUNNING = "running_mean"


def facts(
    model: nn.Module, recording: Recording, log: SetupLog, optimizer: Optimizer | None, places: dict[str, Line]
) -> list[Json]:
    held = None if optimizer is None else {id(p) for group in optimizer.param_groups for p in group["params"]}
    found = [
        *undone(model, log), *replaced(model, log, held), *drifting(model, recording, log, places),
        *unregistered(recording, log, held), *made_in_forward(recording), *nothing_trains(model, log, held, places),
    ]  # fmt: skip
    once = {(item["kind"], tuple(item["place"])): item for item in reversed(found) if item["place"]}
    return list(reversed(once.values()))


def fact(kind: str, line: Line | None, subject: str, text: str, detail: str, frozen: Line | None = None) -> Json:
    related = [[place(frozen), "frozen here"]] if frozen is not None and frozen != line else []
    return {
        "kind": kind, "place": place(line), "subject": subject, "text": text, "detail": detail, "related": related,
    }  # fmt: skip


def undone(model: nn.Module, log: SetupLog) -> Iterator[Json]:
    """Everything that one line froze is set back by a later one."""
    frozen: dict[Line, set[int]] = {}
    opened: dict[Line, set[int]] = {}
    for key, flags in log.flags.items():
        for line, on in flags:
            (opened if on else frozen).setdefault(line, set()).add(key)
    for name, parameter in model.named_parameters():
        flags = log.flags.get(id(parameter), [])
        if parameter.requires_grad and len(flags) > 1 and flags[-1][1] and not flags[-2][1]:
            freeze, undo = flags[-2][0], flags[-1][0]
            if freeze != undo and frozen[freeze] <= opened[undo]:
                yield fact("freeze_undone", undo, name, "set back", f"`{name}` requires grad again", freeze)


def replaced(model: nn.Module, log: SetupLog, held: set[int] | None) -> Iterator[Json]:
    """A part that was frozen on its own, or a parameter that the optimizer holds, gave way to one that trains."""
    now = {id(parameter): name for name, parameter in model.named_parameters()}
    for line, name, old, new in log.replaced:
        gone, fresh = parameters_of(old), parameters_of(new)
        if not gone or [p.shape for p in gone] != [p.shape for p in fresh] or not all(p.requires_grad for p in fresh):
            continue
        if not all(id(p) in now for p in fresh):
            continue
        freezes = {log.frozen.get(id(p)) for p in gone}
        freeze = freezes.pop() if len(freezes) == 1 else None
        if freeze is not None and {key for key, at in log.frozen.items() if at == freeze} <= {id(p) for p in gone}:
            yield fact("freeze_undone", line, name, "replaced", f"`{now[id(fresh[0])]}` requires grad", freeze)
        elif isinstance(old, Tensor) and held is not None and id(old) in held and id(new) not in held:
            detail = "the parameter in use is in no optimizer"
            yield fact("replaced_parameter", line, now[id(new)], "", detail)


def parameters_of(part: Any) -> list[Tensor]:
    return list(part.parameters()) if isinstance(part, nn.Module) else [part] if isinstance(part, Tensor) else []


def drifting(model: nn.Module, recording: Recording, log: SetupLog, places: dict[str, Line]) -> Iterator[Json]:
    """Norms whose weights are frozen while their statistics follow the data, now and after the next `train()`."""
    if not model.training or recording.real or not recording.trainable:
        return
    recording.model.train()  # the copy: an override of `train()` may hold the norm in eval mode
    held_in_eval = {path for path, module in recording.model.named_modules() if not module.training}
    ran = {op.path for op in recording.recorder.ops if op.name in UPDATES}
    for path, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        tracks = isinstance(getattr(module, RUNNING, None), Tensor) and module.training
        if not tracks or not own or any(p.requires_grad for p in own) or path in held_in_eval or path not in ran:
            continue
        freeze = log.frozen.get(id(own[0]))
        at = freeze or (places.get(f"{path}.weight") if not log.flags else None)
        if at is not None and not switches_parts_to_eval(at[0]):
            yield fact("norm_drift", at, path, "", "the trace writes its running statistics")


UPDATES = {"aten::native_batch_norm", "aten::_native_batch_norm_legit", "aten::_batch_norm_with_update",
           "aten::cudnn_batch_norm", "aten::miopen_batch_norm", "aten::add_"}  # fmt: skip


@cache
def switches_parts_to_eval(path: str) -> bool:
    """Whether the file puts anything but a whole model into eval mode: that may be the norm, where no trace looks."""
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return True
    calls = (n.func for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute))
    switches = [call for call in calls if call.attr in ("eval", "train")]
    whole = ("model", "net", "network", "super()", "trainer")
    return any(ast.unparse(call.value) not in whole for call in switches)


def unregistered(recording: Recording, log: SetupLog, held: set[int] | None) -> Iterator[Json]:
    """Trainable tensors in plain attributes that the recorded backward brought a gradient."""
    for entry, copies in recording.hidden:
        used = [original for original, copy in zip(entry.tensors, copies) if id(copy) in recording.graded]
        line = log.plain.get((id(entry.module), entry.name))
        if not used or line is None or (held is not None and any(id(tensor) in held for tensor in used)):
            continue
        if not entry.computed:
            detail = f"{len(used)} trainable tensors in it get a gradient and are in no `parameters()`"
            yield fact("unregistered", line, entry.subject, entry.kind, detail)
        elif parameter_behind(used[0]) is not None:
            yield fact("non_leaf_parameter", line, entry.subject, "", "the tensor in the parameter's place has a graph")


def made_in_forward(recording: Recording) -> Iterator[Json]:
    for spot in recording.watch.made_parameters:
        if spot.tensor.grad is not None:
            detail = "it gets a gradient, and is gone after the forward"
            text = linecache.getline(*spot.line).strip() if spot.line else spot.path
            yield fact("unregistered", spot.line, text, "module made in forward", detail)


def nothing_trains(model: nn.Module, log: SetupLog, held: set[int] | None, places: dict[str, Line]) -> Iterator[Json]:
    """An optimizer was built over a model all of which is frozen; told where that was done, where it is known."""
    parameters = list(model.parameters())
    if held is None or not parameters or any(p.requires_grad for p in parameters):
        return
    if not held <= {id(p) for p in parameters}:
        return  # it steps something else, too
    lines = [log.frozen[id(p)] for p in parameters if id(p) in log.frozen]
    if not lines and log.asked:
        lines = [next(iter(places.values()), log.asked)]
    if lines:
        detail = f"none of {len(parameters)} parameters requires grad"
        yield fact("nothing_trains", lines[-1], "the optimizer", "frozen", detail)
