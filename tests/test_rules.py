"""Every rule page is proven: its blocks are run under torch, linted, and its fixes must take the harm away."""

from __future__ import annotations

import pytest
from pages import SECTIONS, Block, Page, all_pages, harm

PAGES = all_pages()


def blocks(*roles: str, source: bool = False) -> list[object]:
    """One test parameter for each block of the pages; `source`: only pages whose rule the source can raise."""
    return [
        pytest.param(page, block, id=f"{page.code}-{block.role}{'-' + block.name if block.name else ''}")
        for page in PAGES
        for role in roles
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
