"""The zoo: how many models are captured, and whether reach and costs equal a real forward and backward.

    python tests/bench/zoo.py --timm 100 --transformers 100 --awkward [--costs] [--rows rows.jsonl]

Needs timm and transformers beside torch; a library that does not import is skipped with a line that says why. Models
come from configs with random weights, shallow where their config has a depth, so that the real steps take seconds.
For each model: everything trainable, and a random prefix, middle and scattered freeze. With `--costs`, FLOPs are
compared with torch's counter, and dgrad and wgrad operations with its profiler, for the first and the third of these
(of the awkward modules for all four); images are then as small as the model takes them, and what is still large is
shallower, so that these rows say nothing about speed. Each model runs in a process of its own with a limit; with
`--rows` every row is kept in a file, models that it holds are not run again, and the tables are about all rows in it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import resource
import select
import signal
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import zoo_oracle as oracle  # noqa: E402
from zoo_models import Maker, smaller, timm_models, transformers_models  # noqa: E402

from freezelint.gradient_map import GradientMap  # noqa: E402
from freezelint.worker.bill import DGRAD, WGRAD, Bill  # noqa: E402
from freezelint.worker.capture import record  # noqa: E402
from freezelint.worker.cost import Costs  # noqa: E402
from freezelint.worker.flow import Flow  # noqa: E402
from freezelint.worker.guess import example_inputs  # noqa: E402
from freezelint.worker.inputs import Inputs  # noqa: E402
from freezelint.worker.mapping import Mapper  # noqa: E402
from freezelint.worker.targets import Built  # noqa: E402
from freezelint.worker.trace import one_line  # noqa: E402

COSTED = (0, 2)  # the freezes whose costs are compared: everything trainable, and a frozen middle
MEMORY = 10 << 30  # bytes that one model may take


@dataclass
class Row:
    """One model: what became of it. Times are seconds of processor time, one entry a freeze."""

    name: str
    left_out: str = ""  # why it says nothing: it cannot be built, or took too long
    inputs: list[str] = field(default_factory=list)
    captured: str = ""  # "fake", "real" or empty
    reason: str = ""  # why not captured, or not on fake tensors
    guessed: bool = False  # values decided what ran
    freezes: int = 0
    reach_equal: int = 0
    map_equal: int = 0
    flops_compared: int = 0
    flops_equal: int = 0
    costs_compared: int = 0  # operations of backward: by role, and by role and name
    dgrad_equal: int = 0
    wgrad_equal: int = 0
    named_equal: int = 0
    differences: list[str] = field(default_factory=list)
    build_s: float = 0.0
    inputs_s: float = 0.0
    trace_s: list[float] = field(default_factory=list)  # recording, map and costs
    real_s: list[float] = field(default_factory=list)
    parameters: int = 0
    operations: int = 0
    peak_mb: int = 0

    @property
    def ratio(self) -> float:
        return statistics.median(self.trace_s) / statistics.median(self.real_s)

    def __str__(self) -> str:
        if self.left_out:
            return f"{self.name:44s} left out: {self.left_out}"
        if not self.captured:
            return f"{self.name:44s} not captured: {self.reason}"
        said = "".join([f" ({self.reason})" if self.reason else "", *(f"\n    {line}" for line in self.differences)])
        of = self.freezes
        return (
            f"{self.name:44s} {self.captured:4s} reach {self.reach_equal}/{of} map {self.map_equal}/{of} flops "
            f"{self.flops_equal}/{self.flops_compared} dgrad {self.dgrad_equal} wgrad {self.wgrad_equal} "
            f"named {self.named_equal}/{self.costs_compared} "
            f"{self.parameters / 1e6:6.1f} M trace/real {self.ratio:5.2f} trace/build "
            f"{statistics.median(self.trace_s) / self.build_s:5.2f}{said}"
        )


def freezes(names: list[str]) -> Iterator[oracle.Freeze]:
    """The trainable names: all, all but a prefix, all but a middle, a scattered half."""
    choose = random.Random(len(names))
    cut, a, b = choose.randrange(len(names)), *sorted(choose.randrange(len(names)) for _ in range(2))
    yield set(names)
    yield set(names[cut:])
    yield {*names[:a], *names[b:]}
    yield {name for name in names if choose.random() < 0.5}


def examine(name: str, make: Maker, costs: bool, inputs: Inputs | None = None) -> Row:
    row = Row(name)
    started = time.process_time()
    torch.manual_seed(0)
    try:
        model = make()
    except Exception as error:
        row.left_out = f"cannot be built: {one_line(error)[:100]}"
        return row
    row.build_s = max(time.process_time() - started, 1e-3)
    row.parameters = sum(p.numel() for p in model.parameters())
    try:
        started = time.process_time()
        inputs = inputs or example_inputs(Built(model))
        row.inputs_s = time.process_time() - started
        inputs = smaller(model, inputs) if costs else inputs
        costed = range(4) if name.startswith("awkward:") else COSTED
        row.inputs = inputs.describe()
        for number, keep in enumerate(freezes([name for name, _ in model.named_parameters()])):
            one_freeze(row, model, inputs, keep, costs and number in costed)
    except Exception as error:
        row.captured, row.reason = "", one_line(error)[:200]
        if isinstance(error, MemoryError) or "can't allocate memory" in row.reason:
            row.left_out = f"more than {MEMORY >> 30} GiB"
        traceback.print_exc(limit=-4)
    row.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return row


def one_freeze(row: Row, model: nn.Module, inputs: Inputs, keep: oracle.Freeze, compare: bool) -> None:
    oracle.seed()
    started = time.process_time()
    try:
        recording = record(model, inputs, freeze=lambda name, _on: name in keep)
        row.captured = "fake"
    except Exception as error:
        row.captured, row.reason = "real", one_line(error)[:100]
        recording = record(model, inputs, freeze=lambda name, _on: name in keep, real=True)
    flow = Flow(recording)
    costs = Costs(flow)
    graph = GradientMap.from_json(Mapper(flow).build())
    row.trace_s.append(time.process_time() - started)
    row.guessed |= recording.recorder.shadows.decided_by_chance
    row.operations = len(recording.recorder.ops)
    reach, mine = recording.reached(), (costs.total(), oracle.predicted(costs))
    del recording, flow, costs
    gc.collect()  # a real recording holds every result
    oracle.freeze(model, keep)
    started = time.process_time()
    oracle.step(model, inputs)
    row.real_s.append(time.process_time() - started)
    truth = oracle.reached(model)
    in_map = {node.name for node in graph.parameters(graph.reached([loss.id for loss in graph.losses()]))}
    row.freezes += 1
    row.reach_equal += equal(row, "reach", reach, truth)
    row.map_equal += equal(row, "map", in_map, truth)
    if compare:
        oracle.freeze(model, keep)
        compare_costs(row, model, inputs, *mine)


def compare_costs(row: Row, model: nn.Module, inputs: Inputs, bill: Bill, named: oracle.Operations) -> None:
    flops = oracle.flops(model, inputs)
    if flops is not None:
        row.flops_compared += 1
        row.flops_equal += equal(row, "FLOPs", (bill.forward_flops, bill.backward_flops + bill.recompute_flops), flops)
    seen = oracle.operations(model, inputs)
    row.costs_compared += 1
    row.dgrad_equal += equal(row, "dgrad operations", bill.dgrad_ops, oracle.of_role(seen, DGRAD))
    row.wgrad_equal += equal(row, "wgrad operations", bill.wgrad_ops, oracle.of_role(seen, WGRAD))
    row.named_equal += equal(row, "operations", dict(named), dict(seen))


def equal(row: Row, what: str, mine: Any, theirs: Any) -> bool:
    if mine == theirs:
        return True
    if isinstance(mine, set):
        mine, theirs = f"{sorted(mine - theirs)[:4]} more", f"{sorted(theirs - mine)[:4]} fewer"
        text = f"{what}: {mine}, {theirs} than the real step"
    elif isinstance(mine, dict):
        odd = [key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key)]
        text = f"{what}: " + ", ".join(f"{key} {mine.get(key, 0)} for {theirs.get(key, 0)}" for key in sorted(odd))
    else:
        text = f"{what}: {mine} for {theirs}"
    row.differences.append(text[:300])
    return False


def apart(name: str, run: Callable[[], Row], limit_s: int) -> Row:
    """`run` in a process of its own, which may be slow or die."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        with os.fdopen(writing, "w") as pipe:
            json.dump(asdict(run()), pipe)
        os._exit(0)
    os.close(writing)
    text, ends = b"", time.monotonic() + limit_s
    while select.select([reading], [], [], max(0.0, ends - time.monotonic()))[0]:
        part = os.read(reading, 1 << 16)
        if not part:
            break
        text += part
    late = time.monotonic() >= ends
    os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    try:
        return Row(**json.loads(text))
    except ValueError:
        why = f"more than {limit_s} s on this machine" if late else f"its process died (status {status})"
        return Row(name, left_out=why)


