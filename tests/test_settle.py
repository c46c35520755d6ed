"""The three witnesses together: what is confirmed, refuted or left open, and one clear line for each bad input."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tool import freezelint, write

from freezelint import book
from freezelint.facts import Facts, Parameter
from freezelint.findings import Claim, ClaimKind, Evidence, Finding, Location, Related, Verdict
from freezelint.gradient_map import GradientMap
from freezelint.records import replace
from freezelint.settle import in_run, listed, merge, same, settled

ALL = frozenset(book.codes())
MODEL = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(4, 4)
        self.body = nn.Linear(4, 4)
        self.body.requires_grad = False

    def forward(self, x):
        return self.body(self.encoder(x))
"""
# the second pass meets the graph of the first, freed by then
SCALED = MODEL.replace("self.body.requires_grad = False", "self.scale = nn.Parameter(torch.ones(4)).exp()").replace(
    "self.encoder(x))", "self.encoder(x)) * self.scale"
)
SCRIPT = """import torch
from models import Net

net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    loss = net(torch.ones(2, 4)).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finding(code: str, line: int, *, related: int = 0, by: str = "", path: str = "a.py") -> Finding:
    places = (Related(Location(path, related), "here"),) if related else ()
    evidence = (Evidence(by, Verdict.CONFIRMED, "seen"),) if by else ()
    claim = Claim(ClaimKind.STILL_TRAINS, "net")
    return Finding(code, "m", Location(path, line), related=places, claim=claim, evidence=evidence)


def facts(*lines: int, steps: int = 2, device: str = "cpu") -> Facts:
    seen = {(str(Path("a.py").absolute()), None): frozenset(lines)}
    return Facts("run", device, "2.13", steps, steps, 0.1, "steps", GradientMap("run"), seen=seen)


def test_later_witness_confirms_or_adds() -> None:
    known = [finding("FRZ101", 3)]
    merged = merge(known, [finding("FRZ101", 3, by="run"), finding("FRZ201", 9, by="run")])
    assert [(one.code, [item.witness for item in one.evidence]) for one in merged] == [
        ("FRZ101", ["run"]),
        ("FRZ201", ["run"]),
    ]


def test_one_cut_under_two_codes_or_from_two_ends_is_one_mistake() -> None:
    assert same(finding("FRZ301", 3), finding("FRZ302", 3))
    assert same(finding("FRZ301", 3), finding("FRZ301", 4, related=3))
    assert same(finding("FRZ301", 4, related=3), finding("FRZ301", 3))
    assert not same(finding("FRZ301", 3), finding("FRZ401", 3))
    assert not same(finding("FRZ401", 3), finding("FRZ401", 4, related=3))


@pytest.mark.parametrize(
    ("code", "line", "steps", "device", "verdict", "said"),
    [
        ("FRZ101", 3, 2, "cpu", Verdict.REFUTED, "the line ran, and 2 steps showed nothing of it"),
        ("FRZ101", 9, 2, "cpu", Verdict.UNSETTLED, "line 3 did not run"),
        ("FRZ101", 3, 0, "cpu", Verdict.UNSETTLED, "no optimizer step was made"),
        ("FRZ312", 3, 2, "cpu", Verdict.UNSETTLED, "it shows on a CUDA device only"),
        ("FRZ312", 3, 2, "cuda:0", Verdict.REFUTED, "the line ran, and 2 steps showed nothing of it"),
    ],
)
def test_what_a_run_did_not_show(code: str, line: int, steps: int, device: str, verdict: Verdict, said: str) -> None:
    (evidence,) = settled(finding(code, 3), [facts(line, steps=steps, device=device)], ALL).evidence
    assert (evidence.verdict, evidence.detail) == (verdict, said)


def test_what_a_run_cannot_see_is_left_alone() -> None:
    source_only = finding("FRZ108", 3)
    assert settled(source_only, [facts(3)], ALL) == source_only


def test_what_the_graph_confirmed_is_not_refuted() -> None:
    starved = replace(finding("FRZ301", 3, by="graph"), claim=Claim(ClaimKind.STARVED, "net"))
    (_, evidence) = settled(starved, [facts(3)], ALL).evidence
    assert (evidence.verdict, evidence.detail) == (Verdict.UNSETTLED, "the run did not see it")


def test_run_of_a_model_alone_does_not_refute_what_the_training_decides() -> None:
    (evidence,) = settled(finding("FRZ201", 3), [facts(3)], frozenset({"FRZ101"})).evidence
    assert (evidence.verdict, evidence.detail[:25]) == (Verdict.UNSETTLED, "only a run of the trainin")


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        ("net.a", "`net.a.weight` had no gradient in 2 steps"),
        ("loss", "`net.a.weight`, `net.ab.weight` had no gradient in 2 steps"),
        ("net.c", "2 steps showed it"),
    ],
)
def test_a_run_names_the_parameters_of_the_finding_alone(subject: str, told: str) -> None:
    names = {"net.a.weight": 0, "net.ab.weight": 0, "net.c.weight": 2}
    rows = tuple(Parameter(name, 4, True, 1, steps, 0, 2 - steps, 0.0) for name, steps in names.items())
    starved = replace(finding("FRZ301", 3), claim=Claim(ClaimKind.STARVED, subject))
    (evidence,) = in_run(starved, replace(facts(3), parameters=rows)).evidence
    assert evidence.detail == told


def test_listed() -> None:
    assert listed(["a"]) == "`a`"
    assert listed(["a", "b", "c", "d"]) == "`a`, `b` and 2 more parameters"


def test_no_model_to_trace_is_one_line(folder: Path) -> None:
    write(folder, {"a.py": "import torch\n"})
    result = freezelint("--trace", "--output-format", "concise")
    assert result.code == 0
    assert result.out.splitlines()[0].startswith(".:1:1: FRZ003 hint: no model to trace")


def test_interpreter_that_does_not_exist_or_has_no_torch_keeps_the_static_result(folder: Path) -> None:
    write(folder, {"models.py": MODEL})
    result = freezelint("--trace", "--python", "nowhere/python", "--output-format", "concise")
    assert "FRZ003 the interpreter nowhere/python does not exist" in result.out
    assert "models.py:10:9: FRZ101 [*]" in result.out
    assert "Traceback" not in result.out + result.err


def test_missing_script_module_and_target(folder: Path) -> None:
    pytest.importorskip("torch")
    result = freezelint("trace", "gone:build", "--output-format", "concise")
    assert (result.code, result.out) == (2, "")
    assert "freezelint: `gone:build` was not traced: there is no module `gone`\n" in result.err


def test_trace_and_verify_confirm(folder: Path) -> None:
    pytest.importorskip("torch")
    write(
        folder,
        {
            "models.py": MODEL,
            "raises.py": "import torch\nfrom torch import nn\n\nraise OSError('no disk')\n" + MODEL,
            "scaled.py": SCALED,
        },
    )
    result = freezelint("--trace", "--verify", "--python", sys.executable)
    assert "models.py:10:9: FRZ101 [*] `self.body.requires_grad = False`" in result.out
    assert "    verify: confirmed on " in result.out
    assert "raises.py:4:1: FRZ003 `raises:Net` was not traced: OSError: no disk" in result.out
    assert "models:Net: " in result.out
    assert "2 models traced" in result.out
    assert "scaled.py:5:1: FRZ004 `scaled:Net` raised RuntimeError after 1 step" in result.out
    assert "verify: confirmed on cpu, the tensor in the place of the parameter has a graph" in result.out
    assert "Traceback" not in result.out + result.err


def test_run_confirms_and_refutes(folder: Path) -> None:
    pytest.importorskip("torch")
    write(folder, {"models.py": MODEL, "train.py": SCRIPT})
    found = freezelint("run", "--output-format", "json", "--python", sys.executable, "train.py").findings
    assert [(Path(one["filename"]).name, one["location"]["row"], one["code"]) for one in found] == [
        ("models.py", 10, "FRZ101")
    ]
    (evidence,) = found[0]["evidence"]
    assert (evidence["witness"], evidence["verdict"]) == ("run", "confirmed")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import torch\nprint('hi')\n", "made no optimizer step: nothing"),
        ("import sys\n\nsys.exit(2)\n", "made no optimizer step (it ended with exit code 2): nothing"),
        (
            "import torch\n\nraise ValueError('bad\\nvalue')\n",
            "train.py:3:1: FRZ004 `train.py` raised ValueError after 0 steps: bad value",
        ),
        (
            "import torch\n\nexec(compile('x = 1\\n1 = x\\n', 'made.py', 'exec'))\n",
            "train.py:3:1: FRZ004 `train.py` raised SyntaxError after 0 steps: ",
        ),
    ],
)
def test_script_that_never_trains_or_fails_is_one_line(folder: Path, script: str, said: str) -> None:
    pytest.importorskip("torch")
    write(folder, {"train.py": script})
    result = freezelint("run", "--output-format", "concise", "--python", sys.executable, "train.py")
    assert said in result.out
    assert "Found 1 " in result.out


MOVED = """import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8))
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.backbone(x))


