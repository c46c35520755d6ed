"""The rule pages: Markdown files in `rules/`, found in the wheel or in the source tree.

A page starts with `# CODE name`, then `Raised by: source, graph, run. Fix: safe.`; everything a reader needs is in it.
"""

from __future__ import annotations

import os
from functools import cache, lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def addresses() -> dict[str, str]:
    """The project's addresses by label, from the package's own metadata; empty where it names none."""
    from importlib import metadata

    try:
        named = metadata.metadata("freezelint").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return {}
    pairs = (entry.partition(",") for entry in named)
    return {label.strip().lower(): address.strip().rstrip("/") for label, _, address in pairs}


@lru_cache(maxsize=1)
def folder() -> Path:
    """The folder of the pages: `_rules` inside the installed package, else `rules` beside it."""
    package = Path(__file__).parent
    packed = package / "_rules"
    return packed if packed.is_dir() else package.parent / "rules"


@lru_cache(maxsize=1)
def codes() -> tuple[str, ...]:
    """Every code, sorted."""
    try:
        return tuple(sorted(name[:-3] for name in os.listdir(folder()) if name[:3] == "FRZ" and name[-3:] == ".md"))
    except OSError:
        return ()


@cache
def page(code: str) -> str:
    """The text of one page; KeyError where there is none."""
    try:
        return (folder() / f"{code}.md").read_text(encoding="utf-8")
    except OSError:
        raise KeyError(code) from None


def name(code: str) -> str:
    """The rule's name: the rest of its page's first line."""
    try:
        return page(code).partition("\n")[0].removeprefix(f"# {code}").strip()
    except KeyError:
        return code


def url(code: str) -> str | None:
    """Where the page can be read on the web: below the project's address `Rules`, where it has one."""
    base = addresses().get("rules")
    return f"{base}/{code}.md" if base and code in codes() else None


def witnesses(code: str) -> tuple[str, ...]:
    """Who can raise the rule: source, graph, run."""
    try:
        line = next(line for line in page(code).splitlines() if line.startswith("Raised by:"))
    except (KeyError, StopIteration):
        return ()
    raised = line.removeprefix("Raised by:").partition(".")[0]
    return tuple(word.strip() for word in raised.split(","))


def section(code: str, title: str) -> str:
    """The text under `## title` of a page, or an empty string."""
    try:
        text = page(code)
    except KeyError:
        return ""
    _, found, rest = text.partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0].strip() if found else ""
