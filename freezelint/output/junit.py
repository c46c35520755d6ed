"""`junit`: one test suite a file, one failed test case a finding."""

from __future__ import annotations

import re
from itertools import groupby
from xml.etree import ElementTree as ET

from freezelint.findings import Finding
from freezelint.output import Report
from freezelint.output.concise import place

_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # a file's name may hold them


def render(report: Report) -> str:
    total = len(report.findings)
    suites = ET.Element("testsuites", name="freezelint", tests=str(max(total, 1)), failures=str(total), errors="0")
    for path, group in groupby(report.findings, key=lambda finding: finding.location.path):
        _suite(suites, path, list(group))
    if not total:
        suite = ET.SubElement(suites, "testsuite", name="freezelint", tests="1", failures="0", errors="0")
        ET.SubElement(suite, "testcase", name="No findings", classname="freezelint")
    ET.indent(suites)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        + _NOT_XML.sub("\ufffd", ET.tostring(suites, encoding="unicode"))
        + "\n"
    )


def _suite(suites: ET.Element, path: str, findings: list[Finding]) -> None:
    count = str(len(findings))
    suite = ET.SubElement(suites, "testsuite", name=path, tests=count, failures=count, errors="0")
    for finding in findings:
        name = f"{finding.code} at {place(finding.location)}"
        case = ET.SubElement(suite, "testcase", name=name, classname=path.removesuffix(".py"))
        failure = ET.SubElement(case, "failure", message=finding.message, type=finding.severity.value)
        failure.text = f"{place(finding.location)}: {finding.code} {finding.message}"
