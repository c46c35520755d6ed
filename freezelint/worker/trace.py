"""The `trace` operation: one model's gradient map, costs and cuts, as JSON.

Order of the witnesses: a recording on fake tensors; where that cannot be, a recording of one small real step, and a
note that says why.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from .building import build_for_tracing
from .capture import Freeze, Loss, Recording, record
from .cost import Bill, Costs
from .flow import Flow
from .guess import example_inputs
from .inputs import Inputs
from .mapping import Mapper, place
from .modules import module_rows, parameter_rows
from .setup_log import SetupLog
from .targets import in_optimizer, target_name
from .whatif import suggestions

Json = dict[str, Any]


def trace(args: Json) -> Json:
    """Build the target, record a step as it is frozen and one with everything trainable, and tell both."""
    target = args["target"]
    started = time.perf_counter()
    built, log = build_for_tracing(target)
    built_s = time.perf_counter() - started
    inputs = example_inputs(built)
    report = trace_model(built.model, inputs, built.loss, built.optimizer, log)
    report["name"] = target_name(target)
    report["notes"] = [*built.notes, *report["notes"]]
    report["build_s"] = built_s
    return report


def trace_model(
    model: nn.Module, inputs: Inputs, loss: Loss | None, optimizer: Any = None, log: SetupLog | None = None
) -> Json:
    """Everything about one model that is already built; `log`: what its set-up code did, where that was watched."""
    log = log or SetupLog()
    places = {name: log.made[id(p)] for name, p in model.named_parameters() if id(p) in log.made}
    started = time.perf_counter()
    recording, notes = record_somehow(model, inputs, loss)
    trace_s = time.perf_counter() - started
    flow = Flow(recording)
    costs = Costs(flow)
    gradient_map = Mapper(flow, places).build()
    whole = Costs(Flow(record_like(recording, model, inputs, loss, lambda _name, _now: True)))
    return {
        "torch": str(torch.__version__),
        "device": recording.device,
        "method": "real" if recording.real else "fake",
        "inputs": inputs.describe(),
        "inputs_from": inputs.how,
        "parameters": parameter_rows(recording, model, in_optimizer(optimizer), log),
        "modules": module_rows(recording, costs, whole),
        "present": bill_json(costs.total()),
        "whole": bill_json(whole.total()),
        "what_if": suggestions(recording, costs, model, inputs, loss),
        "map": gradient_map,
        "idle_filters": [[test, [path, line, 0, last, 0, None]] for path, line, last, test in log.idle_filters()],
        "operations": len(recording.recorder.ops),
        "notes": [*notes, *recording.notes],
        "trace_s": trace_s,
        "place": class_place(model),
    }


def bill_json(bill: Bill) -> Json:
    return asdict(bill)


def record_somehow(model: nn.Module, inputs: Inputs, loss: Loss | None) -> tuple[Recording, list[str]]:
    """A fake recording, or a real one with the reason."""
    try:
        return record(model, inputs, loss), []
    except Exception as error:
        reason = one_line(error)
        if any(p.device.type == "meta" for p in model.parameters()):
            model.to_empty(device="cpu")
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter.data, std=0.02) if parameter.is_floating_point() else None
        try:
            return record(model, inputs, loss, real=True), [f"traced by a real step, not on fake tensors: {reason}"]
        except Exception as second:
            raise second from error


def record_like(recording: Recording, model: nn.Module, inputs: Inputs, loss: Loss | None, freeze: Freeze) -> Recording:
    """The same step with other parameters requiring grad."""
    return record(model, inputs, loss, real=recording.real, freeze=freeze)


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__


def class_place(model: nn.Module) -> list[Any] | None:
    """Where the model's class is defined."""
    import inspect

    try:
        return place((inspect.getfile(type(model)), inspect.getsourcelines(type(model))[1]))
    except (OSError, TypeError):
        return None
