"""Every rule page is proven: its blocks are run under torch, linted, and its fixes must take the harm away."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import Block, Page, all_pages, harm, lint, told

from freezelint.findings import Safety
from freezelint.fixes import apply
from freezelint.source import gate

PAGES = all_pages()


def blocks(role: str, *, source: bool = False) -> list[object]:
    """One test parameter for each block of a role; `source`: only of pages whose rule the source can raise."""
    return [
        pytest.param(page, block, id="-".join(filter(None, (page.code, role, block.name))))
        for page in PAGES
        for block in page.of(role)
        if not source or "source" in page.witnesses
    ]


@pytest.mark.parametrize(("page", "block"), blocks("bad"))
def test_bad_block_harms(page: Page, block: Block) -> None:
    pytest.importorskip("torch")
    assert harm(page, block), f"{page.path.name}:{block.line}: harmed() is false after the bad block"


@pytest.mark.parametrize(("page", "block"), blocks("good"))
def test_good_block_does_not_harm(page: Page, block: Block) -> None:
    pytest.importorskip("torch")
    assert not harm(page, block), f"{page.path.name}:{block.line}: harmed() is true after the good block"


@pytest.mark.parametrize(("page", "block"), blocks("bad", source=True))
def test_bad_block_is_reported(page: Page, block: Block, tmp_path: Path) -> None:
    assert page.code == "FRZ002" or gate.passes(block.text.encode())
    assert told(lint(block.text, tmp_path), block.marks) == block.marks


@pytest.mark.parametrize(("page", "block"), blocks("good"))
def test_good_block_is_silent(page: Page, block: Block, tmp_path: Path) -> None:
    said = [(finding.location.line, finding.code, finding.message) for finding in lint(block.text, tmp_path)]
    assert said == [], f"{page.path.name}:{block.line}"


@pytest.mark.parametrize(("page", "block"), blocks("bad", source=True))
def test_fix_takes_the_harm_away(page: Page, block: Block, tmp_path: Path) -> None:
    findings = [finding for finding in lint(block.text, tmp_path) if finding.code == page.code]
    assert findings, "nothing reported, nothing to fix"
    fixes = [finding.fix for finding in findings if finding.fix and finding.fix.edits]
    if page.fix == "none" or (not fixes and block is not page.of("bad")[0]):
        assert not fixes, f"{page.path.name} promises no fix"
        return
    assert len(fixes) == len(findings), f"{page.path.name} promises a {page.fix} fix"
    assert page.fix == "unsafe" or all(fix.safety is Safety.SAFE for fix in fixes)
    path = str(tmp_path / "page.py")
    changed, fixed = apply({path: block.text}, findings, unsafe=True)
    assert fixed == len(findings)
    assert not [finding for finding in lint(changed[path], tmp_path) if finding.code == page.code], changed[path]
    pytest.importorskip("torch")
    assert not harm(page, block, changed[path]), f"harmed() is still true after the fix:\n{changed[path]}"


def tabbed(text: str) -> str:
    """The same program indented by tabs, with CRLF line ends and none at the end."""
    lines = [row.lstrip(" ") for row in text.splitlines()]
    depths = [(len(row) - len(bare)) // 4 for row, bare in zip(text.splitlines(), lines, strict=True)]
    return "\r\n".join("\t" * depth + row for depth, row in zip(depths, lines, strict=True))


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if "source" in page.witnesses and page.fix != "none" and page.about_a_mistake],
    ids=lambda page: page.code,
)
def test_fix_keeps_tabs_and_line_ends(page: Page, tmp_path: Path) -> None:
    text, path = tabbed(page.of("bad")[0].text), str(tmp_path / "page.py")
    findings = [finding for finding in lint(text, tmp_path) if finding.code == page.code]
    changed, _ = apply({path: text}, findings, unsafe=True)
    edits = [edit for finding in findings if finding.fix for edit in finding.fix.edits]
    touched = {line for edit in edits for line in range(edit.location.line, edit.location.end_line + 1)}
    kept = [row for number, row in enumerate(text.split("\r\n"), start=1) if number not in touched]
    new = changed.get(path, text)
    compile(new, page.path.name, "exec", dont_inherit=True)
    assert not new.endswith("\n")
    assert "\n" not in new.replace("\r\n", "")
    assert "\n " not in new, new
    assert set(kept) <= set(new.split("\r\n")), new
    assert edits
    assert not [one for one in lint(new, tmp_path) if one.code == page.code], new