def awkward_models(_light: bool) -> Iterator[tuple[str, Maker, Inputs | None]]:
    import awkward

    for name, make in awkward.CASES.items():
        torch.manual_seed(0)
        model, args = make()
        yield f"awkward:{name}", lambda model=model: model, Inputs(args)


def run(kind: str, count: int, options: argparse.Namespace, known: dict[str, Row]) -> None:
    """Examines models until `count` rows of this kind say something."""
    models: dict[str, Callable[[bool], Iterator[Any]]] = {
        "awkward": awkward_models, "timm": timm_models, "transformers": transformers_models,
    }  # fmt: skip
    done = sum(name.startswith(f"{kind}:") and not row.left_out for name, row in known.items())
    try:
        for name, make, *given in models[kind](options.costs):
            if done >= count or name in known or options.only not in name:
                continue
            row = apart(name, lambda: examine(name, make, options.costs, *given), options.limit)  # noqa: B023
            done += not row.left_out
            known[name] = row
            print(row, flush=True)
            if options.rows:
                with options.rows.open("a") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
    except ImportError as error:
        print(f"{kind}: skipped, {one_line(error)}")


def summary(kind: str, rows: list[Row]) -> None:
    rows = [row for row in rows if row.name.startswith(f"{kind}:") and not row.left_out]
    if not rows:
        return
    captured = [row for row in rows if row.captured]
    able = [row for row in rows if row.inputs]
    print(f"\n{kind}: {len(rows)} models that can be built, inputs inferred for {len(able)}, of these "
          f"captured {len(captured)} ({sum(row.captured == 'fake' for row in captured)} on fake tensors)")  # fmt: skip
    equalities("", [row for row in captured if not row.guessed])
    equalities("decided by a random number: ", [row for row in captured if row.guessed])
    for least in (0, 50):
        chosen = [row for row in captured if row.parameters >= least * 1e6 and not row.costs_compared]
        if chosen:
            ratio = statistics.median(row.ratio for row in chosen)
            build = statistics.median(statistics.median(row.trace_s) / row.build_s for row in chosen)
            seconds = statistics.median(statistics.median(row.trace_s) for row in chosen)
            print(f"  of {least} M parameters and more ({len(chosen)} models): median trace / real step {ratio:.2f}, "
                  f"trace / build {build:.2f}, trace {seconds:.2f} s")  # fmt: skip