net = Net()
net.backbone.requires_grad_(False)
net.to("cpu")
optimizer = torch.optim.AdamW(net.head.parameters(), lr=1e-3)
for _ in range(3):
    loss = net(torch.randn(8, 4)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def test_moving_a_model_gives_it_no_weights(folder: Path) -> None:
    pytest.importorskip("torch")
    write(folder, {"train.py": MOVED})
    found = freezelint("run", "--output-format", "json", "--python", sys.executable, "train.py").findings
    assert [(one["code"], one["evidence"][0]["verdict"]) for one in found] == [("FRZ107", "confirmed")]


def test_a_script_that_does_not_parse_is_told_at_its_line(folder: Path) -> None:
    pytest.importorskip("torch")
    write(folder, {"train.py": "import torch\n\nx = (\n"})
    result = freezelint("run", "--output-format", "concise", "--python", sys.executable, "train.py")
    assert "train.py:3:1: FRZ004 `train.py` raised SyntaxError after 0 steps" in result.out


def test_run_of_a_notebook_settles_by_cell(folder: Path) -> None:
    pytest.importorskip("torch")
    from test_notebook import cell, notebook

    first, _, rest = SCRIPT.replace("from models import Net\n", "").partition("net = Net()\n")
    text = notebook(cell("# Title\n", "markdown"), cell(f"%matplotlib\n{first}{MODEL}"), cell(f"net = Net()\n{rest}"))
    write(folder, {"train.ipynb": text})
    result = freezelint("run", "--output-format", "json", "--python", sys.executable, "train.ipynb")
    assert [(one["cell"], one["location"]["row"], one["code"]) for one in result.findings] == [(1, 13, "FRZ101")]
    assert [item["verdict"] for item in result.findings[0]["evidence"]] == ["confirmed"]
