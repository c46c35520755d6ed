"""The user's own script under the monitor: what it learns, and that the script cannot tell that it was there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from nursery import WORKER, Ended, run

from freezelint.facts import Facts
from freezelint.findings import Finding
from freezelint.rule import all_rules, ask, table

EVERYTHING = """
import random, sys
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(3)
random.seed(3)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2))
        self.rnn = nn.GRU(16, 16, batch_first=True)
        self.head = nn.Linear(16, 3)
        self.encoder.requires_grad = False

    def forward(self, x):
        x = checkpoint(self.encoder, x, use_reentrant=False)
        return self.head(self.rnn(x.unsqueeze(1))[0].squeeze(1))


net = Net()
teacher = nn.Linear(8, 3).eval()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
scaler = torch.amp.GradScaler("cpu")
for step in range(6):
    x, y = torch.randn(8, 8), torch.randint(0, 3, (8,))
    with torch.no_grad():
        target = teacher(x).softmax(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = net(x).float()
    loss = nn.functional.cross_entropy(output, y) + 0.1 * (output.softmax(1) - target).square().mean()
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    print(step, loss.item().hex(), random.random())
print([float(p.double().sum()).hex() for p in net.parameters()], torch.randn(1).item().hex(), sys.argv[1:], __name__)
print("to stderr", file=sys.stderr)
sys.exit(3)
"""
ENDLESS = """
import torch
from torch import nn

net = nn.Linear(4, 2)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
try:
    while True:
        try:
            optimizer.zero_grad()
            net(torch.randn(200, 4)).square().mean().backward()
            optimizer.step()
        except Exception:
            print("never reached")
finally:
    print("cleaned up")
"""
BROKEN = """
import torch
from torch import nn


def first_step():
    net = nn.Linear(4, 2)
    net.requires_grad = False
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(torch.randn(3, 4)).square().mean().backward()
    optimizer.step()
    net(torch.randn(3, 5))


first_step()
"""
FORKS = """
import torch
from torch import nn
from torch.utils.data import DataLoader

net = nn.Linear(4, 2)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for batch in DataLoader([torch.full((4,), float(i)) for i in range(12)], batch_size=4, num_workers=1):
    loss = net(batch.requires_grad_()).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("done")
"""
SCRIPTS = {"everything": EVERYTHING, "endless": ENDLESS, "broken": BROKEN, "forks": FORKS}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every script watched; `everything` and `broken` bare as well."""
    folder = tmp_path_factory.mktemp("scripts")
    paths = {}
    for name, text in SCRIPTS.items():
        paths[name] = folder / f"{name}.py"
        paths[name].write_text(text, encoding="utf-8")
    watched = run(paths.values(), folder, steps=20)
    (folder / "bare").mkdir()
    bare = run([paths["everything"], paths["broken"]], folder / "bare", watch=False)
    return dict(zip([*SCRIPTS, "everything bare", "broken bare"], [*watched, *bare], strict=True))


def findings(ended: Ended) -> list[Finding]:
    assert ended.facts is not None, ended.stderr
    facts = Facts.from_json(ended.facts)
    checks = table(frozenset(all_rules()))
    return [*ask(checks, facts), *ask(checks, facts.map, facts)]


def places(ended: Ended) -> set[tuple[str, int]]:
    return {(finding.code, finding.location.line) for finding in findings(ended)}


def test_losses_weights_and_random_streams_are_equal_bit_for_bit(ended: dict[str, Ended]) -> None:
    watched, bare = ended["everything"], ended["everything bare"]
    assert watched.stdout == bare.stdout
    assert "--flag" in watched.stdout
    assert "__main__" in watched.stdout
    assert (watched.code, watched.stderr) == (bare.code, bare.stderr) == (3, bare.stderr)


def test_what_the_script_did_is_told_with_its_lines(ended: dict[str, Ended]) -> None:
    facts = ended["everything"].facts
    assert facts is not None
    assert facts["troubles"] == []
    assert (facts["steps"], facts["backwards"], facts["stopped"]) == (6, 6, "end")
    assert places(ended["everything"]) == {("FRZ101", 17)}
    modules = {one.name: one for one in Facts.from_json(facts).modules}
    assert (modules["teacher"].calls_in_train_mode, modules["teacher"].calls_without_grad) == (0, 6)
    assert (modules["net.head"].calls_in_train_mode, modules["net.head"].calls_without_grad) == (6, 0)
    assert modules["teacher"].place is not None
    assert modules["teacher"].place.line == 31
    assert all(finding.evidence[0].witness == "run" for finding in findings(ended["everything"]))


def test_an_endless_loop_is_stopped_cleanly(ended: dict[str, Ended]) -> None:
    stopped = ended["endless"]
    assert stopped.facts is not None
    assert (stopped.code, stopped.facts["stopped"], stopped.facts["steps"]) == (0, "steps", 20)
    assert stopped.stdout == "cleaned up\n"
    assert stopped.stderr == ""


def test_an_exception_is_the_scripts_own(ended: dict[str, Ended]) -> None:
    watched, bare = ended["broken"], ended["broken bare"]
    assert watched.facts is not None
    assert watched.code == bare.code == 1
    assert watched.stderr.splitlines()[-1] == bare.stderr.splitlines()[-1]
    assert watched.facts["error"]["type"] == "RuntimeError"
    assert "freezelint" not in watched.stderr
    assert watched.facts["error"]["place"][1] == 12
    assert ("FRZ101", 8) in places(watched)


def test_worker_processes_of_the_script_survive(ended: dict[str, Ended]) -> None:
    assert ended["forks"].stdout == "done\n"
    assert ("FRZ401", 9) in places(ended["forks"])


def test_a_notebook_is_told_by_cell(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "import torch\n", "from torch import nn\n"]},
        {"cell_type": "code", "source": ["%%time\n", "net = nn.Linear(4, 2)\n", "net.requires_grad = False\n"]},
        {
            "cell_type": "code",
            "source": [
                "optimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n",
                "net(torch.randn(3, 4)).square().mean().backward()\n",
                "files = !ls\n",
                "%time optimizer.step()",
            ],
        },
    ]
    notebook = tmp_path / "train.ipynb"
    notebook.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
    (ended,) = run([notebook], tmp_path)
    assert [(f.code, f.location.cell, f.location.line) for f in findings(ended)] == [("FRZ101", 3, 3)]


