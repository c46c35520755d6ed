"""What the monitor costs a training step: bare and watched steps in turns, medians and their ratio.

`python tests/bench/overhead.py [--steps 15]` prints one line a model. The promise is at most 1.15 times the bare step
for models whose step takes 50 ms and more.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from freezelint.worker.monitor import Monitor  # noqa: E402
from freezelint.worker.patches import Patches  # noqa: E402
from freezelint.worker.places import Places  # noqa: E402

Step = Callable[[], Tensor]


def convolutions() -> Step:
    widths = [3, 64, 64, 128, 128, 256, 256, 256]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, padding=1, stride=2 if after > before else 1)]
        layers += [nn.BatchNorm2d(after), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))
    return stepper(model, torch.randn(4, 3, 64, 64), torch.randint(0, 10, (4,)))


def transformer() -> Step:
    layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True, dropout=0.0)
    model = nn.Sequential(nn.TransformerEncoder(layer, 6, enable_nested_tensor=False), Mean(), nn.Linear(256, 10))
    return stepper(model, torch.randn(4, 64, 256), torch.randint(0, 10, (4,)))


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def stepper(model: nn.Module, inputs: Tensor, targets: Tensor) -> Step:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> Tensor:
        loss = nn.functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


@contextmanager
def listening(monitor: Monitor) -> Iterator[None]:
    """The monitor as a script has it around all its steps: put on once, names taken after each step."""
    patches = Patches(monitor)
    patches.install()
    monitor.on_step = monitor.survey
    try:
        with monitor.flow:
            yield
    finally:
        patches.undo()


def seconds(step: Step) -> float:
    """Processor time: the figure must not depend on what else the machine does."""
    started = time.process_time()
    step()
    return time.process_time() - started


def pair(step: Step, monitor: Monitor) -> tuple[float, float]:
    bare = seconds(step)
    with listening(monitor):
        return bare, seconds(step)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=15)
    options = parser.parse_args()
    worst = 0.0
    for build in (convolutions, transformer):
        monitor = Monitor(Places((str(ROOT / "tests"),)))
        patches = Patches(monitor)
        patches.install()  # optimizer classes are hooked when the first of them is built, as in a script
        bare = build()
        patches.undo()
        pair(bare, monitor)
        pairs = [pair(bare, monitor) for _ in range(options.steps)]
        plain, with_monitor = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(second / first for first, second in pairs)
        worst = max(worst, ratio)
        print(
            f"{build.__name__:14} bare {plain * 1e3:7.1f} ms  watched {with_monitor * 1e3:7.1f} ms  ratio {ratio:.3f}"
        )
    return 0 if worst <= 1.15 else 1


if __name__ == "__main__":
    if importlib.util.find_spec("torch") is None:
        sys.exit("needs torch")
    sys.exit(main())
