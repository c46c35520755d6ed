"""The `steps` operation: a few real optimizer steps of a built target, on CUDA where there is one, under the monitor.

The model is built under the monitor too, so that freezes and optimizers have their lines. Nothing of the question is
changed: no input is made to require grad, and the model stays in the mode its builder left it in.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .capture import call_loss
from .digest import digest, named_leaves, propose
from .gauge import Count, compare
from .guess import example_inputs
from .inputs import Inputs
from .monitor import Monitor
from .patches import Patches
from .places import Places
from .protocol import UnsupportedError, tell
from .tape import tensors
from .targets import Built, build, target_name
from .trials import Trial

Json = dict[str, Any]


def steps(args: Json) -> Json:
    """Build the target and train it for a few steps; the facts of `digest`."""
    target = args["target"]
    started = time.monotonic()
    monitor = Monitor(Places((str(Path.cwd()),)))
    patches = Patches(monitor)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(args.get("seed", 0))
        patches.install()
        try:
            tell("building")
            with monitor.flow:
                built = build(target)
            tell("running")
            monitor.flow.quiet += 1
            inputs = example_inputs(built)
            monitor.flow.quiet -= 1
            training = Training(built, inputs, args.get("device", "auto"))
            with monitor.flow:
                error = training.run(monitor, args.get("steps", 2))
            facts = digest(monitor, lambda: None if error else training.measure(monitor.trials.waiting()))
            names = {id(parameter): name for name, parameter in built.model.named_parameters()}
            rows = zip(named_leaves(monitor), facts["parameters"])
            for leaf, row in rows:  # as the settings' patterns name them: from the model on, without its variable
                row["name"] = names.get(id(leaf.ref()), row["name"])
            facts["facts"] = [item for item in facts["facts"] if item["kind"] != "random_frozen"]
        finally:
            patches.undo()
    facts.update(
        script=target_name(target),
        stopped="exception" if error else "steps",
        error=error,
        seconds=time.monotonic() - started,
        inputs_from=inputs.how,
    )
    return facts


class Training:
    """The target on its device, its inputs and its optimizer: a step that can be made again and again."""

    def __init__(self, built: Built, inputs: Inputs, wanted: str) -> None:
        self.built, self.device = built, choose(wanted)
        if any(parameter.device != self.device for parameter in built.model.parameters()):
            built.model.to(self.device)
        self.inputs = moved(inputs.args, self.device), moved(inputs.kwargs, self.device)
        self.optimizer = built.optimizer

    def run(self, monitor: Monitor, count: int) -> Json | None:
        """What ended the steps before their number, after a first one that was seen."""
        self.optimizer = self.optimizer or own_optimizer(self.built.model)
        for number in range(count):
            try:
                trained = self.step()
            except RuntimeError as error:
                if not monitor.steps:
                    raise
                return {"type": type(error).__name__, "text": str(error)[:2000], "place": None}
            if not trained:
                raise UnsupportedError("the loss has no graph: nothing of the model trains")
            if number == 0 and count > 1:  # what is wasted on an input is measured at the passes that follow
                monitor.safely(propose, monitor, {"wasted_input"})
        return None

    def step(self, count: Count | None = None) -> bool:
        """Whether there was anything to step."""
        assert self.optimizer is not None
        args, kwargs = self.inputs
        loss = loss_of(self.built.model(*args, **kwargs), self.built, self.inputs)
        self.optimizer.zero_grad()
        if not loss.requires_grad:
            return False
        if count is not None:
            count.listen([loss])
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return True

    def measure(self, trials: list[Trial]) -> None:
        """Whole steps, in turns with the wasted gradients and with their parameters frozen."""
        if trials:
            tell("measuring what is wasted in")
        for trial in trials:
            leaves = [tensor for leaf in trial.leaves if leaf.is_parameter and (tensor := leaf.ref()) is not None]
            if not leaves:
                continue

            def frozen(count: Count | None, leaves: list[Tensor] = leaves) -> None:
                for leaf in leaves:
                    leaf.requires_grad_(False)
                try:
                    self.step(count)
                finally:
                    for leaf in leaves:
                        leaf.requires_grad_(True)

            try:
                trial.numbers = compare("step", self.step, frozen, self.device)
            except Exception as error:
                trial.reason = f"the step was not made again: {' '.join(str(error).split())[:120]}"


def own_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Where the project names none: everything that requires grad, by plain steps."""
    chosen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not chosen:
        raise UnsupportedError("no parameter of the model requires grad: there is nothing to step")
    return torch.optim.SGD(chosen, lr=1e-3)


def choose(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UnsupportedError("no CUDA device here")
    return torch.device(wanted)


def moved(value: Any, device: torch.device) -> Any:
    """The same arguments on the device; a tensor that requires grad stays a leaf that does."""
    if isinstance(value, Tensor):
        if value.device == device:
            return value
        return value.detach().to(device).requires_grad_(value.requires_grad)
    if isinstance(value, (tuple, list)):
        return type(value)(moved(item, device) for item in value)
    if isinstance(value, dict):
        return {key: moved(item, device) for key, item in value.items()}
    return value


def loss_of(output: Any, built: Built, inputs: Any) -> Tensor:
    """The target's loss, else `.loss` of the output, else every floating output weighed by fixed numbers."""
    if built.loss is not None:
        value = call_loss(built.loss, output, inputs)
        if not isinstance(value, Tensor):
            raise UnsupportedError(f"the loss function returned {type(value).__name__}, not a tensor")
        return value
    own = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    if isinstance(own, Tensor):
        return own
    held = output if isinstance(output, (Tensor, tuple, list, dict)) else vars(output)
    parts = [part for part in tensors(held) if part.is_floating_point() and part.requires_grad]
    if not parts:
        parts = [part for part in tensors(held) if part.is_floating_point()]
    if not parts:
        raise UnsupportedError("the model's output holds no floating-point tensor to make a loss of")
    total = weighed(parts[0])
    for part in parts[1:]:
        total = total + weighed(part)
    return total


def weighed(part: Tensor) -> Tensor:
    """A sum with unequal weights: a plain sum of a softmax, say, has a gradient of exactly zero."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(part.shape, generator=generator).to(part.device, part.dtype) + 0.5
    return (part * weights).sum() / max(part.numel(), 1)
