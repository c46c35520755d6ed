"""The zoo: how many models are captured, and whether reach and FLOPs equal a real forward and backward.

    python tests/bench/zoo.py --timm 100 --transformers 100 --awkward

Needs timm and transformers beside torch; a library that does not import is skipped with a line that says why. Models
come from configs with random weights, shallow where their config has a depth, so that the real steps take seconds.
For each model: everything trainable, and a random prefix, middle and scattered freeze. torch's own FLOP counter is the
oracle, corrected where it is wrong (grouped weight gradients; fused attention and LSTM on the CPU; vectors).
"""

from __future__ import annotations

import argparse
import gc
import random
import signal
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import flop_counter
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from freezelint.gradient_map import GradientMap  # noqa: E402
from freezelint.worker.capture import named_tensors, record  # noqa: E402
from freezelint.worker.cost import Costs  # noqa: E402
from freezelint.worker.flow import Flow  # noqa: E402
from freezelint.worker.guess import example_inputs  # noqa: E402
from freezelint.worker.inputs import Inputs  # noqa: E402
from freezelint.worker.mapping import Mapper  # noqa: E402
from freezelint.worker.targets import Built  # noqa: E402
from freezelint.worker.trace import one_line  # noqa: E402

SHALLOW = {  # config entries that are lowered: depths, widths of the inner layers, vocabulary
    "num_hidden_layers": 2, "encoder_layers": 2, "decoder_layers": 2, "num_layers": 2, "n_layer": 2, "n_layers": 2,
    "num_decoder_layers": 2, "num_encoder_layers": 2, "vocab_size": 1024, "bos_token_id": 0, "eos_token_id": 1,
    "pad_token_id": 2, "intermediate_size": 512, "ffn_dim": 512, "d_ff": 512, "encoder_ffn_dim": 512,
    "decoder_ffn_dim": 512, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
    "moe_intermediate_size": 256, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
}  # fmt: skip
SMALL = "atto femto pico nano tiny xxs _xs mini small 18 _s0 _b0 _a0 050 026 lite".split()  # of each family, first
LIMIT_S = 60
Freeze = set[str]


@dataclass
class Row:
    """One model: what became of it."""

    name: str
    inputs: bool = False
    captured: str = ""  # "fake", "real" or empty
    reason: str = ""
    freezes: int = 0
    reach_equal: int = 0
    map_equal: int = 0
    flops_compared: int = 0
    flops_equal: int = 0
    build_s: float = 0.0
    record_s: list[float] = field(default_factory=list)
    real_s: list[float] = field(default_factory=list)
    parameters: int = 0

    def __str__(self) -> str:
        if not self.captured:
            return f"{self.name:44s} not captured: {self.reason}"
        ratio = statistics.median(self.record_s) / statistics.median(self.real_s)
        said = f" ({self.reason})" if self.reason else ""
        return (
            f"{self.name:44s} {self.captured:4s} reach {self.reach_equal}/{self.freezes} map {self.map_equal}/"
            f"{self.freezes} flops {self.flops_equal}/{self.flops_compared} {self.parameters / 1e6:6.1f} M"
            f" record/real {ratio:5.2f} record/build {statistics.median(self.record_s) / self.build_s:5.2f}{said}"
        )


class TooSlowError(Exception):
    """A model took longer than the limit."""


def freezes(names: list[str]) -> Iterator[Freeze]:
    """The trainable names: all, all but a prefix, all but a middle, a scattered half."""
    choose = random.Random(len(names))
    cut, a, b = choose.randrange(len(names)), *sorted(choose.randrange(len(names)) for _ in range(2))
    yield set(names)
    yield set(names[cut:])
    yield {*names[:a], *names[b:]}
    yield {name for name in names if choose.random() < 0.5}


def examine(name: str, make: Callable[[], nn.Module], inputs: Inputs | None = None) -> Row:
    row = Row(name)
    started = time.perf_counter()
    torch.manual_seed(0)
    model = make()
    row.build_s = time.perf_counter() - started
    row.parameters = sum(p.numel() for p in model.parameters())
    try:
        inputs = inputs or example_inputs(Built(model))
        row.inputs = True
        for keep in freezes([name for name, _ in model.named_parameters()]):
            one_freeze(row, model, inputs, keep)
    except TooSlowError:
        raise
    except Exception as error:
        row.captured, row.reason = "", one_line(error)[:150]
    return row


