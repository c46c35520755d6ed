"""Every output format: its fields, its schema where there is one, and ruff's JSON beside ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import npm
import pytest
from tool import FROZEN_BY_ATTRIBUTE, freezelint, write

from freezelint import book
from freezelint.findings import Edit, Evidence, Finding, Fix, Location, Related, Safety, Severity, Verdict
from freezelint.output import FORMATS, Report, render
from freezelint.settings import OUTPUT_FORMATS, PICTURES

AT = Location("src/train a.py", 12, 4, 12, 19)
SETTLED = Evidence(
    "run", Verdict.CONFIRMED, "`encoder.bn1.running_mean` moved by 0.08 in 2 steps", "cuda:0", {"steps": 2}
)
FULL = Finding(
    "FRZ201",
    "`encoder` is frozen, but `model.train()` lets its statistics drift: 100% <of them>",
    AT,
    Severity.ERROR,
    (Related(Location("src/model.py", 3, 0, 3, 5), "frozen here"),),
    Fix(
        "call `encoder.eval()`",
        (Edit(Location("src/train a.py", 13, 0, 13, 0), "    encoder.eval()\n"),),
        Safety.UNSAFE,
    ),
    None,
    (SETTLED,),
)
PLAIN = Finding("FRZ002", "does not parse", Location("b.py", 1), Severity.WARNING)
IN_CELL = Finding("FRZ101", "attribute", Location("n.ipynb", 2, 0, 2, 5, cell=3), Severity.HINT)
ALL = [FULL, IN_CELL, PLAIN]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report(findings: list[Finding], **more: Any) -> Report:
    return Report(findings, files=3, lines=lambda *at: f"    line_{at[2]}(call)  # ä", **more)


def test_every_format_is_offered_and_renders() -> None:
    assert FORMATS.keys() == {*OUTPUT_FORMATS, *PICTURES}
    for name in OUTPUT_FORMATS:
        assert "FRZ201" in render(report(ALL), name)
        assert render(report([]), name).strip() or name == "github" or name == "json-lines"


def test_full_shows_source_carets_places_help_and_evidence() -> None:
    assert render(report([FULL], colour=False, unsafe_fixes=True), "full").splitlines()[:9] == [
        f"src/train a.py:12:5: FRZ201 [*] {FULL.message}",
        "  11 |     line_11(call)  # ä",
        "  12 |     line_12(call)  # ä",
        "     |     ^^^^^^^^^^^^^",
        "  13 |     line_13(call)  # ä",
        "    frozen here: src/model.py:3:1",
        "    help: call `encoder.eval()` (unsafe fix)",
        "    verify: confirmed on cuda:0, `encoder.bn1.running_mean` moved by 0.08 in 2 steps",
        "",
    ]


def test_sum_up_line() -> None:
    last = render(report(ALL, models=2, runs=1, refuted=1), "concise").splitlines()[-2:]
    assert last == [
        "Found 1 error, 1 warning, 1 hint in 3 files; 2 models traced; 1 run made; 1 confirmed, 1 refuted",
        "1 fixable with `--fix --unsafe-fixes`",
    ]


def test_carets_stand_under_wide_letters_and_tabs() -> None:
    finding = Finding("FRZ101", "m", Location("a.py", 1, 3, 1, 6))
    shown = Report([finding], lines=lambda *at: "\t値=abc" if at[2] == 1 else "")
    rows = render(shown, "full").splitlines()
    assert rows[1:3] == ["  1 |     値=abc", "    |        ^^^"]


def test_json_record() -> None:
    record = json.loads(render(report([FULL]), "json"))[0]
    assert record == {
        "cell": None,
        "code": "FRZ201",
        "end_location": {"column": 20, "row": 12},
        "evidence": [
            {
                "witness": "run",
                "verdict": "confirmed",
                "detail": SETTLED.detail,
                "device": "cuda:0",
                "numbers": {"steps": 2},
            }
        ],
        "filename": os.path.abspath("src/train a.py"),
        "fix": {
            "applicability": "unsafe",
            "edits": [
                {
                    "content": "    encoder.eval()\n",
                    "end_location": {"column": 1, "row": 13},
                    "location": {"column": 1, "row": 13},
                }
            ],
            "message": "call `encoder.eval()`",
        },
        "location": {"column": 5, "row": 12},
        "message": FULL.message,
        "name": book.name("FRZ201"),
        "noqa_row": 12,
        "related": [
            {
                "cell": None,
                "end_location": {"column": 6, "row": 3},
                "filename": os.path.abspath("src/model.py"),
                "location": {"column": 1, "row": 3},
                "message": "frozen here",
            }
        ],
        "severity": "error",
        "url": book.url("FRZ201"),
    }


def test_json_lines_are_the_same_records() -> None:
    lines = render(report(ALL), "json-lines").splitlines()
    assert [json.loads(line) for line in lines] == json.loads(render(report(ALL), "json"))


def test_github_commands() -> None:
    rows = render(report(ALL), "github").splitlines()
    assert rows[0].startswith(
        "::error title=freezelint (FRZ201),file=src/train a.py,line=12,endLine=12,col=5,endColumn=20::"
    )
    assert rows[0].endswith("drift: 100%25 <of them>")
    assert rows[1].startswith("::notice title=freezelint (FRZ101),file=n.ipynb::n.ipynb:cell 3:2:1: ")


def test_junit() -> None:
    root = ET.fromstring(render(report(ALL), "junit"))
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "3", "3")
    assert [suite.get("name") for suite in root] == ["src/train a.py", "n.ipynb", "b.py"]
    assert root[0][0][0].get("message") == FULL.message
    clean = ET.fromstring(render(report([]), "junit"))
    assert (clean.get("tests"), clean.get("failures"), len(clean[0][0])) == ("1", "0", 0)


@pytest.mark.parametrize("name", OUTPUT_FORMATS)
@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text here")
def test_name_of_a_file_may_hold_any_byte(folder: Path, name: str) -> None:
    for file in (b"bad\xff.py", b"control\x01.py"):
        Path(os.fsdecode(file)).write_text(FROZEN_BY_ATTRIBUTE)
    result = freezelint("--output-format", name, ".")
    assert (result.code, result.err) == (1, "")
    if name == "junit":
        assert ET.fromstring(result.out).get("tests") == "2"
    if name == "sarif":
        assert '"uri": "bad%FF.py"' in result.out
    assert freezelint("--output-format", name, "--output-file", "report", ".").code == 1


@pytest.mark.slow
def test_junit_keeps_the_schema_that_ci_servers_read() -> None:
    """The schema of Jenkins, as pytest's own source archive carries it for its tests."""
    xmlschema = pytest.importorskip("xmlschema", reason="xmlschema is not installed")
    archive = source_archive("pytest==8.4.2")
    with tarfile.open(archive) as packed:
        member = next(name for name in packed.getnames() if name.endswith("/junit-10.xsd"))
        content = packed.extractfile(member)
        assert content is not None
        schema = xmlschema.XMLSchema(content.read().decode())
    for findings in (ALL, [FULL], []):
        assert [error.reason for error in schema.iter_errors(render(report(findings), "junit"))] == []


