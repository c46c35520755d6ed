"""What constructors of a file say about modes, without reading the classes they build step by step."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.source import cst
from freezelint.source.project import ClassInfo, ModuleInfo
from freezelint.source.story import Spot
from freezelint.source.tree import children

HELD = re.compile(r"^\s*self\.eval\(\)[^\n#]*#[^\n]*(fr[eo]e?z|fixed)", re.IGNORECASE | re.MULTILINE)
NORM = re.compile(r"\bBatchNorm\w*\(")
NAME = re.compile(r"\b[A-Z]\w+")


def frozen_by_eval(file: ModuleInfo) -> Iterator[tuple[ClassInfo, Spot]]:
    """`self.eval()  # frozen` in the constructor of a class with batch norm and no `train()` of its own."""
    if "self.eval()" not in file.text or not HELD.search(file.text):
        return
    for info in file.classes.values():
        init = info.methods.get("__init__")
        if init is None or holds_mode(info) or not HELD.search(file.code(init.node)):
            continue
        spot = next((spot for spot in statements(file, init.node) if HELD.match(spot.text)), None)
        if spot is not None and holds_batch_norm(info):
            yield info, spot


def holds_mode(info: ClassInfo) -> bool:
    """Whether a `train()` of its own may keep the class in eval mode."""
    override = info.method("train")
    text = override.file.code(override.node) if override else "super"
    return "super" not in text or "eval(" in text or "False)" in text


def statements(file: ModuleInfo, node: cst.CSTNode) -> Iterator[Spot]:
    """The simple statements below a node."""
    for child in children(node):
        if isinstance(child, cst.SimpleStatementLine):
            yield Spot(file, child)
        else:
            yield from statements(file, child)


def holds_batch_norm(info: ClassInfo) -> bool:
    """Whether a class, or a project class it names, builds a batch norm."""
    seen: list[ClassInfo] = [info]
    for one in seen:
        text = one.file.code(one.node)
        if NORM.search(text):
            return True
        found = [one.file.resolve(name) for name in dict.fromkeys(NAME.findall(text))]
        seen += [other for other in found if isinstance(other, ClassInfo) and other not in seen and len(seen) < 40]
    return False
