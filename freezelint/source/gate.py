"""The byte gate: could any rule speak in this file? Asked before anything is parsed.

The triggers are matched anywhere in the bytes, also inside other words and in comments: the gate may let a file pass
that holds nothing, it never keeps one back that holds something. A tuple of plain substrings: `in` beats one regular
expression of alternatives by far on files that hold none.
"""

from __future__ import annotations

TRIGGERS: tuple[bytes, ...] = (
    b"requir",  # requires_grad, and the misspellings that keep its head
    b"no_grad",
    b"inference_mode",
    b"grad_enabled",
    b"detach",
    b"backward",
    b"optim",
    b"zero_grad",
    b"checkpoint",
    b"Parameter",
    b"parameters(",
    b"nn.Module",
    b".data",
    b".eval",
    b".item(",
    b".numpy(",
    b"Variable",
    b"freeze",
    b"training_step",
    b"autocast",
)
SUPPRESSIONS: tuple[bytes, ...] = (b"FRZ", b"freezelint:")
MODELS: tuple[bytes, ...] = (b"Module", b"torch", b"from_pretrained")


def passes(data: bytes, *, models: bool = False) -> bool:
    """Whether the file needs reading; `models`: also when it might only define a model to trace."""
    return any(trigger in data for trigger in TRIGGERS) or (models and any(word in data for word in MODELS))


def suppresses(data: bytes) -> bool:
    """Whether the file may hold one of our suppression comments."""
    return any(word in data for word in SUPPRESSIONS)
