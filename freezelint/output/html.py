"""`html`: one page that needs nothing but a browser: the findings, and a picture of each traced model."""

from __future__ import annotations

import html

from freezelint.findings import Finding
from freezelint.output import Report, picture, sum_up
from freezelint.output.concise import place
from freezelint.output.full import settled
from freezelint.output.picture import code

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 }
body { color: light-dark(#1b2330, #e4e8ee); background: light-dark(#ffffff, #12161c) }
main { max-width: 60rem; margin: 0 auto; padding: 1.25rem } main:has(+ style) { margin: 0 }
article { padding: .2rem 1rem; margin: 1.2rem 0; background: light-dark(#f5f6f8, #1a2029) }
article { border-left: 4px solid light-dark(#b83210, #ff8f6b) }
article.warning { border-color: light-dark(#a3640a, #e5ad52) }
article.hint { border-color: light-dark(#2359b8, #86b3ff) }
code, pre { font: 13px/1.45 ui-monospace, monospace } pre { overflow-x: auto; margin: .4rem 0 }
.where { color: light-dark(#56606f, #a3adba); font-size: 13px; overflow-wrap: anywhere }
.help { color: light-dark(#0b6b49, #4ccb95) } .verify { color: light-dark(#2359b8, #86b3ff) }
"""


def render(report: Report) -> str:
    alone = len(report.pictures) == 1 and not report.files
    text = "" if alone else _findings(report)
    if report.pictures:
        drawn = [picture.body(model, report.findings if alone else None, report.lines) for model in report.pictures]
        text += "".join([picture.style(), *drawn, picture.script()])
    names = ", ".join(["freezelint", *(model.name for model in report.pictures)])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(names)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{text}</body>\n</html>\n"
    )


def _findings(report: Report) -> str:
    body = "\n".join(_article(finding, report) for finding in report.findings)
    return f"<main>\n<h1>freezelint</h1>\n<p>{html.escape(sum_up(report))}.</p>\n{body}\n</main>"


def _article(finding: Finding, report: Report) -> str:
    at = finding.location
    rows = [
        f'<article class="{finding.severity.value}">',
        f'<div class="where">{html.escape(place(at))}</div>',
        f"<div><b>{finding.code}</b> {code(finding.message)}</div>",
        f"<pre>{html.escape(report.lines(at.path, at.cell, at.line).strip())}</pre>",
    ]
    rows += [
        f'<div class="where">{code(item.note)}: {html.escape(place(item.location))}</div>' for item in finding.related
    ]
    if finding.fix:
        rows.append(f'<div class="help">help: {code(finding.fix.title)}</div>')
    rows += [f'<div class="verify">{item.witness}: {code(settled(item))}</div>' for item in finding.evidence]
    return "\n".join([*rows, "</article>"])