def one_freeze(row: Row, model: nn.Module, inputs: Inputs, keep: Freeze) -> None:
    started = time.perf_counter()
    try:
        recording = record(model, inputs, freeze=lambda name, _on: name in keep)
        row.captured = "fake"
    except TooSlowError:
        raise
    except Exception as error:
        row.captured, row.reason = "real", one_line(error)[:80]
        recording = record(model, inputs, freeze=lambda name, _on: name in keep, real=True)
    row.record_s.append(time.perf_counter() - started)
    flow = Flow(recording)
    total = Costs(flow).total()
    reach, graph_reach = recording.reached(), reached_in_map(flow)
    del recording, flow
    started = time.perf_counter()
    truth, forward, backward = real_step(model, inputs, keep)
    row.real_s.append(time.perf_counter() - started)
    row.freezes += 1
    row.reach_equal += reach == truth
    row.map_equal += graph_reach == truth
    row.flops_compared += forward >= 0
    row.flops_equal += (forward, backward) == (total.forward_flops, total.backward_flops + total.recompute_flops)


def reached_in_map(flow: Flow) -> set[str]:
    graph = GradientMap.from_json(Mapper(flow).build())
    return {node.name for node in graph.parameters(graph.reached([loss.id for loss in graph.losses()]))}


def real_step(model: nn.Module, inputs: Inputs, keep: Freeze) -> tuple[set[str], int, int]:
    """Parameters with a gradient, and torch's own counts of forward and backward; -1 where its counter fails."""
    try:
        return counted_step(model, inputs, keep, FlopCounterMode)
    except RuntimeError as error:
        if "_will_engine_execute_node" not in str(error):
            raise
        return counted_step(model, inputs, keep, NoCounter)


class NoCounter(nullcontext[Any]):
    """Stands where torch's counter cannot follow `autograd.grad` inside a forward."""

    def __init__(self, **_options: Any) -> None:
        super().__init__(self)

    def get_total_flops(self) -> int:
        return -1


def counted_step(model: nn.Module, inputs: Inputs, keep: Freeze, counter: Any) -> tuple[set[str], int, int]:
    for name, parameter in model.named_parameters():
        parameter.grad = None
        if parameter.is_floating_point():
            parameter.requires_grad_(name in keep)
    torch.manual_seed(0)
    with counter(display=False, custom_mapping=CORRECTED) as forward:
        output = model(*inputs.args, **inputs.kwargs)
    own = output.get("loss") if isinstance(output, dict) else None
    ends = [own] if isinstance(own, torch.Tensor) else [t for _, t in named_tensors(output, "o")]
    ends = [t for t in ends if t.requires_grad]
    with counter(display=False, custom_mapping=CORRECTED) as backward:
        if ends:
            torch.autograd.backward(ends, [torch.ones_like(t) for t in ends])
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    return reached, forward.get_total_flops(), backward.get_total_flops()


def convolution_backward(
    grad: Any, x: Any, weight: Any, _bias: Any, _stride: Any, _padding: Any, _dilation: Any, transposed: bool,
    _output_padding: Any, _groups: int, mask: Any, **_shapes: Any,
) -> int:  # fmt: skip
    return 2 * prod(x if transposed else grad) * prod(weight[1:]) * (int(mask[0]) + int(mask[1]))


def fused(query: Any, key: Any, value: Any, *_more: Any, **_shapes: Any) -> int:
    return flop_counter.sdpa_flop_count(query, key, value)


def fused_backward(grad: Any, query: Any, key: Any, value: Any, *_more: Any, **_shapes: Any) -> int:
    return flop_counter.sdpa_backward_flop_count(grad, query, key, value)


def lstm(x: Any, weight_ih: Any, weight_hh: Any, *_more: Any, **_shapes: Any) -> int:
    return 2 * prod(x[:-1]) * (prod(weight_ih) + prod(weight_hh))


CORRECTED = {
    torch.ops.aten.mv: lambda matrix, _vector, **_shapes: 2 * prod(matrix),
    torch.ops.aten.dot: lambda vector, _other, **_shapes: 2 * prod(vector),
    torch.ops.aten.mkldnn_rnn_layer: lstm,
    torch.ops.aten.mkldnn_rnn_layer_backward: lambda *shapes, **more: 2 * lstm(*shapes, **more),
    torch.ops.aten.convolution_backward: convolution_backward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: fused,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: fused_backward,
}


