"""Scaffold a rule: `python tests/new_rule.py FRZ204 some-name` writes its page and its check.

Both run at once and prove nothing yet: `pytest tests/test_rules.py -k FRZ204` fails until the page's bad block harms,
the check reports it, and nothing else. There is no registry to touch.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PAGE = """\
# {code} {name}

Raised by: source, run. Fix: none.

## What happens
What autograd or the optimizer does here, measured, with the torch version.

## Bad
```python bad
import torch
from torch import nn

model = nn.Linear(8, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss = model(torch.randn(4, 8)).square().mean()  # {code}
loss.backward()
optimizer.step()
```

## Good
```python good
import torch
from torch import nn

model = nn.Linear(8, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss = model(torch.randn(4, 8)).square().mean()
loss.backward()
optimizer.step()
```

## Harmed
What can be seen under torch when it has happened, without a word of freezelint.
```python harmed
def harmed():
    return all(parameter.grad is None for parameter in model.parameters())
```

## Stays silent
- The idioms that look alike and are right.

## Fix
None: why no edit has one reading only.

## Source
The page of the torch documentation that says so.
"""

CHECK = '''\
"""{code}: what the line does at run time."""

from __future__ import annotations

from collections.abc import Iterator

from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule
from freezelint.source.story import {event}, Story

RULE = Rule(
    code="{code}",
    name="{name}",
    message="`{{target}}` stays as it is: its parameters never move",
    fix="say what to do instead",
    claim=ClaimKind.NO_EFFECT,
)


@RULE.on({event})
def check_{function}(event: {event}, story: Story) -> Iterator[Finding]:
    return
    yield RULE.report(event.spot, target=event.spot.text)
'''


class Refused(Exception):
    """The rule cannot be scaffolded; the text says why."""


def scaffold(code: str, name: str, root: Path = ROOT) -> tuple[Path, Path]:
    """Write the page and the check, and return their paths. Raises Refused; overwrites nothing."""
    if not re.fullmatch(r"FRZ[1-9]\d\d", code):
        raise Refused(f"`{code}` is no rule's code: FRZ, a family from 1 to 9, two digits")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)+", name):
        raise Refused(f"`{name}` is no rule's name: two lower-case words or more, joined by hyphens")
    function = name.replace("-", "_")
    page = root / "rules" / f"{code}.md"
    check = root / "freezelint" / "checks" / f"{code.lower()}_{function}.py"
    taken = [page] if page.exists() else sorted(check.parent.glob(f"{code.lower()}_*.py"))
    if taken:
        raise Refused(f"{code} exists already: {taken[0].relative_to(root)}")
    page.write_text(PAGE.format(code=code, name=name), encoding="utf-8")
    check.write_text(CHECK.format(code=code, name=name, function=function, event="Statement"), encoding="utf-8")
    return page, check


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print("usage: python tests/new_rule.py FRZ204 some-name", file=sys.stderr)
        return 2
    try:
        written = scaffold(*arguments)
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 2
    for path in written:
        print(path.relative_to(ROOT))
    print(f"now: pytest tests/test_rules.py tests/test_rule_contracts.py -k {arguments[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
