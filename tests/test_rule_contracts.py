"""Pages, checks and names agree with each other, and messages read the same way everywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import RULES, SECTIONS, Page, all_pages, lint

from freezelint import book, checks
from freezelint.findings import Safety
from freezelint.rule import Rule, all_rules

PAGES = {page.code: page for page in all_pages()}
CHECKS = sorted(Path(checks.__path__[0]).glob("frz*.py"))
SAFETY = {Safety.SAFE: "safe", Safety.UNSAFE: "unsafe", Safety.SHOW: "none"}

EFFECT = re.compile(
    r"\b(train(s|ed|ing)?|freez(e|es|ing)|unfreezes|gets?|gives?|carr(y|ies)|mov(e|es|ed|ing)|drifts?|never|nothing|no|ends?|"
    r"stops?|cuts?|loses?|stays?|keeps?|still|raises?|fails?|computed?|computes|thrown|unused|wasted|crosses|costs?|"
    r"always|empty|left|lost|only|steps?|stepped|changes?|updated?|updates|learns?|sets|has|hides?|holds?|uses?|reaches)\b"
)
ASIDE = re.compile(r"\b(please|should|consider|maybe|bad|ugly|wrong|incorrect|invalid|oops)\b|!", re.IGNORECASE)
BARE_CODE = re.compile(r"\b\w+\(\)|\b[a-z]+(?:_[a-z]+)+\b|\bnn\.\w+|\btorch\.\w+")


def complaints(message: str) -> list[str]:
    """What a message has against the style: lower case, no full stop, code in backticks, the effect at run time."""
    prose = re.sub(r"`[^`]*`|\{\w+\}", "", message)
    rules = {
        "starts in lower case, or with code": re.match(r"[a-z0-9`{]", message),
        "has no full stop at its end": not message.endswith((".", "!", "?", ":", ",")),
        "closes its backticks": message.count("`") % 2 == 0,
        "has code in backticks": not BARE_CODE.search(prose),
        "says what happens at run time": EFFECT.search(prose) or re.search(r"\{(effect|what|verb|why)\}", message),
        "judges nobody": not ASIDE.search(prose),
        "stands on one line of at most 160 characters": "\n" not in message and len(message) <= 160,
    }
    return [rule for rule, kept in rules.items() if not kept]


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("`encoder` is frozen, but `model.train()` lets its BatchNorm statistics drift", None),
        ("Bad freezing detected", "starts in lower case, or with code"),
        ("the parameters keep training.", "has no full stop at its end"),
        ("`encoder is frozen, but moves", "closes its backticks"),
        ("no_grad ends the gradient", "has code in backticks"),
        ("`x` is misspelt", "says what happens at run time"),
        ("please call `eval()`: its statistics drift", "judges nobody"),
    ],
)
def test_style_of_messages_is_checked(message: str, complaint: str | None) -> None:
    assert (complaint in complaints(message)) if complaint else complaints(message) == []


@pytest.mark.parametrize("rule", all_rules().values(), ids=lambda rule: rule.code)
def test_rule_messages_keep_the_style(rule: Rule) -> None:
    assert complaints(rule.message) == []
    assert not rule.fix or (re.match(r"[a-z`{]", rule.fix) and not rule.fix.endswith((".", "!")))


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda page: page.code)
def test_reported_messages_keep_the_style(page: Page, tmp_path: Path) -> None:
    for block in page.of("bad"):
        for finding in lint(block.text, tmp_path):
            if page.about_a_mistake:
                assert complaints(finding.message) == [], finding.message
                assert "{" not in re.sub(r"`[^`]*`", "", finding.message)


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda page: page.code)
def test_page_is_whole(page: Page) -> None:
    wanted = SECTIONS if page.about_a_mistake else ("What happens", "Stays silent", "Fix")
    assert tuple(section for section in page.sections if section in wanted) == wanted
    assert set(page.witnesses) <= {"source", "graph", "run"}
    assert not page.about_a_mistake or (page.of("bad") and page.of("good") and page.of("harmed"))
    for block in page.blocks:
        marked = block.role == "bad" and not page.code.startswith("FRZ5")  # the contract stands in the settings
        assert bool(block.marks) == marked, f"{page.path.name}:{block.line}"
        assert {code for _, code in block.marks} <= {page.code}
        assert block.role == "harmed" or page.judge(block)
    names = [(block.role, block.name) for block in page.blocks]
    assert len(set(names)) == len(names), "two blocks of one role and name"


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda page: page.code)
def test_links_between_pages_lead_somewhere(page: Page) -> None:
    prose = re.sub(r"(?ms)^```.*?^```$", "", page.path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", prose):
        assert (RULES / target).is_file(), target


@pytest.mark.parametrize("code", [code for code, page in PAGES.items() if page.about_a_mistake])
def test_page_has_a_check_of_the_same_name(code: str) -> None:
    rule, page = all_rules()[code], PAGES[code]
    assert rule.name == page.name
    assert SAFETY[rule.safety] == page.fix
    assert rule.claim is not None
    assert rule.checks, "no check is registered"


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.stem)
def test_check_has_a_page_and_the_name_of_its_rule(path: Path) -> None:
    code = path.stem[:6].upper()
    assert path.stem == f"{code.lower()}_{PAGES[code].name.replace('-', '_')}"
    assert path.read_text(encoding="utf-8").startswith(f'"""{code}: ')


def test_reader_of_pages_in_the_package_agrees() -> None:
    assert book.codes() == tuple(PAGES)
    for code, page in PAGES.items():
        assert (book.name(code), book.witnesses(code)) == (page.name, page.witnesses)
