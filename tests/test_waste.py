"""Measured waste: a pass made twice, with and without what is wasted. Counts and presence; times are never asserted."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("torch")

from nursery import Ended, run

from freezelint.facts import Facts
from freezelint.findings import Evidence
from freezelint.measured import told
from freezelint.rule import all_rules, ask, table
from freezelint.run_stage import verify_targets
from freezelint.settings import Settings

SYSTEMS = Path(__file__).parent / "systems"
HEAD = """
import copy
import torch
from torch import nn

torch.manual_seed(0)


def convolutions():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten())


def linears(*widths):
    return nn.Sequential(*[part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.Tanh())])


"""
TAIL = """
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
print([float(p.detach().double().sum()).hex() for p in net.parameters()], torch.randn(1).item().hex())
"""
INPUT = """
net = nn.Sequential(convolutions(), nn.Linear(64, 2))
net[0].requires_grad_(False)
optimizer = torch.optim.Adam(net[1].parameters())
for step in range(6):
    x = torch.randn(2, 3, 8, 8)
    x.requires_grad_()
    loss = net(x).square().mean()
"""
BACKBONE = """
net = nn.Sequential(convolutions(), nn.Dropout(0.5), nn.Linear(64, 2))
net.load_state_dict(net.state_dict())
optimizer = torch.optim.Adam(net[2].parameters())
for step in range(6):
    loss = net(torch.randn(2, 3, 8, 8)).square().mean()
"""
STACK = """
net = nn.Sequential(nn.Embedding(9, 8), linears(8, 8, 8, 8, 8))
net[1].requires_grad_(False)
optimizer = torch.optim.Adam(net[0].parameters())
for step in range(6):
    loss = net(torch.randint(0, 9, (5,))).square().mean()
"""
TEACHER = """
net = linears(8, 6, 6)
teacher = copy.deepcopy(net).eval()
optimizer = torch.optim.Adam(net.parameters())
for step in range(6):
    x = torch.randn(5, 8)
    loss = (net(x) - teacher(x) + 1).square().mean()
"""
GENERATOR = """
maker, net = linears(4, 8, 8), linears(8, 6, 1)
optimizer = torch.optim.Adam(net.parameters())
other = torch.optim.Adam(maker.parameters())
for step in range(6):
    fake = maker(torch.randn(5, 4))
    loss = net(torch.randn(5, 8)).mean() - net(fake).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(loss.item().hex())
    loss = net(maker(torch.randn(5, 4))).mean()
    other.zero_grad()
    loss.backward()
    other.step()
print([float(p.detach().double().sum()).hex() for p in (*net.parameters(), *maker.parameters())], torch.randn(1).item())
"""
CHECKPOINT = """
from torch.utils.checkpoint import checkpoint

net = nn.Sequential(convolutions(), nn.Linear(64, 2))
net.load_state_dict(net.state_dict())
optimizer = torch.optim.Adam(net[1].parameters())
for step in range(6):
    loss = net[1](checkpoint(net[0], torch.randn(2, 3, 8, 8), use_reentrant=False)).square().mean()
"""
HOOK = """
calls = []
net = nn.Sequential(convolutions(), nn.Linear(64, 2))
net.load_state_dict(net.state_dict())
optimizer = torch.optim.Adam(net[1].parameters())
for step in range(6):
    features = net[0](torch.randn(2, 3, 8, 8))
    features.register_hook(lambda gradient: calls.append(1))
    loss = net[1](features).square().mean() + len(calls)
"""
FUNCTION = """
class Twice(torch.autograd.Function):
    calls = 0

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        Twice.calls += 1
        return gradient * 2


net = nn.Sequential(convolutions(), nn.Linear(64, 2))
net.load_state_dict(net.state_dict())
optimizer = torch.optim.Adam(net[1].parameters())
for step in range(6):
    loss = net[1](Twice.apply(net[0](torch.randn(2, 3, 8, 8)))).square().mean() + Twice.calls
