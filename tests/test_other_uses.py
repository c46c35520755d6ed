"""What a class may use of itself another time is not called unreachable by one step."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezelint.findings import Location
from freezelint.source.other_uses import used_otherwise

HEAD = """class Net:
    def __init__(self, flag):
        self.flag = flag
        self.body, self.head = Linear(), Linear()

"""
PLACE_LINE = 4

FORWARD = "def forward(self, x):\n    "
EXTRA = "\ndef extra(self, x):\n    "
OTHERWISE = {
    "by another method": FORWARD + "return self.body(x)" + EXTRA + "return self.head(x)",
    "behind a test": FORWARD + "if self.flag:\n        x = self.head(x)\n    return self.body(x)",
    "in an expression": FORWARD + "return self.head(x) if self.flag else self.body(x)",
    "after a way out": FORWARD + "if self.flag:\n        return x\n    return self.head(self.body(x))",
    "by a method behind a test": FORWARD + "return self.extra(x) if self.flag else x" + EXTRA + "return self.head(x)",
}
ALWAYS = {
    "by every forward": FORWARD + "self.head(x)\n    return self.body(x)",
    "in a test": FORWARD + "if self.head(x) > 0:\n        return x\n    return self.body(x)",
    "by a method of every forward": FORWARD + "return self.extra(x)" + EXTRA + "self.head(x)",
    "nowhere": FORWARD + "return self.body(x)",
    "to draw its weights": FORWARD + "return self.body(x)\ndef reset(self):\n    self.head.reset()",
}


def place(tmp_path: Path, body: str) -> Location:
    path = tmp_path / "net.py"
    path.write_text(HEAD + "".join(f"    {line}\n" for line in body.splitlines()), encoding="utf-8")
    return Location(str(path), PLACE_LINE)


@pytest.mark.parametrize("body", OTHERWISE.values(), ids=OTHERWISE)
def test_a_use_that_a_step_need_not_come_by(body: str, tmp_path: Path) -> None:
    assert used_otherwise(place(tmp_path, body), "net.head")


@pytest.mark.parametrize("body", ALWAYS.values(), ids=ALWAYS)
def test_no_other_use(body: str, tmp_path: Path) -> None:
    assert not used_otherwise(place(tmp_path, body), "net.head")


def test_a_file_that_cannot_be_read_has_no_use(tmp_path: Path) -> None:
    assert not used_otherwise(Location(str(tmp_path / "gone.py"), 1), "net.head")
    broken = tmp_path / "broken.py"
    broken.write_text("class Net(\n", encoding="utf-8")
    assert not used_otherwise(Location(str(broken), 1), "net.head")
