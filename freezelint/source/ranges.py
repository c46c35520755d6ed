"""Loops over known numbers that pick modules by number: `for i in range(1, 4): getattr(self, f"layer{i}")`."""

from __future__ import annotations

import re
from functools import lru_cache

from freezelint.source import cst
from freezelint.source.project import ModuleInfo
from freezelint.source.values import Const, Seq, Value

MOST = 12
TRAINS = re.compile(r"backward\(|\.step\(|\bloss\b")


def known(args: list[Value]) -> range | None:
    """The numbers of `range(*args)`, where all of them are known and few."""
    given = [arg.value for arg in args if isinstance(arg, Const) and type(arg.value) is int]
    if not 1 <= len(given) == len(args) <= 3 or (len(given) == 3 and not given[2]):
        return None
    numbers = range(*given)
    return numbers if len(numbers) <= MOST else None


def picked(iterable: Value, file: ModuleInfo, target: cst.CSTNode, body: cst.CSTNode) -> list[Value] | None:
    """The numbers one by one, where what is looped over them depends on the number; else one pass stands for all."""
    if not isinstance(iterable, Seq) or iterable.numbers is None or not isinstance(target, cst.Name):
        return None
    return [Const(number) for number in iterable.numbers] if picks(file, target.value, body) else None


@lru_cache(maxsize=512)
def picks(file: ModuleInfo, counter: str, body: cst.CSTNode) -> bool:
    """Whether a body names modules after the counter, or freezes what stands at its place."""
    text = file.code(body)
    if TRAINS.search(text):
        return False
    named = rf"\{{[^{{}}]*\b{counter}\b[^{{}}]*\}}|format\([^()]*\b{counter}\b|str\({counter}\b|%\s*\(?\s*{counter}\b"
    if re.search(r"attr\(|add_module\(|get_submodule\(|register_module\(|_modules\b", text) and re.search(named, text):
        return True
    return bool(re.search(r"requires_grad|freeze|\.eval\(|\.train\(", text) and re.search(rf"\[\s*{counter}\b", text))
