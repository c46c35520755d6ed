"""The language server: diagnostics while typing, fixes, suppressions, hover; never runs user code unasked."""

from __future__ import annotations


def serve() -> None:
    """Speak the protocol on standard input and output until told to exit."""
    from freezelint.server import actions, documents, witnesses, workspace  # noqa: F401  what they handle
    from freezelint.server.session import server

    try:
        server.start_io()
    finally:
        server.end()
