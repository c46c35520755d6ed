"""Fixes keep every byte outside the edit, are applied whole, and are idempotent."""

from __future__ import annotations

from pathlib import Path

import pytest
from tool import FIXED, FROZEN_BY_ATTRIBUTE, freezelint, write

from freezelint.findings import Edit, Finding, Fix, Location, Safety
from freezelint.fixes import Lines, apply


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finding(*edits: tuple[int, int, int, str], path: str = "a.py", safety: Safety = Safety.SAFE) -> Finding:
    """One finding with edits on single lines: (line, from, to, text)."""
    made = tuple(Edit(Location(path, line, start, line, end), text) for line, start, end, text in edits)
    return Finding("FRZ101", "m", made[0].location, fix=Fix("f", made, safety))


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\n", b"  # \xc3\xa4\xe2\x98\x83 \n\n\t\n"])
def test_bytes_outside_the_edit_stay(newline: bytes, mark: bytes, end: bytes) -> None:
    def file(line: bytes) -> bytes:
        text = b"import torch\n\xc3\xa4 = '\xe2\x80\xa8 \x0c'\nnet = torch.nn.Linear(1,1)\n" + line + end
        return mark + text.replace(b"\n", newline)

    Path("a.py").write_bytes(file(b"net.requires_grad  =  False"))
    assert freezelint("a.py", "--fix").code == 0
    assert Path("a.py").read_bytes() == file(b"net.requires_grad_(False)")


def test_declared_encoding_is_kept() -> None:
    text = "# -*- coding: latin-1 -*-\n# ä\n" + FROZEN_BY_ATTRIBUTE
    Path("a.py").write_bytes(text.encode("latin-1"))
    assert freezelint("a.py", "--fix").code == 0
    assert Path("a.py").read_bytes() == text.replace(" = False", "_(False)").encode("latin-1")


def test_no_mark_is_added_where_none_was() -> None:
    text = f"# coding: utf-8-sig\n{FROZEN_BY_ATTRIBUTE}"
    Path("a.py").write_bytes(text.encode())
    assert freezelint("a.py", "--fix").code == 0
    assert Path("a.py").read_bytes() == text.replace(" = False", "_(False)").encode()


def test_fix_is_idempotent(folder: Path) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE * 3})
    assert freezelint("--fix").out.splitlines()[-1] == "All checks passed in 1 file; 3 fixed"
    assert Path("a.py").read_text() == FIXED * 3
    assert freezelint("--fix").out == "All checks passed in 1 file\n"


def test_diff_writes_nothing(folder: Path) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE})
    result = freezelint("--diff")
    assert result.code == 1
    assert "-net.requires_grad = False\n+net.requires_grad_(False)\n" in result.out
    assert result.err == "Would fix 1 in 1 file.\n"
    assert Path("a.py").read_text() == FROZEN_BY_ATTRIBUTE


def test_only_named_files_are_fixed(folder: Path) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE, "b.py": FROZEN_BY_ATTRIBUTE})
    freezelint("a.py", "--fix")
    assert Path("b.py").read_text() == FROZEN_BY_ATTRIBUTE


def test_unsafe_fixes_need_their_flag() -> None:
    unsafe = finding((1, 0, 1, "y"), safety=Safety.UNSAFE)
    shown = finding((1, 0, 1, "y"), safety=Safety.SHOW)
    assert apply({"a.py": "x = 1"}, [unsafe, shown], unsafe=False) == ({}, 0)
    assert apply({"a.py": "x = 1"}, [unsafe, shown], unsafe=True) == ({"a.py": "y = 1"}, 1)


def test_fix_is_applied_whole_or_waits() -> None:
    first = finding((1, 0, 3, "A"))
    both = finding((1, 2, 5, "B"), (2, 0, 1, "C"))
    changed, count = apply({"a.py": "abcdef\nx"}, [first, both], unsafe=False)
    assert (changed, count) == ({"a.py": "Adef\nx"}, 1)


def test_fix_into_a_file_that_is_not_checked_waits() -> None:
    fix = finding((1, 0, 1, "y"), path="other.py")
    assert apply({"a.py": "x"}, [fix], unsafe=False) == ({}, 0)


def test_same_edit_asked_for_twice_is_made_once() -> None:
    one, two = finding((1, 0, 0, "import x\n"), (2, 0, 1, "p")), finding((1, 0, 0, "import x\n"), (3, 0, 1, "q"))
    assert apply({"a.py": "\na\nb"}, [one, two], unsafe=False) == ({"a.py": "import x\n\np\nq"}, 2)


def test_inserted_lines_end_as_the_file_does() -> None:
    changed, _ = apply({"a.py": "a\r\nb\r\n"}, [finding((2, 0, 0, "x\ny\n"))], unsafe=False)
    assert changed == {"a.py": "a\r\nx\r\ny\r\nb\r\n"}


def test_lines_are_python_lines() -> None:
    lines = Lines("a\x0cb\u2028c\r\nd\re\nf")
    assert [lines.line(number) for number in range(1, 6)] == ["a\x0cb\u2028c", "d", "e", "f", ""]


def test_fix_that_would_break_the_file_is_taken_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from freezelint import engine

    def breaking(texts: dict[str, str], *_: object, **__: object) -> tuple[dict[str, str], int]:
        return {path: text + "def f(:\n" for path, text in texts.items()}, 1

    monkeypatch.setattr(engine.fixes, "apply", breaking)
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE})
    result = freezelint("a.py", "--fix")
    assert "a.py: a fix would have broken the file" in result.out
    assert Path("a.py").read_text() == FROZEN_BY_ATTRIBUTE
