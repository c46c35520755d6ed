"""Branches that a setting written into a class never takes: `self.auxiliary = False`, and nothing ever sets it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.source import cst
from freezelint.source.never_read import BY_NAME, code_of, package_texts
from freezelint.source.project import ClassInfo, dotted
from freezelint.source.story import Spot
from freezelint.source.syntax import within_function
from freezelint.source.tree import holds, walk
from freezelint.source.values import Const, Instance


def never_taken(owner: Instance, name: str) -> Spot | None:
    """The test that keeps a program from ever using a part of a module, where that is all that could use it."""
    info = owner.cls
    if info is None or BY_NAME.search(code_of(info)) or len(info.lineage()[0]) > 1:
        return None
    tests = [_closed(info, owner, read) for read in _reads(info, name)]
    if not tests or None in tests:
        return None
    outside = re.compile(rf"(?<!\bself)\.{re.escape(name)}\b|[\"']{re.escape(name)}[\"']")
    heirs = re.compile(rf"class \w+\([^)]*\b{re.escape(info.name)}\b")
    if any(outside.search(text) or heirs.search(text) for text in package_texts(info.file).values()):
        return None
    return tests[0]


def _reads(info: ClassInfo, name: str) -> Iterator[Spot]:
    """Where a class reads `self.name`."""
    stores = {id(target.target) for node in walk(info.node) if isinstance(node, cst.Assign) for target in node.targets}
    for node in walk(info.node):
        if isinstance(node, cst.Attribute) and id(node) not in stores and dotted(node) == f"self.{name}":
            yield Spot(info.file, node)


def _closed(info: ClassInfo, owner: Instance, read: Spot) -> Spot | None:
    """The test of a setting of the class that a place lies behind, on the side that is never run."""
    for node in within_function(read):
        if not isinstance(node, (cst.If, cst.IfExp)) or holds(node.test, read.node):
            continue
        wanted, test = holds(node.body, read.node), node.test
        while isinstance(test, cst.UnaryOperation) and test.operator == "Not":
            wanted, test = not wanted, test.expression
        flag = dotted(test).removeprefix("self.") if dotted(test).startswith("self.") else ""
        value = owner.attrs.get(flag) if flag.isidentifier() else None
        if isinstance(value, Const) and type(value.value) is bool and value.value is not wanted:
            return Spot(info.file, node.test) if _written_once(info, flag) else None
    return None


def _written_once(info: ClassInfo, flag: str) -> bool:
    """Whether a setting is a literal of the class, or the default of an argument that nobody gives."""
    texts = package_texts(info.file)
    code = code_of(info)
    given = re.findall(rf"\bself\.{flag}\s*(?::[^=\n]+)?=(?!=)\s*(.*)", code)
    if len(given) != 1 or any(re.search(rf"(?<!\bself)\.{flag}\s*=(?!=)|[\"']{flag}[\"']", t) for t in texts.values()):
        return False
    if given[0].strip() in ("True", "False"):
        return True
    init = info.methods.get("__init__")
    default = re.compile(rf"(?<![\w.]){re.escape(given[0].strip())}\s*(?::[^=,\n]+)?=(?!=)")
    if init is None or not given[0].strip().isidentifier():
        return False
    return sum(len(default.findall(text)) for text in texts.values()) == len(default.findall(code)) == 1
