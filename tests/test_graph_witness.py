"""Every rule that a trace can raise: its page's bad block raises it through the real command, its good ones are silent.

The command traces the blocks as the scripts they are, model by model. Where a page's mistake lies in the training loop,
which a trace does not run, the same mistake stands here inside a model.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pages
import pytest
from tool import freezelint

pytest.importorskip("torch")

HEAD = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        hidden = self.encoder(x)
        {line}
        return self.head(hidden){loss}


def build():
    model = Net()
    {setup}
    return model
"""
MODEL_FORMS = {  # code -> (bad line of the forward, good one)
    "FRZ302": ("hidden = hidden.detach()", "shown = hidden.detach()"),
    "FRZ303": ("hidden = hidden.round()", "index = hidden.argmax(dim=1)"),
    "FRZ401": ("hidden = hidden.detach().requires_grad_()", "hidden = hidden.relu()"),
}
SETUPS = {  # code -> (bad set-up, good one)
    "FRZ105": ("model.encoder.requires_grad_(False)\n    model.requires_grad_(True)",
               "model.requires_grad_(False)\n    model.head.requires_grad_(True)"),
}  # fmt: skip
CONTRACT = """
[[tool.freezelint.models]]
name = "{name}"
build = "{name}.py:build"
frozen = ["encoder.*"]
trainable = ["head.*"]
"""
IN_THE_LOOP = {  # blocks whose mistake, or whose model, comes into being in the training loop only
    ("FRZ105", ""), ("FRZ105", "polarity"), ("FRZ105", "toggle"), ("FRZ201", "once"), ("FRZ301", ""),
    ("FRZ301", "decorator"), ("FRZ302", ""), ("FRZ302", "term"), ("FRZ302", "tensor"), ("FRZ303", ""),
    ("FRZ303", "argmax"), ("FRZ306", ""), ("FRZ314", "empty"), ("FRZ401", ""), ("FRZ401", "variable"),
    ("FRZ501", ""), ("FRZ502", ""),
}  # fmt: skip


def rules_of_the_graph() -> list[pages.Page]:
    return [page for page in pages.all_pages() if page.about_a_mistake and "graph" in page.witnesses]


def test_the_pages_and_this_table_cover_every_rule_of_the_graph() -> None:
    codes = {page.code for page in rules_of_the_graph()}
    by_block = {p.code for p in rules_of_the_graph() for b in p.of("bad") if (p.code, b.name) not in IN_THE_LOOP}
    assert codes == by_block | set(MODEL_FORMS) | set(SETUPS) | {"FRZ501", "FRZ502"}


def write_scripts(folder: Path) -> None:
    for page in rules_of_the_graph():
        for block in (*page.of("bad"), *page.of("good")):
            if (page.code, block.name) not in IN_THE_LOOP and not page.code.startswith("FRZ5"):
                name = f"{page.code}_{block.role}_{block.name or 'first'}.py".replace("-", "_")
                (folder / name).write_text(block.text)
    for code, forms in MODEL_FORMS.items():
        for role, line in zip(("bad", "good"), forms, strict=True):
            (folder / f"{code}_{role}_model.py").write_text(HEAD.format(line=line, loss="", setup="pass"))
    for code, forms in SETUPS.items():
        for role, setup in zip(("bad", "good"), forms, strict=True):
            (folder / f"{code}_{role}_setup.py").write_text(HEAD.format(line="pass", loss="", setup=setup))


def test_each_rule_of_the_graph_speaks_and_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_scripts(tmp_path)
    files = sorted(file.name for file in tmp_path.glob("*.py"))
    targets = [name if "def build()" not in (tmp_path / name).read_text() else f"{name}:build" for name in files]
    result = freezelint("trace", "--output-format", "json", *targets)
    told = {(item["code"], os.path.basename(item["filename"])) for item in result.findings}
    confirmed = {e["witness"] for item in result.findings for e in item["evidence"] if e["verdict"] == "confirmed"}
    assert confirmed == {"graph"}
    for name in files:
        code, role = re.match(r"(FRZ\d+)_(bad|good)", name).groups()  # type: ignore[union-attr]
        assert ((code, name) in told) is (role == "bad"), name


@pytest.mark.parametrize(("setup", "codes"), [
    ("model.head.requires_grad_(False)", {"FRZ501", "FRZ502"}), ("model.encoder.requires_grad_(False)", set()),
])  # fmt: skip
def test_the_contract_through_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setup: str, codes: set[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(HEAD.format(line="pass", loss="", setup=setup))
    (tmp_path / "pyproject.toml").write_text(CONTRACT.format(name="net"))
    result = freezelint("--trace", "--no-cache", "--output-format", "json", "--select", "FRZ5", ".")
    assert {item["code"] for item in result.findings} == codes
