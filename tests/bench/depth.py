"""How the time of a trace grows with depth: a RoBERTa-like encoder of 2 to 80 layers, in seconds of processor time.

    python tests/bench/depth.py [--llama]

Prints a row and a bar for each depth, the time for one layer, and beside it one real forward and backward. `--llama`
traces Llama-70B from its config instead, as `freezelint trace` does, in a process of its own; it needs transformers.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "systems")]

from networks import Roberta  # noqa: E402

from freezelint.worker.capture import record  # noqa: E402
from freezelint.worker.cost import Costs  # noqa: E402
from freezelint.worker.flow import Flow  # noqa: E402
from freezelint.worker.inputs import Inputs  # noqa: E402
from freezelint.worker.mapping import Mapper  # noqa: E402
from freezelint.worker.trace import trace  # noqa: E402

DEPTHS = (2, 5, 10, 20, 40, 80)


def measure(layers: int) -> tuple[int, float, float]:
    """Operations of the forward pass, processor seconds of trace, map and costs, and of a real step."""
    model = Roberta(vocabulary=1000, width=768, heads=12, layers=layers, length=128, classes=2)
    tokens = torch.randint(0, 1000, (2, 128))
    started = time.process_time()
    recording = record(model, Inputs((tokens,)))
    flow = Flow(recording)
    Costs(flow)
    Mapper(flow).build()
    traced = time.process_time() - started
    started = time.process_time()
    model(tokens).square().mean().backward()
    return len(recording.recorder.ops), traced, time.process_time() - started


def llama_70b() -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80}
    model: torch.nn.Module = LlamaForCausalLM(LlamaConfig(num_attention_heads=64, num_key_value_heads=8, **sizes))
    return model


def llama() -> None:
    """Everything that a trace of it takes in this process, imports included."""
    target = {"build": f"{__file__}:llama_70b", "inputs": {"input_ids": "int64[1,512]<32000"}}
    report = trace({"target": target})
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    elements = sum(row["own_elements"] for row in report["modules"])
    print(f"Llama-70B: {elements / 1e9:.1f} G parameters, {report['operations']} operations, traced on "
          f"{report['method']} tensors in {time.process_time():.1f} s of processor time, {memory:.2f} GB")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", action="store_true")
    torch.set_num_threads(1)
    if parser.parse_args().llama:
        llama()
        return
    measure(1)  # the first trace imports what the others use
    rows = [(depth, *measure(depth)) for depth in DEPTHS]
    longest = max(row[2] for row in rows)
    print("layers  operations  trace s  s a layer  real step s  trace / real")
    for depth, operations, traced, real in rows:
        bar = "#" * round(40 * traced / longest)
        figures = f"{traced:7.2f}  {traced / depth:9.4f}  {real:11.2f}  {traced / real:12.2f}"
        print(f"{depth:6d}  {operations:10d}  {figures}  {bar}")


if __name__ == "__main__":
    main()
