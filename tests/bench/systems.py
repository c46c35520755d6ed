"""The five systems in figures: what the graph predicts, and what real steps take, as ratios within one run.

    python tests/bench/systems.py [--rounds 15] [--device cpu]

Columns: dgrad and wgrad FLOPs, operations and saved bytes from the trace; the backward's time beside that of the same
model with everything trainable (medians of interleaved rounds, and their spread); dgrad and wgrad operations counted
by torch's profiler through autograd's operations.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import freezelint
from freezelint.model_report import flop, size

sys.path.insert(0, str(Path(__file__).parent.parent / "systems"))
SYSTEMS = {
    "1 autoencoder, frozen ResNet, classifier": "autoencoder_resnet",
    "2 encoder, frozen decoder": "encoder_decoder",
    "3 embedding, all else frozen": "embedding_only",
    "4 head behind a frozen ResNet": "wasted_input_gradient",
    "5 frozen middle layer": "frozen_middle",
}
PRODUCTS = ("aten::mm", "aten::bmm", "aten::addmm", "aten::convolution_backward")


def model_of(name: str, device: str, *, trainable: bool) -> nn.Module:
    built = importlib.import_module(name).build()
    model: nn.Module = (built[0] if isinstance(built, tuple) else built).to(device)
    return model.requires_grad_(True) if trainable else model


def batch_of(name: str, device: str, *, asks: bool) -> Tensor:
    given: Tensor = importlib.import_module(name).batch()[0].to(device)
    return given.requires_grad_(True) if asks else given


def backward_s(model: nn.Module, inputs: Tensor, device: str) -> float:
    loss = model(inputs).square().mean()
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    loss.backward()
    if device != "cpu":
        torch.cuda.synchronize()
    taken = time.perf_counter() - start
    model.zero_grad()
    inputs.grad = None
    return taken


def interleaved(makers: list[Callable[[], float]], rounds: int) -> list[list[float]]:
    for maker in makers:
        maker()
    times: list[list[float]] = [[] for _ in makers]
    for _ in range(rounds):
        for row, maker in zip(times, makers, strict=True):
            row.append(maker())
    return times


def backward_products(model: nn.Module, inputs: Tensor) -> int:
    """Products that the backward makes, each dgrad or wgrad: one a call, two for a convolution asked for both."""
    loss = model(inputs).square().mean()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        loss.backward()
    return sum(_made(event) for event in profile.events() if event.name in PRODUCTS)


def _made(event: torch.autograd.profiler_util.FunctionEvent) -> int:
    if event.name != "aten::convolution_backward":
        return 1
    mask = next((v for v in reversed(event.concrete_inputs) if isinstance(v, list) and len(v) == 3), [1, 1, 1])
    return sum(bool(wanted) for wanted in mask[:2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    where = torch.cuda.get_device_name() if options.device != "cpu" else platform.processor() or platform.machine()
    print(f"torch {torch.__version__}, {options.device} ({where}), {torch.get_num_threads()} threads")
    for title, name in SYSTEMS.items():
        print(f"\n{title}")
        whole = model_of(name, options.device, trainable=True)
        kinds = [("as frozen", model_of(name, options.device, trainable=False), False)]
        if name == "wasted_input_gradient":
            kinds.append(("with requires_grad on the batch", kinds[0][1], True))
        reference = batch_of(name, options.device, asks=False)
        makers = [lambda whole=whole, reference=reference: backward_s(whole, reference, options.device)]
        batches = [batch_of(name, options.device, asks=asks) for _, _, asks in kinds]
        for (_, model, _), inputs in zip(kinds, batches, strict=True):
            makers.append(lambda model=model, inputs=inputs: backward_s(model, inputs, options.device))
        times = interleaved(makers, options.rounds)
        base = statistics.median(times[0])
        for (label, model, _), inputs, row in zip(kinds, batches, times[1:], strict=True):
            bill = freezelint.audit(model, inputs).report.present
            full = freezelint.audit(whole, reference).report.present
            counts = f"{bill.dgrad_ops} dgrad and {bill.wgrad_ops} wgrad ops of {full.dgrad_ops} and {full.wgrad_ops}"
            share = bill.backward_flops / full.backward_flops
            print(
                f"  {label}: dgrad {flop(bill.dgrad_flops)}, wgrad {flop(bill.wgrad_flops)}, share {share:.3f}",
                counts,
                sep="; ",
            )
            seen, most = backward_products(model, inputs), backward_products(whole, reference)
            print(
                f"    saved {size(bill.saved_bytes)} of {size(full.saved_bytes)}; profiler: {seen} products of {most}"
            )
            ratio, low, high = (f(row) / base for f in (statistics.median, min, max))
            print(f"    backward {ratio:.3f} of the time with everything trainable (spread {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
