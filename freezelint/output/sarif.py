"""`sarif`: version 2.1.0, as GitHub code scanning takes it; rule help comes from the pages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from freezelint import __version__, book
from freezelint.findings import Finding, Fix, Location, Related, Severity
from freezelint.output import Report
from freezelint.output.full import settled
from freezelint.output.gitlab import fingerprint

LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.HINT: "note"}
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
BASE = "SRCROOT"
SUBJECT = "https://docs.pytorch.org/docs/stable/notes/autograd.html"  # where the project has no address of its own


def render(report: Report) -> str:
    codes = sorted({finding.code for finding in report.findings})
    seen: dict[str, int] = {}
    run = {
        "tool": {
            "driver": {
                "name": "freezelint",
                "fullName": "freezelint: what was meant to be frozen against what autograd does",
                "informationUri": book.addresses().get("homepage", SUBJECT),
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(code) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {BASE: {"uri": Path.cwd().as_uri().rstrip("/") + "/"}},
        "results": [_result(finding, codes.index(finding.code), report, seen) for finding in report.findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _rule(code: str) -> dict[str, Any]:
    page = book.url(code)
    happens = book.section(code, "What happens")
    name = "".join(word.capitalize() for word in book.name(code).split("-"))
    rule: dict[str, Any] = {
        "id": code,
        "name": name,
        "shortDescription": {"text": book.name(code).replace("-", " ").capitalize() + "."},
        "properties": {"tags": ["pytorch", "autograd"]},
    }
    if page:
        rule["helpUri"] = page
    if happens:
        first = " ".join(re.split(r"(?<=[.!?])\s", " ".join(happens.split()), maxsplit=1)[0].split())
        rule["fullDescription"] = {"text": first if first.endswith(".") else first + "."}
        rule["help"] = {"text": happens, "markdown": book.page(code)}
    return rule


def _result(finding: Finding, index: int, report: Report, seen: dict[str, int]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": LEVEL[finding.severity],
        "message": {"text": _sentence(finding.message, *map(settled, finding.evidence))},
        "locations": [_location(finding.location)],
        "partialFingerprints": {"primaryLocationLineHash": fingerprint(finding, report, seen)},
    }
    if finding.related:
        result["relatedLocations"] = [_related(item, number) for number, item in enumerate(finding.related, 1)]
    if finding.fix and finding.fix.edits and finding.location.cell is None:
        result["fixes"] = [_fix(finding.fix)]
    return result


def _related(item: Related, number: int) -> dict[str, Any]:
    return {"id": number, **_location(item.location), "message": {"text": _sentence(item.note)}}


def _sentence(*parts: str) -> str:
    """The parts as sentences: SARIF's readers expect a full stop."""
    return " ".join(part if part.endswith((".", "!", "?")) else part + "." for part in parts)


def _artifact(path: str) -> dict[str, Any]:
    if Path(path).is_absolute():
        return {"uri": Path(path).as_uri()}
    return {"uri": quote(path.replace("\\", "/"), errors="surrogateescape"), "uriBaseId": BASE}


def _region(at: Location) -> dict[str, int]:
    region = {"startLine": at.line, "startColumn": at.column + 1}
    if at.end_line:
        region |= {"endLine": at.end_line, "endColumn": at.end_column + 1}
    return region


def _location(at: Location) -> dict[str, Any]:
    place: dict[str, Any] = {"physicalLocation": {"artifactLocation": _artifact(at.path), "region": _region(at)}}
    if at.cell is not None:
        place["logicalLocations"] = [{"name": f"cell {at.cell}", "kind": "module"}]
    return place


def _fix(fix: Fix) -> dict[str, Any]:
    by_path: dict[str, list[dict[str, Any]]] = {}
    for edit in fix.edits:
        replacement = {"deletedRegion": _region(edit.location), "insertedContent": {"text": edit.text}}
        by_path.setdefault(edit.location.path, []).append(replacement)
    changes = [{"artifactLocation": _artifact(path), "replacements": edits} for path, edits in by_path.items()]
    return {"description": {"text": _sentence(fix.title)}, "artifactChanges": changes}