def equalities(title: str, rows: list[Row]) -> None:
    for label, key, of in (
        ("reach", "reach_equal", "freezes"), ("map", "map_equal", "freezes"),
        ("FLOPs", "flops_equal", "flops_compared"), ("dgrad operations", "dgrad_equal", "costs_compared"),
        ("wgrad operations", "wgrad_equal", "costs_compared"),
        ("operations by name and role", "named_equal", "costs_compared"),
    ):  # fmt: skip
        compared = sum(getattr(row, of) for row in rows)
        if compared:
            same = sum(getattr(row, key) for row in rows)
            print(f"  {title}{label} equal to the real step: {same} of {compared} freezes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timm", type=int, default=0, metavar="N")
    parser.add_argument("--transformers", type=int, default=0, metavar="N")
    parser.add_argument("--awkward", action="store_true")
    parser.add_argument("--costs", action="store_true", help="compare FLOPs and heavy operations too")
    parser.add_argument("--rows", type=Path, help="a file to keep rows in, and to go on from")
    parser.add_argument("--only", default="", metavar="TEXT", help="only models whose name holds this")
    parser.add_argument("--limit", type=int, default=120, metavar="S", help="seconds that one model may take")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    example_inputs(Built(nn.Linear(8, 8)))  # imports what fake tensors need, once and not by each model that is forked
    lines = options.rows.read_text().splitlines() if options.rows and options.rows.exists() else []
    known = {row.name: row for row in (Row(**json.loads(line)) for line in lines)}
    counts = {"awkward": 10**6 * options.awkward, "timm": options.timm, "transformers": options.transformers}
    for kind, count in counts.items():
        if count:
            run(kind, count, options, known)
    for kind in counts:
        summary(kind, list(known.values()))


if __name__ == "__main__":
    main()