def source_archive(requirement: str) -> Path:
    """The source archive of a package, fetched once by pip; the test is skipped where it cannot be had."""
    name, _, version = requirement.partition("==")
    home = npm.cache_folder()
    archive = home / f"{name}-{version}.tar.gz"
    if not archive.exists():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", name, "--dest", str(home)]
        if subprocess.run([*command, requirement], capture_output=True, timeout=300, check=False).returncode:
            pytest.skip(f"{requirement} cannot be fetched: JUnit is not validated against its schema")
    return archive


GITLAB = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "description": {"type": "string"},
            "check_name": {"type": "string"},
            "fingerprint": {"type": "string"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "positions"],
                "properties": {
                    "path": {"type": "string", "pattern": "^[^/.]"},
                    "positions": {
                        "required": ["begin"],
                        "properties": {"begin": {"required": ["line"], "properties": {"line": {"type": "integer"}}}},
                    },
                },
            },
        },
    },
}


def test_gitlab_code_quality() -> None:
    """What GitLab's manual asks for; its own reader wants less (`codeclimate.json` in its source)."""
    jsonschema = pytest.importorskip("jsonschema")
    issues = json.loads(render(report([*ALL, FULL]), "gitlab"))
    jsonschema.validate(issues, GITLAB)
    prints = [issue["fingerprint"] for issue in issues]
    assert len(set(prints)) == 4
    assert prints[0] == json.loads(render(report([FULL]), "gitlab"))[0]["fingerprint"]


