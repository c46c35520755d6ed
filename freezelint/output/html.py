"""`html`: one page that needs nothing but a browser."""

from __future__ import annotations

import html
import re

from freezelint.findings import Finding
from freezelint.output import Report, sum_up
from freezelint.output.concise import place
from freezelint.output.full import settled

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
article { border-left: 4px solid #c33; padding: .2rem 1rem; margin: 1.2rem 0; background: #f7f7f9; }
article.warning { border-color: #d90 } article.hint { border-color: #39c }
code, pre { font: 13px/1.45 ui-monospace, monospace } pre { overflow-x: auto; margin: .4rem 0 }
.where { color: #667; font-size: 13px } .help { color: #175 } .verify { color: #259 }
@media (prefers-color-scheme: dark) { body { background: #14181f; color: #dde } article { background: #1d232d } }
"""


def render(report: Report) -> str:
    body = "\n".join(_article(finding, report) for finding in report.findings)
    tables = "".join(f"<pre>{html.escape(table)}</pre>\n" for table in report.tables)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>freezelint</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>freezelint</h1>\n<p>{html.escape(sum_up(report))}.</p>\n"
        f"{body}\n{tables}</body>\n</html>\n"
    )


def _article(finding: Finding, report: Report) -> str:
    at = finding.location
    rows = [
        f'<article class="{finding.severity.value}">',
        f'<div class="where">{html.escape(place(at))}</div>',
        f"<div><b>{finding.code}</b> {_code(finding.message)}</div>",
        f"<pre>{html.escape(report.lines(at.path, at.cell, at.line).strip())}</pre>",
    ]
    rows += [
        f'<div class="where">{_code(item.note)}: {html.escape(place(item.location))}</div>' for item in finding.related
    ]
    if finding.fix:
        rows.append(f'<div class="help">help: {_code(finding.fix.title)}</div>')
    rows += [f'<div class="verify">{item.witness}: {_code(settled(item))}</div>' for item in finding.evidence]
    return "\n".join([*rows, "</article>"])


def _code(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text, quote=False))
