"""What each waste costs, measured as a run measures it: the step with and without it, in turns.

    python tests/bench/waste.py [--large] [--device cpu]

The five systems, and one training step for each rule about waste that is not among them. `--large`: sizes that fill a
GPU. The first line names the machine.
"""

from __future__ import annotations

import argparse
import copy
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "systems")]

import networks  # noqa: E402
from encoder_decoder import EncoderDecoder  # noqa: E402
from frozen_middle import Three  # noqa: E402

from freezelint.measured import rounded  # noqa: E402
from freezelint.model_report import size  # noqa: E402
from freezelint.worker.gauge import Count, compare  # noqa: E402

Loss = Callable[[], Tensor]


@dataclass
class Case:
    """A loss that is wasteful now; frozen leaves, or another loss, are what it is without the waste."""

    title: str
    now: Loss
    trained: Iterable[nn.Parameter]
    wasted: Iterable[Tensor] = ()
    without: Loss | None = None


def cases(device: str, large: bool) -> list[Case]:
    torch.manual_seed(0)
    side, batch = (224, 64) if large else (32, 8)
    width, stages = (64, 4) if large else (16, 3)
    images = torch.rand(batch, 3, side, side, device=device)
    return [
        *convolutional(images, width, stages, device),
        embedding(device, large),
        middle(device, 4096 if large else 256),
        *two_networks(images, width, stages, device),
    ]


def convolutional(images: Tensor, width: int, stages: int, device: str) -> list[Case]:
    resnet = networks.pretrained_resnet(3, width, stages).to(device).requires_grad_(False).eval()
    cleaner, head = networks.AutoEncoder(3, width).to(device), nn.Linear(resnet.features, 10).to(device)
    codec = EncoderDecoder(3, width).to(device)
    codec.decoder.requires_grad_(False)
    asking = images.clone().requires_grad_()
    open_resnet = copy.deepcopy(resnet).requires_grad_(True)
    parts = [*cleaner.parameters(), *head.parameters()]
    return [
        Case(
            "1 FRZ403 autoencoder in front of a frozen ResNet, classifier behind it",
            lambda: head(resnet(cleaner(images))).square().mean(),
            parts,
            cleaner.parameters(),
        ),
        Case(
            "2 FRZ403 encoder in front of a frozen decoder",
            lambda: codec(images).square().mean(),
            codec.encoder.parameters(),
            codec.encoder.parameters(),
        ),
        Case(
            "4 FRZ401 batch that requires grad, frozen ResNet, classifier",
            lambda: head(resnet(asking)).square().mean(),
            head.parameters(),
            without=lambda: head(resnet(images)).square().mean(),
        ),
        Case(
            "  FRZ402 ResNet left out of the optimizer, not frozen",
            lambda: head(open_resnet(images)).square().mean(),
            head.parameters(),
            open_resnet.parameters(),
        ),
    ]


def embedding(device: str, large: bool) -> Case:
    model = (networks.roberta_base() if large else networks.small_roberta()).to(device).requires_grad_(False)
    model.words.requires_grad_(True)
    batch, length = (32, 512) if large else (8, 32)
    words = torch.randint(0, 1000, (batch, length), device=device)
    title = "3 FRZ403 embedding in front of a frozen RoBERTa"
    return Case(title, lambda: model(words).square().mean(), model.words.parameters(), model.words.parameters())


def middle(device: str, width: int) -> Case:
    model, x = Three(width).to(device), torch.rand(width, width, device=device)
    title = "5 middle layer: trainable, and frozen"
    return Case(title, lambda: model(x).square().mean(), model.parameters(), model.middle.parameters())


def two_networks(images: Tensor, width: int, stages: int, device: str) -> list[Case]:
    student = networks.pretrained_resnet(3, width, stages).to(device)
    teacher = copy.deepcopy(student).eval()
    maker, judge = networks.AutoEncoder(3, width).to(device), networks.ResNet(3, width, stages).to(device)

    def distilled(grad: bool) -> Tensor:
        with torch.set_grad_enabled(grad):
            target = teacher(images)
        return (student(images) - target).square().mean()

    return [
        Case(
            "  FRZ405 teacher inside autograd",
            partial(distilled, True),
            student.parameters(),
            without=partial(distilled, False),
        ),
        Case(
            "  FRZ406 generator not detached in the discriminator's step",
            lambda: judge(maker(images)).square().mean(),
            judge.parameters(),
            without=lambda: judge(maker(images).detach()).square().mean(),
        ),
    ]


def measured(case: Case, device: str) -> dict[str, float]:
    optimizer = torch.optim.SGD(list(case.trained), lr=1e-4)
    wasted = list(case.wasted)

    def step(loss: Loss, trainable: bool, count: Count | None) -> None:
        for leaf in wasted:
            leaf.requires_grad_(trainable)
        value = loss()
        optimizer.zero_grad()
        if value.requires_grad:
            if count is not None:
                count.listen([value])
            value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    now, without = partial(step, case.now, True), partial(step, case.without or case.now, False)
    return compare("step", now, without, torch.device(device))


def row(title: str, numbers: dict[str, float]) -> str:
    times = [
        f"{rounded(numbers[f'step_ms{end}'])} ± {rounded(numbers[f'step_spread_ms{end}'])}" for end in ("", "_without")
    ]
    ratio = f"{numbers['step_ms_without'] / numbers['step_ms']:.2f}"
    units = ["operations", *(["kernels"] if "dgrad_kernels" in numbers else [])]
    counts = [
        "; ".join(f"{int(numbers[f'{role}_{unit}'])} → {int(numbers[f'{role}_{unit}_without'])}" for unit in units)
        for role in ("dgrad", "wgrad")
    ]
    memory = f"{size(int(numbers['peak_bytes']))} → {size(int(numbers['peak_bytes_without']))}"
    return f"| {' | '.join([title, *times, ratio, *counts, memory])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    on_gpu = options.device != "cpu"
    machine = torch.cuda.get_device_name(options.device) if on_gpu else platform.processor() or platform.machine()
    print(f"torch {torch.__version__}, {options.device} ({machine}), {torch.get_num_threads()} threads\n")
    unit = "operations; kernels" if on_gpu else "operations"
    print(f"| waste | step ms | without it | ratio | dgrad {unit} | wgrad {unit} | peak memory |\n|{'---|' * 7}")
    for case in cases(options.device, options.large):
        print(row(case.title, measured(case, options.device)), flush=True)


if __name__ == "__main__":
    main()