def test_sarif() -> None:
    run = json.loads(render(report(ALL), "sarif"))["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["FRZ002", "FRZ101", "FRZ201"]
    result = run["results"][0]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "FRZ201"
    assert rules[2]["help"]["markdown"] == book.page("FRZ201")
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "src/train%20a.py", "uriBaseId": "SRCROOT"}
    assert place["region"] == {"startLine": 12, "startColumn": 5, "endLine": 12, "endColumn": 20}
    assert result["relatedLocations"][0]["message"]["text"] == "frozen here."
    assert (
        result["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"]["text"] == "    encoder.eval()\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("addresses", [{}, {"homepage": "https://example.org/it", "rules": "https://example.org/r"}])
def test_sarif_passes_the_multitool_without_error_or_warning(
    folder: Path, addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "addresses", lambda: addresses)
    tool = sarif_multitool()
    write(folder, {"src/train a.py": "x = 1\n" * 20, "src/model.py": "y = 2\n" * 5, "b.py": "", "n.ipynb": "{}"})
    (folder / "out.sarif").write_text(render(report(ALL), "sarif"))
    command = [*tool, "validate", "out.sarif", "--rule-kind", "Sarif;Ghas", "--output", "said.sarif"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((folder / "said.sarif").read_text(encoding="utf-8-sig"))["runs"][0]["results"]
    assert [
        (one["ruleId"], one["message"]) for one in said if one.get("level", "warning") in ("warning", "error")
    ] == []


def sarif_multitool() -> list[str]:
    """The validator: found on the path, or fetched by npm."""
    if found := shutil.which("sarif-multitool") or os.environ.get("SARIF_MULTITOOL"):
        return [found]
    modules = npm.modules("@microsoft/sarif-multitool")
    for binary in modules.glob("@microsoft/sarif-multitool-*/Sarif.Multitool"):
        binary.chmod(0o755)
        return [str(binary)]
    return [str(modules / ".bin" / "sarif-multitool")]


def shape(value: Any) -> Any:
    """The names and types of a record, values left out; a list by its first element."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a package whose metadata name the project's addresses."""
    addresses = {"homepage": "https://example.org/it", "rules": "https://example.org/it/rules"}
    monkeypatch.setattr(book, "addresses", lambda: addresses)


def test_addresses_are_those_of_the_metadata(published: None) -> None:
    record = json.loads(render(report([FULL]), "json"))[0]
    assert record["url"] == "https://example.org/it/rules/FRZ201.md"
    driver = json.loads(render(report([FULL]), "sarif"))["runs"][0]["tool"]["driver"]
    assert (driver["informationUri"], driver["rules"][0]["helpUri"]) == ("https://example.org/it", record["url"])


def test_no_address_is_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "addresses", dict)
    assert json.loads(render(report([FULL]), "json"))[0]["url"] is None
    assert "helpUri" not in render(report([FULL]), "sarif")


def test_json_beside_the_real_ruff(folder: Path, published: None) -> None:
    """One line that both tools report, fix included: what both have agrees in name, type and meaning."""
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("ruff is not installed")
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE.replace("net.requires_grad = False", "net.requires_grad = False;")})
    command = [
        ruff,
        "check",
        "--isolated",
        "--select",
        "E703",
        "--output-format",
        "json",
        "--exit-zero",
        "--no-cache",
        ".",
    ]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)[0]
    ours = freezelint("--isolated", "--output-format", "json", "--exit-zero", "--no-cache", ".").findings[0]
    assert theirs.keys() <= ours.keys()
    assert ours.keys() - theirs.keys() == {"evidence", "related"}
    assert {name: shape(ours[name]) for name in theirs} == shape(theirs)
    assert ours["filename"] == theirs["filename"]
    assert ours["location"]["row"] == theirs["location"]["row"] == ours["noqa_row"] == theirs["noqa_row"]
    # ruff points at the semicolon, which starts where our statement ends: ends are exclusive, columns count from 1
    assert ours["fix"]["edits"][0]["end_location"] == theirs["location"]


def test_places_in_cells_are_those_of_ruff_which_counts_cells_from_1(folder: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("ruff is not installed")
    code = FROZEN_BY_ATTRIBUTE.replace("net.requires_grad = False", "net.requires_grad = False;\nnet")
    cells = [{"cell_type": "markdown", "metadata": {}, "source": "# about"}]
    cells += [{"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": code}]
    data = {"cells": cells, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 4}
    write(folder, {"n.ipynb": json.dumps(data, indent=1)})
    command = [ruff, "check", "--isolated", "--select", "E703", "--output-format", "json", "--no-cache", "n.ipynb"]
    (theirs,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    (ours,) = freezelint("--isolated", "--output-format", "json", "--no-cache", "n.ipynb").findings
    assert (ours["cell"] + 1, ours["location"]["row"]) == (theirs["cell"], theirs["location"]["row"]) == (2, 4)


@pytest.mark.parametrize(
    "options", [["--statistics"], ["--show-files"], ["--exit-zero"], ["--no-cache"], ["-e"], ["-n"], ["-q"]]
)
def test_options_that_ruff_has_too_are_accepted_by_both(folder: Path, options: list[str]) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("ruff is not installed")
    write(folder, {"a.py": "x = 1\n"})
    assert (
        subprocess.run([ruff, "check", "--isolated", *options, "."], capture_output=True, check=False).returncode == 0
    )
    assert freezelint("check", "--isolated", *options, ".").code == 0
