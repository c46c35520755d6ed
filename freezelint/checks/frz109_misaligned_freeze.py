"""FRZ109: a freeze loop that pairs iterators which do not line up."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.facts import Facts
from freezelint.findings import ClaimKind, Finding
from freezelint.rule import Rule
from freezelint.source import cst
from freezelint.source.flags import code, held, loop_around
from freezelint.source.story import AttributeSet, Called, Event, Spot, Story
from freezelint.source.values import Const, Instance, Param, ParamIter, Seq, Value, modules_in, submodules
from freezelint.textfile import python_lines

RULE = Rule(
    code="FRZ109",
    name="misaligned-freeze",
    message="`{left}` and `{right}` do not line up: the loop freezes other parameters than the ones it names",
    fix="walk `{right}` alone, by name, or freeze the parameters of each module",
    claim=ClaimKind.STILL_TRAINS,
)


@RULE.on(Called)
def zipped(event: Called, _story: Story) -> Iterator[Finding]:
    """`zip` of the modules and the parameters of a network, in a loop that sets the flag of the latter."""
    node = event.spot.node
    if event.name != "zip" or not isinstance(node, cst.Call) or len(node.args) != len(event.args):
        return
    if not any(isinstance(value, ParamIter) for value in event.args):
        return
    kinds = [kind_of(value, written(event, arg.value)) for value, arg in zip(event.args, node.args, strict=True)]
    loop = loop_around(event.spot)
    if "parameters" not in kinds or loop is None:
        return
    at = kinds.index("parameters")
    names = columns(loop, node, at)
    body = code(event, loop.body)
    if not any(re.search(rf"\b{name}\.requires_grad(_\(|\s*=[^=])", body) for name in names):
        return
    other = next(
        (i for i, kind in enumerate(kinds) if kind == "modules" or (kind == "state" and buffered(event.args[at]))), None
    )
    if other is not None:
        yield RULE.report(
            event.spot,
            subject=code(event, node.args[at].value),
            left=code(event, node.args[other].value),
            right=code(event, node.args[at].value),
        )


@RULE.on(AttributeSet)
def indexed(event: AttributeSet, _story: Story) -> Iterator[Finding]:
    """`params[i].requires_grad = …` where `i` counts the modules of a network."""
    node = event.node
    if (
        event.name != "requires_grad"
        or not isinstance(node, cst.Attribute)
        or not isinstance(node.value, cst.Subscript)
    ):
        return
    loop = loop_around(event.spot)
    index = code(event, node.value.slice[0].slice) if len(node.value.slice) == 1 else ""
    known = held(event.target) and all(isinstance(target, Param) for target in held(event.target))
    if loop is None or not known or not isinstance(loop.target, (cst.Tuple, cst.List)) or not loop.target.elements:
        return
    walked = re.fullmatch(r"enumerate\((.*\b(named_)?(modules|children)\(\).*)\)", code(event, loop.iter), re.DOTALL)
    if walked and code(event, loop.target.elements[0].value) == index:
        right = code(event, node.value.value)
        place = Spot(event.spot.file, loop.iter)
        yield RULE.report(place, subject=right, left=walked[1], right=right)


def written(event: Event, node: cst.BaseExpression) -> str:
    """The text of an argument; of a name, what was assigned to it last above."""
    text = code(event, node)
    if not isinstance(node, cst.Name):
        return text
    above = "\n".join(python_lines(event.spot.file.text)[: event.spot.locate().line - 1])
    found = re.findall(rf"^\s*{text}\s*=\s*(.*)$", above, re.MULTILINE)
    return found[-1] if found else text


def kind_of(value: Value, text: str) -> str:
    """What a column of the zip walks: parameters, modules, the entries of a state_dict, or something else."""
    if isinstance(value, ParamIter):
        return "parameters"
    if isinstance(value, Seq) and value.items:
        if (
            not modules_in(value)
            and any(isinstance(i, Const) for i in value.items)
            and re.search(r"\bnamed_(modules|children)\(", text)
        ):
            return "modules"
        last = [item.items[-1] if isinstance(item, Seq) and item.items else item for item in value.items]
        if all(isinstance(item, Instance) and item.is_module for item in last):
            return "modules" if re.search(r"\b(named_)?(modules|children)\(", text) else ""
    return "state" if re.search(r"\.state_dict\(\)(\.(keys|items|values)\(\))?$", text) else ""


def buffered(value: Value) -> bool:
    """Whether the network of these parameters surely holds buffers: its state_dict is then longer."""
    owner = value.owner if isinstance(value, ParamIter) else None
    return isinstance(owner, Instance) and any(part.norm is True for part in submodules(owner))


def columns(loop: cst.For, call: cst.Call, index: int) -> list[str]:
    """The names the loop gives to column `index` of the zip."""
    target: cst.CSTNode = loop.target
    if loop.iter is not call:
        if not isinstance(target, (cst.Tuple, cst.List)) or len(target.elements) != 2:
            return []
        target = target.elements[1].value
    if not isinstance(target, (cst.Tuple, cst.List)) or index >= len(target.elements):
        return []
    column = target.elements[index].value
    parts = [e.value for e in column.elements] if isinstance(column, (cst.Tuple, cst.List)) else [column]
    return [part.value for part in parts if isinstance(part, cst.Name)]


@RULE.on(Facts)
def seen_in_run(facts: Facts) -> Iterator[Finding]:
    for fact in facts.of("misaligned"):
        message = "this loop pairs modules with parameters, which do not line up: it freezes `{subject}`"
        yield fact.report(RULE, message, "{parameters} parameters were frozen by it")
