"""The monitor is a guest: scripts that end in odd ways, start processes or look at torch from inside notice nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from nursery import Ended, run
from tool import freezelint

HEAD = """
import os, sys, threading
import torch
from torch import nn

torch.manual_seed(1)
net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


def step():
    opt.zero_grad()
    loss = net(torch.randn(6, 4)).square().mean()
    loss.backward()
    opt.step()
    return loss.item().hex()


def state():
    return [p.double().sum().item().hex() for p in net.parameters()], torch.randn(1).item().hex()


"""
SCRIPTS = {
    "leaves with a text": 'step()\nsys.exit("bad luck")\n',
    "leaves with a code": "step()\ntry:\n    sys.exit(7)\nfinally:\n    print(state())\n",
    "leaves at once": "step()\nprint(state(), flush=True)\nos._exit(9)\n",
    "knows its file": 'step()\nos.chdir("/")\nprint(os.path.isfile(__file__), os.path.isabs(__file__))\n',
    "swallows all": "for i in range(4):\n    try:\n        print(step())\n    except BaseException:\n        pass\n",
    "starts processes": """
import multiprocessing, subprocess
step()
child = os.fork()
if child == 0:
    print("child", step(), flush=True)
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
other = multiprocessing.get_context("fork").Process(target=step)
other.start()
other.join()
print(other.exitcode, subprocess.run([sys.executable, "-c", "print(42)"], capture_output=True).stdout, state())
""",
    "trains in a thread": """
losses = []
worker = threading.Thread(target=lambda: losses.extend(step() for _ in range(5)))
worker.start()
worker.join()
print(losses, state())
""",
    "records its module": """
torch.jit.trace(net.eval(), torch.ones(3, 4))
print(torch.jit.script(net)(torch.ones(2, 4)).sum().item().hex(), torch.fx.symbolic_trace(net)(torch.ones(2, 4)).shape)
weights = dict(net.named_parameters())
value = torch.func.grad(lambda w, x: torch.func.functional_call(net, w, (x,)).sum())(weights, torch.ones(2, 4))
print(value["0.weight"].sum().item().hex(), torch.func.vmap(lambda x: net(x[None])[0])(torch.ones(3, 4)).sum().item())
net.train()
print(step(), state())
""",
    "listens itself": """
import copy, pickle
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

calls, kernels, heard = [], [], []
class Calls(TorchFunctionMode):
    def __torch_function__(self, f, types, args=(), kwargs=None):
        calls.append(f.__name__)
        return f(*args, **(kwargs or {}))
class Kernels(TorchDispatchMode):
    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        kernels.append(str(f))
        return f(*args, **(kwargs or {}))
net[0].register_forward_hook(lambda *given: heard.append("forward"))
net[4].weight.register_hook(lambda gradient: gradient * 2)
opt.register_step_post_hook(lambda *given: heard.append("step"))
with Calls():
    print(step())
with Kernels():
    print(step())
print([name for name in calls if name != "__get__"], kernels, heard)
print(sorted(vars(net)), type(copy.deepcopy(opt)), len(pickle.dumps(copy.deepcopy(net[1]))))
print(state())
""",
}
RAISES = """
step()
try:
    net(torch.randn(2, 9))
except RuntimeError as error:
    raise ValueError("wrapped") from error
"""
SLOW = """
import time
net.requires_grad = False
step()
print("stepped", flush=True)
time.sleep(60)
"""
DISTRIBUTED = """
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
net[0].requires_grad = False
net = DistributedDataParallel(net)
step()
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ended, Ended]]:
    """Each script watched and bare."""
    folder = tmp_path_factory.mktemp("hosts")
    (folder / "bare").mkdir()
    paths = [folder / f"script{number}.py" for number in range(len(SCRIPTS) + 1)]
    for path, text in zip(paths, [*SCRIPTS.values(), RAISES], strict=True):
        path.write_text(HEAD + text, encoding="utf-8")
    watched, bare = run(paths, folder, steps=20), run(paths, folder / "bare", watch=False)
    return dict(zip([*SCRIPTS, "raises"], zip(watched, bare, strict=True), strict=True))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_prints_computes_and_ends_as_without_us(name: str, ended: dict[str, tuple[Ended, Ended]]) -> None:
    watched, bare = ended[name]
    assert (watched.stdout, watched.stderr, watched.code) == (bare.stdout, bare.stderr, bare.code)
    assert watched.facts is not None
    assert watched.facts["troubles"] == []
    assert watched.facts["steps"] > 0


def test_no_line_of_ours_in_what_an_exception_was_raised_from(ended: dict[str, tuple[Ended, Ended]]) -> None:
    watched, bare = ended["raises"]
    assert "direct cause" in watched.stderr
    assert "freezelint" not in watched.stderr
    assert watched.stderr.splitlines()[-1] == bare.stderr.splitlines()[-1] == "ValueError: wrapped"


def listening() -> None:
    """Hear an interrupt, where the tests run in the background of a shell too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name == "nt", reason="signals as on Unix")
def test_an_interrupt_stops_the_script_and_what_was_learnt_is_told(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(HEAD + SLOW, encoding="utf-8")
    command = [sys.executable, "-m", "freezelint", "run", "--output-format", "concise", "--no-cache"]
    process = subprocess.Popen(
        [*command, "--python", sys.executable, "--steps", "9", "slow.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=listening,  # noqa: PLW1509  no threads here
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "stepped\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "slow.py:25:1: FRZ101" in out
    assert "`slow.py` was interrupted after 1 step" in out


def test_two_processes_of_torchrun_make_one_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "train.py").write_text(HEAD + DISTRIBUTED, encoding="utf-8")
    launcher = ["--", "--standalone", "--nproc-per-node", "2", "train.py"]
    options = ["--output-format", "json", "--no-cache", "--python", sys.executable]
    result = freezelint("run", *options, "-m", "torch.distributed.run", *launcher)
    assert [(one["code"], one["location"]["row"]) for one in result.findings] == [("FRZ101", 28)], result.err
