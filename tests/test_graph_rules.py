"""Rules that ask a traced model, on small projects as a user writes them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from freezelint.records import replace

torch = pytest.importorskip("torch")

from freezelint.api import findings_of  # noqa: E402
from freezelint.findings import Finding, Location, Related, Severity  # noqa: E402
from freezelint.model_report import ModelReport, flop, size  # noqa: E402
from freezelint.output.cost_table import render  # noqa: E402
from freezelint.settle import in_graph, same  # noqa: E402
from freezelint.worker.trace import trace  # noqa: E402

HEAD = """
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(32, 16)
        self.layers = nn.Sequential(*(nn.Linear(16, 16) for _ in range(6)))
        self.head = nn.Linear(16, 3)

    def forward(self, tokens):
        return self.head(self.layers(self.embed(tokens)).mean(dim=1))
"""


def traced(folder: Path, body: str, **target: object) -> ModelReport:
    file = folder / f"net_{abs(hash(body))}.py"
    file.write_text(HEAD + textwrap.dedent(body))
    asked = {"name": "net", "path": str(file), "kind": "function", "qualname": "build", **target}
    report = ModelReport.from_json(trace({"target": asked}))
    report.frozen = tuple(target.get("frozen", ()))  # type: ignore[arg-type]
    report.trainable = tuple(target.get("trainable", ()))  # type: ignore[arg-type]
    return report


def told(report: ModelReport, code: str) -> list[tuple[Finding, str]]:
    """The findings of one rule with the text of their lines."""
    found = [finding for finding in findings_of(report) if finding.code == code]
    return [(f, Path(f.location.path).read_text().splitlines()[f.location.line - 1].strip()) for f in found]


def test_a_name_filter_that_no_parameter_passes(tmp_path: Path) -> None:
    report = traced(
        tmp_path,
        """
        def build():
            model = Net()
            for name, parameter in model.named_parameters():
                if name.startswith("encoder."):
                    parameter.requires_grad = False
            return model
        """,
    )
    ((finding, line),) = told(report, "FRZ104")
    assert line == 'if name.startswith("encoder."):'
    assert "`embed`, `layers`, `head`" in finding.message


@pytest.mark.parametrize(
    "loop",
    [
        'if name.startswith("layers."):\n            parameter.requires_grad = False',
        'if name.startswith("lora."):\n            parameter.requires_grad = False\n            found += 1',
        'if name.startswith("lora."):\n            parameter.requires_grad = True\n        else:\n'
        "            parameter.requires_grad = False",
    ],
)
def test_a_filter_that_matches_or_is_guarded_is_no_mistake(tmp_path: Path, loop: str) -> None:
    body = (
        "\ndef build():\n    model, found = Net(), 0\n    for name, parameter in model.named_parameters():\n"
        f"        {loop}\n    return model\n"
    )
    assert told(traced(tmp_path, body), "FRZ104") == []


def test_an_embedding_in_front_of_a_frozen_stack_has_its_price_told(tmp_path: Path) -> None:
    report = traced(
        tmp_path,
        """
        def build():
            model = Net()
            model.layers.requires_grad_(False)
            return model
        """,
    )
    ((finding, line),) = told(report, "FRZ403")
    assert line == "model.layers.requires_grad_(False)"
    assert finding.severity is Severity.HINT
    assert "`embed`" in finding.message
    report.dgrad_threshold = 0.9
    assert told(report, "FRZ403") == []


@pytest.mark.parametrize("shape", ["8", "1, 8"])
def test_a_parameter_of_the_model_itself_in_front_of_a_frozen_stack_has_its_price_told(
    tmp_path: Path, shape: str
) -> None:
    report = traced(
        tmp_path,
        f"""
        class Prompted(nn.Module):
            def __init__(self):
                super().__init__()
                self.prompt = nn.Parameter(torch.zeros({shape}))
                self.body = nn.Sequential(*(nn.Linear(8, 8) for _ in range(5))).requires_grad_(False)
                self.head = nn.Linear(8, 8)

            def forward(self, x):
                return self.head(self.body(x + self.prompt))

        def build():
            return Prompted()
        """,
        inputs="float32[4,8]",
    )
    change = report.what_if[0]
    assert (change.title, change.names, change.left.dgrad_flops) == ("freeze `prompt` too", ("prompt",), 0)
    assert change.confirmed
    ((finding, _),) = told(report, "FRZ403")
    assert finding.message.startswith("`prompt` trains in front of frozen layers")


def test_parts_that_only_together_keep_backward_going_have_their_price_told(tmp_path: Path) -> None:
    report = traced(
        tmp_path,
        """
        class Patches(nn.Module):
            def __init__(self):
                super().__init__()
                self.proj = nn.Linear(8, 8)
                self.first = nn.Parameter(torch.zeros(1, 1, 8))
                self.where = nn.Parameter(torch.zeros(1, 5, 8))
                self.body = nn.Sequential(*(nn.Linear(8, 8) for _ in range(9))).requires_grad_(False)
                self.head = nn.Linear(8, 8)

            def forward(self, x):
                x = torch.cat([self.first.expand(len(x), -1, -1), self.proj(x)], 1) + self.where
                return self.head(self.body(x))

        def build():
            return Patches()
        """,
        inputs="float32[3,4,8]",
    )
    (change,) = report.what_if
    assert change.title == "freeze `first`, `proj`, `where` too"
    assert change.names == ("first", "proj.weight", "proj.bias", "where")
    assert (change.left.dgrad_flops, change.confirmed) == (0, True)
    ((finding, _),) = told(report, "FRZ403")
    assert finding.message.startswith("`first`, `proj`, `where` train in front of frozen layers")
    assert finding.fix is not None
    assert finding.fix.title.startswith("freezing `first`, `proj`, `where` too would take backward from")


def test_no_price_is_told_where_backward_ends_at_the_head(tmp_path: Path) -> None:
    report = traced(
        tmp_path,
        """
        def build():
            model = Net()
            model.embed.requires_grad_(False)
            model.layers.requires_grad_(False)
            return model
        """,
    )
    assert told(report, "FRZ403") == []
    assert report.present.dgrad_ops == 0


def test_a_module_frozen_by_attribute_is_seen_to_train(tmp_path: Path) -> None:
    report = traced(
        tmp_path,
        """
        def build():
            model = Net()
            model.layers.requires_grad = False
            model.head.requires_grad = False
            model.head.requires_grad_(False)
            return model
        """,
    )
    ((finding, line),) = told(report, "FRZ101")
    assert line == "model.layers.requires_grad = False"
    assert "12 of its parameters keep training" in finding.message


def test_the_contract(tmp_path: Path) -> None:
    report = traced(
        tmp_path,
        """
        def build():
            model = Net()
            model.head.requires_grad_(False)
            return model, torch.optim.SGD(model.layers.parameters(), lr=0.1)
        """,
        frozen=["embed.*", "head.*"],
        trainable=["head.*", "layers.*", "embed.*", "missing.*"],
    )
    ((first, line),) = told(report, "FRZ501")
    assert "`embed.*`" in first.message
    assert line.startswith("self.embed")
    reasons = [finding.message for finding, _ in told(report, "FRZ502")]
    assert any("`head.*`" in text and "do not require a gradient" in text for text in reasons)
    assert any("`embed.*`" in text and "are in no optimizer" in text for text in reasons)
    assert any("`missing.*`" in text and "matches none" in text for text in reasons)
    assert not any("`layers.*`" in text for text in reasons)


def test_the_map_rules_speak_of_a_trace_at_its_lines(tmp_path: Path) -> None:
    report = traced(
        tmp_path,
        """
        class Cut(Net):
            def forward(self, tokens):
                hidden = self.embed(tokens).detach()
                hidden = checkpoint(self.layers, hidden, use_reentrant=True)
                return self.head(hidden.mean(dim=1))

        def build():
            return Cut()
        """,
    )
    ((_, line),) = told(report, "FRZ306")
    assert "use_reentrant=True" in line
    ((_, line),) = told(report, "FRZ302")
    assert line == "hidden = self.embed(tokens).detach()"
    assert len(report.starved()) == 13


def test_evidence_names_the_parameters_of_its_own_finding_alone(tmp_path: Path) -> None:
    report = traced(
        tmp_path,
        """
        class Two(Net):
            def __init__(self):
                super().__init__()
                self.shift = nn.Parameter(torch.zeros(16))
                self.spare = nn.Parameter(torch.zeros(3))

            def forward(self, tokens):
                hidden = self.embed(tokens).detach()
                hidden = hidden + self.shift.data
                return self.head(self.layers(hidden).mean(dim=1))

        def build():
            return Two()
        """,
    )
    found = [in_graph(replace(one, evidence=()), report) for one in findings_of(report)]
    assert {(one.claim.subject, one.evidence[0].detail) for one in found if one.claim} == {
        (name, f"no gradient reaches `{parameter}` in the trace of `net`")
        for name, parameter in (("embed", "embed.weight"), ("shift", "shift"), ("spare", "spare"))
    }
    assert all(one.evidence[0].numbers == {"starved_parameters": 1} for one in found)
    ((spare, _),) = told(report, "FRZ313")
    assert "`spare`: 1 parameter gets no gradient" in spare.message


def test_a_gradient_asked_for_inside_the_forward_has_its_price_told(tmp_path: Path) -> None:
    report = traced(
        tmp_path,
        """
        class Audio(Net):
            def forward(self, tokens):
                hidden = self.embed(tokens).detach()
                if self.training:
                    hidden.requires_grad = True
                return self.head(self.layers(hidden).mean(dim=1))

        def build():
            model = Audio()
            model.layers.requires_grad_(False)
            model.embed.requires_grad_(False)
            return model
        """,
    )
    ((finding, line),) = told(report, "FRZ401")
    assert line == "hidden.requires_grad = True"
    (change,) = [change for change in report.what_if if change.kind == "input"]
    assert change.confirmed
    assert change.saved_flops == report.present.dgrad_flops > 0
    assert change.saved_bytes is not None
    bare = replace(finding, evidence=())
    evidence = in_graph(bare, report).evidence[0]
    assert evidence.numbers["saved_flops"] == change.saved_flops
    assert f"does {flop(change.saved_flops)} less" in evidence.detail
    report.what_if.clear()
    assert in_graph(bare, report).severity is Severity.HINT, "a waste too small for a suggestion"


def test_a_way_that_values_decided_against_is_no_mistake(tmp_path: Path) -> None:
    report = traced(
        tmp_path,
        """
        class Branch(Net):
            def forward(self, tokens):
                hidden = self.embed(tokens)
                if (tokens > 1000).any():
                    hidden = self.layers(hidden)
                return self.head(hidden.mean(dim=1))

        def build():
            model = Branch()
            model.layers.eval()
            return model
        """,
    )
    assert report.guessed
    assert told(report, "FRZ313") == []
    (note,) = [note for note in report.notes if "values of the inputs decide" in note]
    assert re.search(r"net_\d+\.py:19: what is told holds", note)
    assert "starved, eval" in render(report)


def test_a_dropped_result_is_told_once_by_source_and_trace() -> None:
    used, built = Location("net.py", 14), Location("net.py", 9)
    source = Finding("FRZ313", "its result is not used", used, Severity.ERROR, related=(Related(built, "built here"),))
    trace = Finding("FRZ313", "2 parameters get no gradient", built, Severity.ERROR)
    other = Finding("FRZ313", "2 parameters get no gradient", Location("net.py", 10), Severity.ERROR)
    assert same(source, trace)
    assert not same(source, other)


def test_settings_name_inputs_and_loss(tmp_path: Path) -> None:
    body = """
        def build():
            return Net()

        def batch():
            return {"tokens": torch.zeros(5, 9, dtype=torch.int64)}

        def loss(output, batch):
            return output.square().mean() * batch["tokens"].shape[0]
        """
    (tmp_path / "given.py").write_text(HEAD + textwrap.dedent(body))
    file = tmp_path / "given.py"
    report = ModelReport.from_json(
        trace({"target": {"build": f"{file}:build", "inputs": f"{file}:batch", "loss": f"{file}:loss"}})
    )
    assert report.inputs == ["tokens: int64[5,9]"]
    assert [node.name for node in report.losses] == ["loss"]
    spec = ModelReport.from_json(trace({"target": {"build": f"{file}:build", "inputs": "int64[2,7]<32"}}))
    assert spec.inputs == ["#0: int64[2,7]"]


def test_large_models_are_built_without_memory(tmp_path: Path) -> None:
    report = traced(
        tmp_path,
        """
        def build():
            return nn.Sequential(nn.Linear(1024, 40_000), nn.ReLU(), nn.Linear(40_000, 1024))
        """,
        inputs="float32[2,1024]",
    )
    assert report.method == "fake"
    assert report.present.wgrad_flops == 2 * 2 * 2 * 1024 * 40_000
    assert all(row.reached for row in report.parameters)


def test_the_table_is_readable(tmp_path: Path) -> None:
    report = traced(tmp_path, "\ndef build():\n    return Net()\n")
    lines = render(report).splitlines()
    assert lines[0].startswith("net: tokens: int64[2,16] (inferred) on cpu, fake tensors, torch ")
    assert lines[1].split() == "module state parameters forward dgrad wgrad dgrad ops wgrad ops saved".split()
    widths = {len(line) for line in lines[1:4]}
    assert len(widths) == 1, "columns line up"
    assert any(line.startswith("layers.0") for line in lines)
    assert max(map(len, lines)) <= 140


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 FLOP"), (999, "999 FLOP"), (1000, "1 kFLOP"), (22_350_000_000, "22.4 GFLOP"), (999_600_000, "1 GFLOP")],
)
def test_flop(value: int, text: str) -> None:
    assert flop(value) == text


def test_size() -> None:
    assert size(1_590_000) == "1.59 MB"