"""
SCRIPTS = {
    "FRZ401": INPUT + TAIL,
    "FRZ402": BACKBONE + TAIL,
    "FRZ403": STACK + TAIL,
    "FRZ405": TEACHER + TAIL,
    "FRZ406": GENERATOR,
    "checkpoint": CHECKPOINT + TAIL,
    "hook": HOOK + TAIL,
    "function": FUNCTION + TAIL,
}
# code: dgrad and wgrad operations of the measured pass, as the script makes it and without the waste
OPERATIONS = {
    "FRZ401": ((3, 1), (0, 1)),
    "FRZ402": ((2, 3), (0, 1)),
    "FRZ403": ((4, 0), (0, 0)),
    "FRZ405": ((2, 4), (1, 2)),
    "FRZ406": ((4, 6), (2, 4)),
}
REASONS = {
    "checkpoint": "forward saves its tensors through hooks (checkpointing)",
    "hook": "a hook of the script's hears every pass",
    "function": "the pass runs Python code (Twice)",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ended, Ended]]:
    """Every script watched and bare."""
    folder = tmp_path_factory.mktemp("waste")
    paths = [folder / f"{name}.py" for name in SCRIPTS]
    for path, text in zip(paths, SCRIPTS.values(), strict=True):
        path.write_text(HEAD + text, encoding="utf-8")
    (folder / "bare").mkdir()
    watched = run(paths, folder, steps=20)
    return dict(zip(SCRIPTS, zip(watched, run(paths, folder / "bare", watch=False), strict=True), strict=True))


def evidence(ended: Ended, code: str) -> Evidence:
    assert ended.facts is not None, ended.stderr
    assert ended.facts["troubles"] == []
    facts = Facts.from_json(ended.facts)
    (found,) = [finding for finding in ask(table(frozenset(all_rules())), facts) if finding.code == code]
    return found.evidence[0]


@pytest.mark.parametrize("name", SCRIPTS)
def test_losses_weights_and_random_streams_are_equal_bit_for_bit(
    name: str, ended: dict[str, tuple[Ended, Ended]]
) -> None:
    watched, bare = ended[name]
    assert watched.stdout == bare.stdout
    assert (watched.stderr, watched.code) == (bare.stderr, bare.code) == ("", 0)


@pytest.mark.parametrize("code", OPERATIONS)
def test_operations_are_counted_with_and_without_the_waste(code: str, ended: dict[str, tuple[Ended, Ended]]) -> None:
    found = evidence(ended[code][0], code)
    seen = found.numbers
    both = [(seen[f"dgrad_operations{end}"], seen[f"wgrad_operations{end}"]) for end in ("", "_without")]
    assert tuple(both) == OPERATIONS[code]
    assert seen["peak_bytes"] > seen["peak_bytes_without"]
    assert seen["backward_ms"] > 0
    assert seen["rounds"] >= 3
    assert "backward " in found.detail
    assert "dgrad operations " in found.detail


@pytest.mark.parametrize("name", REASONS)
def test_a_pass_that_runs_python_code_is_not_made_twice(name: str, ended: dict[str, tuple[Ended, Ended]]) -> None:
    found = evidence(ended[name][0], "FRZ402")
    assert f"not measured: {REASONS[name]}" in found.detail
    assert "backward_ms" not in found.numbers


def test_a_built_model_makes_whole_steps() -> None:
    settings = Settings(python=Path(sys.executable), steps=2, device="cpu")
    targets = [{"name": "embedding_only", "build": f"{SYSTEMS / 'embedding_only.py'}:build"}]
    (facts,) = verify_targets(targets, settings, SYSTEMS, lambda _text: None).facts
    (stack,) = facts.of("frozen_stack")
    assert (stack.numbers["dgrad_operations"], stack.numbers["wgrad_operations"]) == (23, 0)
    assert (stack.numbers["dgrad_operations_without"], stack.numbers["wgrad_operations_without"]) == (0, 0)
    assert stack.numbers["peak_bytes"] > stack.numbers["peak_bytes_without"]
    assert "step_ms_without" in stack.numbers
    assert all(parameter.moved_while_frozen == 0 for parameter in facts.parameters)


def test_the_profiler_sees_the_counted_operations_in_their_order() -> None:
    import torch

    from freezelint.worker.gauge import Count
    from freezelint.worker.kernels import by_role, heavy

    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3), torch.nn.Flatten(), torch.nn.Linear(64, 2)
    )

    def work(count: Count | None) -> None:
        loss = model(torch.ones(2, 3, 8, 8)).square().mean()
        if count is not None:
            count.listen([loss])
        loss.backward()

    count = Count()
    with count:
        work(count)
    count.close()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        work(None)
    seen = [name for name, _ in heavy(profile.events())]
    assert seen == [name for name, _ in count.sequence]
    kernels = by_role([(name, 2) for name in seen], count.sequence)
    assert kernels == {"dgrad_kernels": 2, "wgrad_kernels": 4, "dgrad_wgrad_kernels": 2}
    assert by_role([("aten::mm", 1)], count.sequence) == {}


def test_kernels_are_counted_on_a_gpu() -> None:
    import torch

    from freezelint.worker.gauge import Count, compare

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model = torch.nn.Linear(8, 8, device="cuda")
    x = torch.ones(4, 8, device="cuda", requires_grad=True)

    def work(inputs: list[torch.Tensor], count: Count | None) -> None:
        loss = model(x).square().mean()
        if count is not None:
            count.listen([loss])
        torch.autograd.grad(loss, inputs)

    now, without = partial(work, [x, *model.parameters()]), partial(work, list(model.parameters()))
    numbers = compare("backward", now, without, torch.device("cuda"))
    assert numbers["dgrad_kernels"] > numbers["dgrad_kernels_without"] == 0
    assert numbers["wgrad_kernels"] == numbers["wgrad_kernels_without"] > 0


def test_figures_are_told_in_one_line() -> None:
    times = {"step_ms": 12.4, "step_spread_ms": 0.31, "step_ms_without": 9.13, "step_spread_ms_without": 0.2}
    counts = {
        "dgrad_operations": 86,
        "dgrad_operations_without": 0,
        "wgrad_operations": 2,
        "wgrad_operations_without": 2,
    }
    memory = {"peak_bytes": 300_000_000, "peak_bytes_without": 65_000_000, "rounds": 5, "rounds_faster_without": 5}
    figures = "step 12.4 ms (±0.31), without it 9.1 ms (±0.2), 0.74x, dgrad operations 86 → 0, peak memory -235 MB"
    assert told({**times, **counts, **memory}, "") == figures
    assert "no clear difference" in told({**times, **counts, **memory, "rounds_faster_without": 2}, "")
    assert told({}, "the run ended") == "not measured: the run ended"
    assert told({"steps": 2}, "") == ""
