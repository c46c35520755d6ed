"""The byte gate: could any rule speak in this file? Asked before anything is parsed.

Words that make a rule speak let a file pass at once. What is left are modules that only define layers: they pass when
they show the shape of a mistake (an attribute named once and never used, layers in a plain list, an operation on a
fresh parameter). A script passes when what it runs may train in the files it imports. The gate may let a file pass that
holds nothing; a story that starts in another file reads what it needs, gate or not.
"""

from __future__ import annotations

import json
import re
import symtable
import warnings
from collections import Counter

# Words that make a rule speak, comments aside; the first also takes the misspellings of requires_grad. Each is a
# pattern of its own: plain letters in front are found in a tenth of the time that an alternative takes.
_SPEAKS = [
    re.compile(word)
    for word in (
        rb"re[qu]\w*_?g[ar]", rb"freez", rb"zero_grad", rb"\.backward\(", rb"optim\.[A-Z]", rb"optimizer\w* ?=",
        rb"\.eval\b", rb"training_step", rb"compute_loss", rb"autocast\(", rb"Variable\(", rb"inference_mode",
        rb"grad_enabled",
    )
]  # fmt: skip
# A script whose training may lie in the files it imports.
_RUNS = re.compile(rb"^(?:if __name__|for |while |[\w.]*(?:main|train|fit|run)\w*\()", re.MULTILINE)
_TRAINS = re.compile(rb"train|fit|step|update|learn|main\(")
SUPPRESSIONS: tuple[bytes, ...] = (b"FRZ", b"freezelint:")
MODELS: tuple[bytes, ...] = (b"Module", b"torch", b"from_pretrained")

_COMMENT = re.compile(rb"#[^\n]*")
# Functions that rightly run without grad, decorator and all.
_WITHOUT_GRAD = re.compile(
    rb"@[\w.]*no_grad(?:\(\))?\s+(?:@[^\n]+\s+)*def _*(?:init|reset|load|call__|generate|sampl|predict|infer|eval|"
    rb"valid|test|export|convert|step|decode|prepare|post_?process)\w*"
)
_DISCARDED = re.compile(rb"^[ \t]*[\w.\[\]]+\.detach_?(\(\))?[ \t\r]*$", re.MULTILINE)
_USED_PARAMETER = re.compile(
    rb"Parameter\((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\)\s*(?:\.\s*(?!data)\w|[*/+@-]|,?\s*\)\.)"
)
_REBUILT_PARAMETER = re.compile(rb"Parameter\(\s*self\.")
_ASSIGNED = re.compile(rb"self\.(\w+)\s*(?::[^=\n]+)?=[^=]")
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_WORDS = bytes(byte if byte in _LETTERS else 32 for byte in range(256))  # `split` is four times as quick as `\w+`
_ATTRIBUTE = re.compile(rb"\.(\w+)")
_BUILT = re.compile(rb"self\.(\w+)\s*(?::[^=\n]+)?=\s*(?:torch\.)?(?:nn\.)?[A-Z]\w*\(")
_HELD_PLAIN = re.compile(
    rb"self\.\w+\s*(?::[^=\n]+)?=\s*(?:\[|\{|list\(|dict\(|tuple\(|\()\s*(?:torch\.)?(?:\"\w+\":\s*)?(?:nn\.|[A-Z]\w*\()"
)
_HELD_EMPTY = re.compile(rb"self\.(\w+)\s*(?::[^=\n]+)?=\s*(?:\[\]|list\(\)|\{\}|dict\(\))")
_LOCAL = re.compile(rb"^[ \t]+(\w+)\s*(?::[^=\n]+)?=\s*(?:\[|list\(|\{|dict\()", re.MULTILINE)
_KEPT = re.compile(rb"self\.\w+\s*=\s*(?:tuple\(|list\()?(\w+)\)?\s*$", re.MULTILINE)
_TUPLE = re.compile(
    rb"self\.\w+\s*=\s*(?:\(\s*)?(?:torch\.)?nn\.\w+\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\s*,\s*(?:$|\))",
    re.MULTILINE,
)


def passes(data: bytes, *, models: bool = False) -> bool:
    """Whether the file needs reading; `models`: also when it might only define a model to trace."""
    if models and any(word in data for word in MODELS):
        return True
    code = _COMMENT.sub(b"", data)
    if (
        any(word.search(code) for word in _SPEAKS)
        or (b"detach" in code and _DISCARDED.search(code))
        or (b"no_grad" in code and b"no_grad" in _WITHOUT_GRAD.sub(b"", code))
        or (b"import" in code and _RUNS.search(code) and _TRAINS.search(code))
    ):
        return True
    return (b"Parameter" in code and suspicious_parameter(code)) or (b"torch" in code and suspicious_module(code))


def code_of(path: str, data: bytes) -> bytes:
    """What to ask: the file, or the cells of a notebook as lines; of one that cannot be read, what makes it read: that
    is said of it, whatever it holds. One of another format is asked as it is."""
    if not path.endswith(".ipynb"):
        return data
    try:
        cells = json.loads(data)["cells"]
        return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code").encode()
    except (ValueError, RecursionError):
        return b".backward("
    except (KeyError, TypeError):
        return data.replace(b"#", b" ")  # nothing in it is a comment


def broken(data: bytes, path: str) -> bool:
    """Whether a file that could hold nothing might not parse: that is said of it, gate or not."""
    if path != "-" and not path.endswith((".py", ".pyi")):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            symtable.symtable(data, path, "exec")  # type: ignore[arg-type]  # Python's own parser, its names, no tree
    except RecursionError:  # of the names; the parser has its own error for what nests too deeply
        return False
    except (SyntaxError, ValueError, MemoryError):
        return True
    return False


def suspicious_parameter(code: bytes) -> bool:
    """An operation on a fresh parameter, or a parameter made from another."""
    return bool(_USED_PARAMETER.search(code) or _REBUILT_PARAMETER.search(code))


def suspicious_module(code: bytes) -> bool:
    """An attribute that is assigned and never named again, or layers kept where torch does not look."""
    if _TUPLE.search(code):
        return True
    if _HELD_PLAIN.search(code) or any(
        b"self." + name + b".append(" in code or b"self." + name + b"[" in code for name in _HELD_EMPTY.findall(code)
    ):
        return True
    kept = set(_KEPT.findall(code))  # by self, as they are
    if kept and not kept.isdisjoint(_LOCAL.findall(code)):
        return True
    counts, assigned = Counter(code.translate(_WORDS).split()), Counter(_ASSIGNED.findall(code))
    if any(counts[name] == 1 for name in assigned):
        return True
    named = Counter(_ATTRIBUTE.findall(code))
    return any(named[name] == assigned[name] for name in _BUILT.findall(code))


def suppresses(data: bytes) -> bool:
    """Whether the file may hold one of our suppression comments."""
    return any(word in data for word in SUPPRESSIONS)
