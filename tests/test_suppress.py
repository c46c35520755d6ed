"""Suppression comments: what they silence, which ones are idle, and how they are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from tool import FROZEN_BY_ATTRIBUTE, freezelint, write

LINE = "net.requires_grad = False"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def codes(folder: Path, comment: str, *options: str, head: str = "") -> list[str]:
    write(folder, {"a.py": head + FROZEN_BY_ATTRIBUTE.replace(LINE, f"{LINE}{comment}")})
    return [finding["code"] for finding in freezelint("a.py", "--output-format", "json", *options).findings]


@pytest.mark.parametrize(
    "comment",
    [
        "  # noqa",
        "  # NOQA",
        "  # noqa: FRZ101",
        "  # noqa:FRZ101",
        "  # noqa: frz101",
        "  # noqa: E501, FRZ101",
        "  # noqa: E501 FRZ101",
        "  # noqa: FRZ1",
        "  # noqa : FRZ101",
        "  # noqa:  FRZ101",
        "  # noqa: FRZ101, because",
        "  # noqa # why",
        "  # why  # noqa: FRZ101",
        "  # freezelint: ignore",
        "  # freezelint: ignore[FRZ101]",
        "  # freezelint: ignore[FRZ101] on purpose",
        "  # freezelint: ignore[frz101]",
        "  # type: ignore  # freezelint: ignore[FRZ102, FRZ101]",
    ],
)
def test_silenced(folder: Path, comment: str) -> None:
    assert "FRZ101" not in codes(folder, comment)


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "  # noqa: E501",
        "  # noqa: see below",
        "  # noqa : see below",
        "  # noqa:",
        "  # noqa: FRZ101-more",
        "  # noqa[FRZ102]",
        "  # noqalot",
        "  # freezelint: ignore[FRZ2]",
        "  # freezelint: ignore[FRZ101",
        "  # freezelint: ignore-file[FRZ1",
        "  # freezelint: ignore[]",
        "  # freezelint: ignored",
    ],
)
def test_not_silenced(folder: Path, comment: str) -> None:
    assert "FRZ101" in codes(folder, comment, "--ignore", "FRZ001")


def test_whole_file(folder: Path) -> None:
    assert codes(folder, "", head="# freezelint: ignore-file\n") == []
    assert codes(folder, "", head="# freezelint: ignore-file[FRZ1]\n") == []
    assert codes(folder, "", "--ignore", "FRZ001", head="# freezelint: ignore-file[FRZ2]\n") == ["FRZ101"]


def test_comment_at_the_end_of_a_statement_of_several_lines(folder: Path) -> None:
    text = FROZEN_BY_ATTRIBUTE.replace(LINE, "net.requires_grad = bool(\n    0\n)  # noqa: FRZ101")
    write(folder, {"a.py": text})
    assert freezelint("a.py").code == 0


def test_comment_in_a_string_is_none(folder: Path) -> None:
    assert codes(folder, '; text = "# noqa: FRZ101"') == ["FRZ101"]


@pytest.mark.parametrize(
    ("comment", "left"),
    [
        ("  # noqa: FRZ102", ""),
        ("  # noqa: FRZ999", ""),
        ("  # noqa: FRZ102, E501", "  # noqa: E501"),
        ("  # noqa: E501, FRZ102, FRZ103", "  # noqa: E501"),
        ("  # freezelint: ignore", ""),
        ("  # freezelint: ignore[FRZ102]", ""),
        ("  # freezelint: ignore[FRZ102] because", "  # because"),
        ("  # keep me  # noqa: FRZ102", "  # keep me"),
    ],
)
def test_idle_suppression_is_told_and_removed(folder: Path, comment: str, left: str) -> None:
    write(folder, {"a.py": f"x = 1{comment}\ny = 2\n"})
    found = freezelint("a.py", "--output-format", "json").findings
    assert [finding["code"] for finding in found] == ["FRZ001"]
    assert freezelint("a.py", "--fix").code == 0
    assert (folder / "a.py").read_text() == f"x = 1{left}\ny = 2\n"


def test_idle_comment_on_a_line_of_its_own_takes_the_line_away(folder: Path) -> None:
    write(folder, {"a.py": "x = 1\n# freezelint: ignore-file\ny = 2\n"})
    freezelint("a.py", "--fix")
    assert (folder / "a.py").read_text() == "x = 1\ny = 2\n"


def test_code_that_is_off_or_needs_a_run_is_not_called_idle(folder: Path) -> None:
    write(folder, {"a.py": "x = 1  # noqa: FRZ101\n", "b.py": "x = 1  # noqa: FRZ501\n"})
    assert freezelint("a.py", "--ignore", "FRZ1").code == 0
    assert freezelint("b.py").code == 0
    assert freezelint("a.py").code == 1


def test_blanket_noqa_is_never_called_idle(folder: Path) -> None:
    write(folder, {"a.py": "x = 1  # noqa\ny = 2  # noqa: E501\n"})
    assert freezelint("a.py").code == 0


def test_add_noqa(folder: Path) -> None:
    text = FROZEN_BY_ATTRIBUTE + "net.requires_grad = False  # noqa: E501\nnet.requires_grad = bool(\n    0\n)\n"
    write(folder, {"a.py": text})
    assert freezelint("--add-noqa").code == 0
    lines = (folder / "a.py").read_text().splitlines()
    assert lines[3] == f"{LINE}  # noqa: FRZ101"
    assert lines[4] == f"{LINE}  # noqa: E501, FRZ101"
    assert lines[7] == ")  # noqa: FRZ101"
    assert freezelint().code == 0


def test_rule_in_preview_that_was_not_chosen_is_silent_and_its_suppression_not_idle(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freezelint import rule
    from freezelint.records import replace

    rules = {**rule.all_rules(), "FRZ101": replace(rule.all_rules()["FRZ101"], preview=True)}
    monkeypatch.setattr(rule, "all_rules", lambda: rules)
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE, "b.py": "x = 1  # noqa: FRZ101\n"})
    assert freezelint("--no-cache").code == 0
    assert freezelint("--no-cache", "a.py", "--preview").code == 1
    assert freezelint("--no-cache", "a.py", "--extend-select", "FRZ101").code == 1
    assert freezelint("--no-cache", "b.py", "--preview").code == 1
