"""The systems the project answers for, by real optimizer steps: who gets a gradient, parameter for parameter."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from freezelint.facts import Facts
from freezelint.findings import Finding
from freezelint.rule import all_rules, ask, table
from freezelint.run_stage import verify_targets
from freezelint.settings import Settings

SYSTEMS = Path(__file__).parent / "systems"
REACHED = {
    "autoencoder_resnet": ("autoencoder.", "classifier."),
    "encoder_decoder": ("encoder.",),
    "embedding_only": ("words.",),
    "frozen_middle": ("first.", "last."),
    "starved_autoencoder": ("classifier.",),
}


@pytest.fixture(scope="module")
def runs() -> dict[str, Facts]:
    targets = [{"name": name, "build": f"{SYSTEMS / name}.py:build"} for name in REACHED]
    settings = Settings(python=Path(sys.executable), steps=2, device="cpu")
    result = verify_targets(targets, settings, SYSTEMS, lambda _text: None)
    assert result.notes == []
    return {facts.name: facts for facts in result.facts}


def findings(facts: Facts) -> list[Finding]:
    checks = table(frozenset(all_rules()))
    return [*ask(checks, facts), *ask(checks, facts.map, facts)]


@pytest.mark.parametrize("name", REACHED)
def test_reach_is_that_of_real_autograd(name: str, runs: dict[str, Facts]) -> None:
    facts = runs[name]
    reached = {row.name for row in facts.parameters if row.steps_with_gradient}
    assert reached == {row.name for row in facts.parameters if row.name.startswith(REACHED[name])}
    assert (facts.steps, facts.backwards, facts.device) == (2, 2, "cpu")


def test_the_starved_autoencoder_is_told_at_its_block(runs: dict[str, Facts]) -> None:
    (found,) = [finding for finding in findings(runs["starved_autoencoder"]) if finding.code == "FRZ301"]
    lines = (SYSTEMS / "starved_autoencoder.py").read_text(encoding="utf-8").splitlines()
    assert "no_grad" in lines[found.location.line - 1]
    assert not [finding for finding in findings(runs["autoencoder_resnet"]) if finding.code == "FRZ301"]


def test_a_frozen_stack_behind_an_embedding_is_crossed(runs: dict[str, Facts]) -> None:
    (found,) = [finding for finding in findings(runs["embedding_only"]) if finding.code == "FRZ403"]
    assert "words" in found.message
