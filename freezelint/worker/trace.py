"""The `trace` operation: one model's gradient map, costs and cuts, as JSON.

Order of the witnesses: a recording on fake tensors; where that cannot be, a recording of one small real step, and a
note that says why.
"""

from __future__ import annotations

import gc
import inspect
import time
from dataclasses import asdict
from functools import cache
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from .bill import Bill
from .building import build_for_tracing
from .capture import Freeze, Loss, Recording, record
from .cost import Costs
from .flow import Flow
from .frames import Line, is_project_file
from .graph_facts import facts
from .guess import example_inputs
from .guess_try import with_values
from .inputs import Inputs
from .mapping import Mapper, place
from .modules import module_rows, parameter_rows
from .protocol import TargetError, place_of, tell
from .setup_log import SetupLog
from .spelling import owner_at, spelt
from .targets import Built, in_optimizer, project_path, target_name
from .whatif import suggestions

Json = dict[str, Any]
UNCOUNTED = "what is saved for backward was not counted: the model runs torch.func, which allows no hooks on it"


def trace(args: Json) -> Json:
    """Build the target, record a step as it is frozen and one with everything trainable, and tell both."""
    gc.freeze()  # what was imported, and then what was built, is not looked through for garbage until the end
    try:
        return _trace(args["target"])
    finally:
        gc.unfreeze()


def _trace(target: Json) -> Json:
    started = time.perf_counter()
    tell("building")
    built, log = built_part(target)
    tell("tracing")
    gc.freeze()
    built_s = time.perf_counter() - started
    inputs = example_inputs(built)
    report = trace_model(built.model, inputs, built.loss, built.optimizer, log)
    report["name"] = built.name
    report["others"] = [one.part for one in built.others]
    report["notes"] = [*built.notes, *report["notes"]]
    report["build_s"] = built_s
    return report


_waiting: dict[tuple[str, str], tuple[Built, SetupLog]] = {}  # built beside the model that was traced last


def built_part(target: Json) -> tuple[Built, SetupLog]:
    """The target's model, or the one of several that `part` names, which may have been built before."""
    name, part = target_name(target), target.get("part", "")
    known = _waiting.pop((name, part), None)
    if known is not None:
        return known
    built, log = build_for_tracing(target)
    _waiting.clear()
    _waiting.update({(name, one.part): (one, log) for one in built.others})
    found = next((one for one in (built, *built.others) if part in ("", one.part)), None)
    if found is None:
        raise TargetError(f"`{name}` builds no `{part}`")
    return found, log


def trace_model(
    model: nn.Module, inputs: Inputs, loss: Loss | None, optimizer: Any = None, log: SetupLog | None = None
) -> Json:
    """Everything about one model that is already built; `log`: what its set-up code did, where that was watched."""
    return trace_recorded(model, inputs, loss, optimizer, log)[0]


def trace_recorded(
    model: nn.Module, inputs: Inputs, loss: Loss | None, optimizer: Any = None, log: SetupLog | None = None
) -> tuple[Json, Recording]:
    """The same, with the recording it came from."""
    log = log or SetupLog()
    places = parameter_places(model, log)
    started = time.perf_counter()
    recording, notes = record_somehow(model, inputs, loss)
    recording.trainable -= frozen_by_forward(recording)
    trace_s = time.perf_counter() - started
    flow = Flow(recording)
    costs = Costs(flow)
    mapper = Mapper(flow, places)
    gradient_map = mapper.build()
    zeroed = mapper.zeroed()
    whole = costs
    if any(not p.requires_grad for p in recording.parameters.values() if p.is_floating_point()):
        whole = Costs(Flow(record_like(recording, model, inputs, loss, lambda _name, _now: True)))
    report = {
        "torch": str(torch.__version__),
        "device": recording.device,
        "method": "real" if recording.real else "fake",
        "guessed": recording.guessed,
        "inputs": inputs.describe(),
        "inputs_from": inputs.how,
        "parameters": parameter_rows(
            recording, model, in_optimizer(optimizer), log, places, mapper.reached_otherwise(), zeroed
        ),
        "modules": module_rows(recording, costs, whole, zeroed),
        "present": bill_json(costs.total()),
        "whole": bill_json(whole.total()),
        "what_if": suggestions(recording, costs, model, inputs, loss),
        "map": gradient_map,
        "idle_filters": [[test, [path, line, 0, last, 0, None]] for path, line, last, test in log.idle_filters()],
        "attribute_freezes": attribute_freezes(model, log),
        "facts": facts(model, recording, log, optimizer, places),
        "operations": len(recording.recorder.ops),
        "notes": [*notes, *recording.notes],
        "trace_s": trace_s,
        "place": place(class_line(model)),
    }
    return report, recording


