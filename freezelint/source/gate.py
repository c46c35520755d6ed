"""The byte gate: could any rule speak in this file? Asked before anything is parsed.

Words that make a rule speak let a file pass at once. What is left are modules that only define layers: they pass when
they show the shape of a mistake (an attribute named once and never used, layers in a plain list, an operation on a
fresh parameter). The gate may let a file pass that holds nothing; a story that starts in another file reads what it
needs, gate or not.
"""

from __future__ import annotations

import re
from collections import Counter

TRIGGERS: tuple[bytes, ...] = (
    b"requir",  # requires_grad, and the misspellings that keep its head
    b"inference_mode",
    b"grad_enabled",
    b".backward(",
    b"optim.",
    b"zero_grad",
    b"optimizer",
    b"freeze",
    b"training_step",
    b"autocast(",
    b"Variable(",
    b".eval",
    b"eval_",
    b".children()",
    b".modules()",
)
SUPPRESSIONS: tuple[bytes, ...] = (b"FRZ", b"freezelint:")
MODELS: tuple[bytes, ...] = (b"Module", b"torch", b"from_pretrained")

_COMMENT = re.compile(rb"#[^\n]*")
_INITIALISER = re.compile(rb"no_grad\(?\)?\s+def _?(init|reset|load)\w*")
_DISCARDED = re.compile(rb"^[ \t]*[\w.\[\]]+\.(detach|requires_grad_?|detach_)(\(\))?[ \t]*$", re.MULTILINE)
_USED_PARAMETER = re.compile(
    rb"Parameter\((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\)\s*(?:\.\s*(?!data)\w|[*/+@-]|,?\s*\)\.)"
)
_REBUILT_PARAMETER = re.compile(rb"Parameter\(\s*self\.|self\.(\w+)\s*=\s*self\.\1\b")
_ASSIGNED = re.compile(rb"self\.(\w+)\s*(?::[^=\n]+)?=[^=]")
_WORD = re.compile(rb"\w+")
_HELD_PLAIN = re.compile(rb"self\.\w+\s*(?::[^=\n]+)?=\s*(\[|\{|list\(|dict\(|tuple\(|\()")
_TUPLE = re.compile(rb"self\.\w+\s*=\s*(torch\.)?nn\.\w+\(.*\),[ \t]*$", re.MULTILINE)
_LOCAL_LIST = re.compile(rb"^\s+\w+\s*(?::[^=\n]+)?=\s*(\[\]|list\(\)|\{\}|dict\(\))", re.MULTILINE)


def passes(data: bytes, *, models: bool = False) -> bool:
    """Whether the file needs reading; `models`: also when it might only define a model to trace."""
    if any(trigger in data for trigger in TRIGGERS):
        return True
    if models and any(word in data for word in MODELS):
        return True
    if b"no_grad" in data and b"no_grad" in _INITIALISER.sub(b"", data):
        return True
    return b"Parameter" in data and suspicious_parameter(data) or b"Module" in data and suspicious_module(data)


def suspicious_parameter(data: bytes) -> bool:
    """An operation on a fresh parameter, or a parameter made from another."""
    return bool(_USED_PARAMETER.search(data) or _REBUILT_PARAMETER.search(data) or _DISCARDED.search(data))


def suspicious_module(data: bytes) -> bool:
    """An attribute that is assigned and never named again, or layers kept where torch does not look."""
    code = _COMMENT.sub(b"", data)
    if _DISCARDED.search(code) or _TUPLE.search(code):
        return True
    if b"nn." in code and (_HELD_PLAIN.search(code) or _LOCAL_LIST.search(code)):
        return True
    counts = Counter(_WORD.findall(code))
    return any(counts[name] == 1 for name in _ASSIGNED.findall(code))


def suppresses(data: bytes) -> bool:
    """Whether the file may hold one of our suppression comments."""
    return any(word in data for word in SUPPRESSIONS)