def timm_models(count: int) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    import timm

    families: dict[str, list[str]] = {}
    for name in timm.list_models():
        families.setdefault(timm.models.model_entrypoint(name).__module__, []).append(name)
    for names in families.values():
        names.sort(key=lambda name: not any(size in name for size in SMALL))
    order = [names[i] for i in range(max(map(len, families.values()))) for names in families.values() if i < len(names)]
    for name in order[:count]:
        yield f"timm:{name}", lambda name=name: timm.create_model(name, pretrained=False)


def transformers_models(count: int) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    import transformers

    def make(kind: str) -> nn.Module:
        config = transformers.AutoConfig.for_model(kind)
        for part in [config, *vars(config).values()]:
            for name, most in SHALLOW.items():
                if isinstance(vars(part).get(name) if hasattr(part, "__dict__") else None, int):
                    setattr(part, name, min(most, getattr(part, name)))
        model: nn.Module = transformers.AutoModel.from_config(config)
        return model

    names = sorted(transformers.models.auto.modeling_auto.MODEL_MAPPING_NAMES)
    for name in names[:: max(1, len(names) // (count + count // 3))]:
        yield f"transformers:{name}", lambda name=name: make(name)


def run(title: str, models: Iterator[tuple[str, Callable[[], nn.Module]]]) -> list[Row]:
    rows: list[Row] = []
    while True:
        try:
            name, make = next(models)
        except StopIteration:
            return rows
        except ImportError as error:
            print(f"{title}: skipped, {one_line(error)}")
            return rows
        row = within_limit(name, make)
        if row is not None:
            rows.append(row)
            print(row, flush=True)
        gc.collect()


def within_limit(name: str, make: Callable[[], nn.Module]) -> Row | None:
    """None where the model itself cannot be built from its config."""

    def stop(_signal: int, _frame: Any) -> None:
        raise TooSlowError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    try:
        return examine(name, make)
    except TooSlowError:
        print(f"{name:44s} left out: more than {LIMIT_S} s on this machine", flush=True)
        return None
    except Exception as error:
        print(f"{name:44s} left out: cannot be built: {one_line(error)[:100]}", flush=True)
        return None
    finally:
        signal.alarm(0)


def awkward_rows() -> list[Row]:
    import awkward

    rows = []
    for name, make in awkward.CASES.items():
        torch.manual_seed(0)
        model, args = make()
        rows.append(examine(f"awkward:{name}", lambda model=model: model, Inputs(args)))
        print(rows[-1], flush=True)
    return rows


def summary(title: str, rows: list[Row]) -> None:
    if not rows:
        return
    captured = [row for row in rows if row.captured]
    freezes_made = sum(row.freezes for row in captured)
    print(f"\n{title}: {len(rows)} models, inputs inferred for {sum(row.inputs for row in rows)}, "
          f"captured {len(captured)} ({sum(row.captured == 'fake' for row in captured)} on fake tensors)")  # fmt: skip
    for label, key in (("reach", "reach_equal"), ("map", "map_equal"), ("FLOPs", "flops_equal")):
        equal = sum(getattr(row, key) for row in captured)
        of = sum(row.flops_compared for row in captured) if label == "FLOPs" else freezes_made
        print(f"  {label} equal to the real step: {equal} of {of} freezes")
    for least in (0, 50):
        chosen = [row for row in captured if row.parameters >= least * 1e6]
        if chosen:
            real = [statistics.median(row.record_s) / statistics.median(row.real_s) for row in chosen]
            build = [statistics.median(row.record_s) / row.build_s for row in chosen]
            print(f"  of {least} M parameters and more ({len(chosen)} models): medians of record / real step "
                  f"{statistics.median(real):.2f}, record / build {statistics.median(build):.2f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timm", type=int, default=0, metavar="N")
    parser.add_argument("--transformers", type=int, default=0, metavar="N")
    parser.add_argument("--awkward", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if options.awkward:
        summary("awkward", awkward_rows())
    if options.timm:
        summary("timm", run("timm", timm_models(options.timm)))
    if options.transformers:
        summary("transformers", run("transformers", transformers_models(options.transformers)))


if __name__ == "__main__":
    main()
