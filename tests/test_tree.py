"""The tree the source witness reads: what it is made of, where its nodes stand, and what is written there."""

from __future__ import annotations

import pytest

from freezelint.source import cst
from freezelint.source.cst.parse import parse
from freezelint.source.positions import Positions
from freezelint.source.tree import walk

PLACES = '''# first

import a; import b; c = """
two lines"""

@wrap(
    1,
)
# between
@other
async  def  f(x,
      *args, **more):

    return [y for y in x if y]  # after


class Net(Base):
    """Words."""
    def forward(self): return self.a[0].b \\
        + 1
if c: d = 1
elif "ä": größe(e, **{"ß": 1}); g = (yield)
else:
    # above
    async def g():
        await f(y for y in x)
    # below
if not (1, 2):
    pass
'''
WRITTEN = [  # (kind, the text that stands there, its first line)
    ("Import", "import b", 3),
    ("SimpleStatementLine", 'import a; import b; c = """\ntwo lines"""', 3),
    ("SimpleString", '"""\ntwo lines"""', 3),
    ("Decorator", "@wrap(\n    1,\n)", 6),
    ("FunctionDef", "async  def  f(x,\n      *args, **more):\n\n    return [y for y in x if y]", 11),
    ("Name", "f", 11),
    ("Param", "args", 12),
    ("ListComp", "[y for y in x if y]", 14),
    ("Name", "Net", 17),
    ("BinaryOperation", "self.a[0].b \\\n        + 1", 19),
    ("Name", "b", 19),
    ("Call", 'größe(e, **{"ß": 1})', 22),
    ("Arg", '**{"ß": 1}', 22),
    ("DictElement", '"ß": 1', 22),
    ("Yield", "yield", 22),
    ("GeneratorExp", "y for y in x", 26),
    ("UnaryOperation", "not (1, 2)", 28),
    ("Tuple", "(1, 2)", 28),
]
EVERYTHING = """
from . import a as b, c
from .. import *
import x.y as z
def f(a, /, b: int = 1, *c, d=2, **e) -> None:
    global g
    del a, b
    assert a, "why"
    try: pass
    except E as err: raise err from None
    finally: pass
    with open(a) as h, b: return
    while a: break
    else: continue
    for i, *j in k: yield from i
    a = b = c[1:2, ..., d] = lambda q: (q := 1)
    a += 1j if not b else f"{a!r:>{b}} {c}" if b else {*a, 1} | {**a, 1: 2}
    match a:
        case P(b=1) if c: await d
    return {k: v for k in a for v in b if k if v}, {a for a in b}, a < b <= c, a and b or c, -a @ b, 'a' 'b'
class C(B, m=1): x: int = 1
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_node_stands_where_it_is_written(newline: str) -> None:
    text = PLACES.replace("\n", newline)
    positions = Positions(text)
    lines = text.split(newline)
    found = set()
    for node in walk(parse(text)):
        place = positions.of(node)
        if place is not None and not isinstance(node, cst.Module):
            line, column, end_line, end_column = place
            cut = lines[line - 1 : end_line]
            cut[-1] = cut[-1][:end_column]
            cut[0] = cut[0][column:]
            found.add((type(node).__name__, newline.join(cut), line))
    assert {(kind, said.replace("\n", newline), line) for kind, said, line in WRITTEN} <= found


def test_the_text_of_a_statement_has_its_comments() -> None:
    positions = Positions(PLACES)
    functions = [positions.text(node) for node in walk(parse(PLACES)) if isinstance(node, cst.FunctionDef)]
    assert functions[0].startswith("@wrap(")
    assert functions[0].endswith("if y]  # after")
    assert functions[-1] == "# above\n    async def g():\n        await f(y for y in x)"
    blocks = [positions.text(node) for node in walk(parse(PLACES)) if isinstance(node, cst.IndentedBlock)]
    assert any(block.startswith("# above") and block.endswith("# below") for block in blocks)


def test_functions_are_read_when_they_are_asked_for() -> None:
    function = parse("def f():\n    return 1\n").body[0]
    assert isinstance(function, cst.FunctionDef)
    assert callable(function.made)
    assert function.body is function.body
    assert isinstance(function.body, cst.IndentedBlock)


def test_every_kind_of_node_is_made() -> None:
    nodes = list(walk(parse(EVERYTHING)))
    kinds = {type(node).__name__ for node in nodes}
    assert not kinds & {"OtherStatement", "OtherExpression"}
    assert {"StarredElement", "Imaginary", "EllipsisLiteral", "MatchCase", "ImportStar", "CompIf", "From"} <= kinds
    operators = [node.operator for node in nodes if isinstance(node, (cst.BooleanOperation, cst.AugAssign))]
    assert operators == ["AddAssign", "Or", "And"]


def test_elif_and_else_if_are_told_apart() -> None:
    short, long = parse("if a: b\nelif c: d\n").body[0], parse("if a: b\nelse:\n    if c: d\n").body[0]
    assert isinstance(short, cst.If)
    assert isinstance(short.orelse, cst.If)
    assert isinstance(long, cst.If)
    assert isinstance(long.orelse, cst.Else)