def test_a_module_runs_by_name_with_its_arguments(tmp_path: Path) -> None:
    package = tmp_path / "project"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "train.py").write_text(
        "import sys, torch\nfrom torch import nn\nnet = nn.Linear(4, 2)\nnet.requires_grad = False\n"
        "optimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        "net(torch.randn(3, 4)).square().mean().backward()\noptimizer.step()\nprint(sys.argv[1:])\n"
    )
    facts = tmp_path / "facts.json"
    command = [sys.executable, str(WORKER / "__main__.py"), "script", "--facts", str(facts), "--module"]
    done = subprocess.run(
        [*command, "project.train", "--lr", "1"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "['--lr', '1']\n", done.stderr
    assert places(Ended(0, "", "", json.loads(facts.read_text()))) == {("FRZ101", 4)}


@pytest.mark.skipif(not hasattr(signal, "SIGXCPU"), reason="no such signal on this system")
def test_a_script_that_comes_to_no_step_leaves_what_was_seen(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(ENDLESS.replace("optimizer.step()", "optimizer.step(); print('stepped', flush=True); slow()"))
    script.write_text("import time\n\n\ndef slow():\n    time.sleep(600)\n\n" + script.read_text())
    facts = tmp_path / "facts.json"
    command = [sys.executable, str(WORKER / "__main__.py"), "script", "--facts", str(facts), str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stepped\n"
        process.send_signal(signal.SIGXCPU)
        assert process.stdout.read() == "cleaned up\n"
    left = json.loads(facts.read_text())
    assert (process.returncode, left["stopped"], left["steps"]) == (0, "timeout", 1)
