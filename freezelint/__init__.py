"""freezelint compares what a PyTorch author meant to freeze or train with what autograd will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from freezelint.api import audit as audit


def __getattr__(name: str) -> Any:
    if name == "audit":  # needs torch: imported when asked for
        from freezelint.api import audit

        return audit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