def frozen_by_forward(recording: Recording) -> set[str]:
    """The parameters that the forward itself freezes, for good or for every use it makes of them."""
    flags, reached = recording.watch.flags, recording.reached()
    if not flags:
        return set()
    uses = [(id(tensor), requires) for op in recording.recorder.ops for tensor, requires, _ in op.inputs]
    used = {key for key, _ in uses}
    used_to_train = {key for key, requires in uses if requires}
    return {
        name
        for name, parameter in recording.parameters.items()
        if (key := id(parameter)) in flags and name not in reached and (not flags[key] or key in used - used_to_train)
    }


def attribute_freezes(model: nn.Module, log: SetupLog) -> list[Json]:
    """Modules whose `requires_grad = False` is a plain attribute that froze nothing."""
    found = []
    for path, module in model.named_modules():
        line, value = log.attributes.get(id(module), (None, True))
        training = sum(p.requires_grad for p in module.parameters())
        if line is not None and not value and training:
            text = owner_at(line, "requires_grad") or spelt(model, path)
            found.append({"path": path, "text": text, "place": place(line), "parameters": training})
    return found


def parameter_places(model: nn.Module, log: SetupLog) -> dict[str, Line]:
    """Where each parameter was made; else where the class of the innermost module of the user's own begins."""
    lines: dict[str, Line | None] = {"": class_line(model)}
    for path, module in model.named_modules():
        own = class_line(module)
        lines[path] = own if own and is_project_file(own[0]) else lines.get(path.rpartition(".")[0])
    found = {}
    for name, parameter in model.named_parameters():
        line = log.made.get(id(parameter)) or lines.get(name.rpartition(".")[0])
        if line is not None:
            found[name] = line
    return found


def bill_json(bill: Bill) -> Json:
    return asdict(bill)


def record_somehow(
    model: nn.Module, inputs: Inputs, loss: Loss | None, *, hookless: bool = False
) -> tuple[Recording, list[str]]:
    """A fake recording, or a real one with the reason."""
    notes = [UNCOUNTED] if hookless else []
    try:
        return record(model, inputs, loss, hookless=hookless), notes
    except Exception as error:
        reason = why_not_fake(error)
        if "saved tensor hooks" in str(error) and not hookless:
            return record_somehow(model, inputs, loss, hookless=True)
        try:
            recording = record(with_values(model), inputs, loss, real=True, hookless=hookless)
            return recording, [f"traced by a real step, not on fake tensors: {reason}", *notes]
        except Exception as second:
            raise second from error


def record_like(recording: Recording, model: nn.Module, inputs: Inputs, loss: Loss | None, freeze: Freeze) -> Recording:
    """The same step with other parameters requiring grad."""
    return record(model, inputs, loss, real=recording.real, freeze=freeze, hookless=recording.hookless)


def why_not_fake(error: BaseException) -> str:
    """What a user can act on, with the line that asked for a value."""
    if not isinstance(error, (DataDependentOutputException, DynamicOutputShapeException)):
        return one_line(error)
    path, line = place_of(error)
    return "values decide what runs" + (f", at {project_path(path)}:{line}" if path else "")


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__


def class_line(module: nn.Module) -> Line | None:
    """Where the module's class is defined."""
    return _line_of_class(type(module))  # type: ignore[arg-type]


@cache
def _line_of_class(kind: type) -> Line | None:
    try:
        path = inspect.getfile(kind)
        return (path, inspect.getsourcelines(kind)[1]) if is_project_file(path) else None
    except (OSError, TypeError):
        return None
