"""Questions about what a line was to freeze: what the target may be, who owns the name, what an edit would replace."""

from __future__ import annotations

import re
from functools import lru_cache

from freezelint.findings import Location
from freezelint.source import cst
from freezelint.source.project import ClassInfo
from freezelint.source.story import AttributeSet, Event, OptimizerBuilt, Spot, Statement, Story, TensorFlag
from freezelint.source.syntax import within_function
from freezelint.source.values import NONE, Const, Instance, Param, Tensor, Union, Value, parameters_of
from freezelint.textfile import python_lines


def held(value: Value) -> tuple[Value, ...]:
    """What a value may be, None aside."""
    if type(value) is not Union:
        return () if value == NONE else (value,)
    return tuple(option for option in value.options if option != NONE)


def owns(module: Instance, name: str) -> bool:
    """Whether the class of an object defines or uses the attribute `name` itself."""
    return module.cls is not None and any(_mentions(info, name) for info in module.cls.lineage()[0])


@lru_cache(maxsize=512)
def _mentions(info: ClassInfo, name: str) -> bool:
    if name in info.methods or name in info.assigns:
        return True
    return bool(re.search(rf"\bself\.{name}\b|^\s+{name}\s*:", info.file.code(info.node), re.MULTILINE))


def flag_of(value: Value) -> bool | None:
    """The flag a value stands for, None where it cannot be told."""
    return bool(value.value) if isinstance(value, Const) else None


def own_parameters(value: Value) -> list[Param]:
    """The parameters a flag set on this value was meant for."""
    if isinstance(value, Param):
        return [value]
    return parameters_of(value) if isinstance(value, Instance) else []


def already(story: Story, params: list[Param], flag: bool | None, event: Event) -> bool:
    """Whether all of these parameters surely have this flag anyway, here or when the story ends."""
    if flag is None or not params or any(param.owner and param.owner.escaped for param in params):
        return False
    return all(story.flag_at(p, event) == flag for p in params) or all(story.flag_at(p) == flag for p in params)


_COMPARED = re.compile(r"[\w.\[\]]+\.requires_grad\s*==\s*\w+")


def tried(module: Instance, story: Story) -> bool:
    """Whether another line was to freeze the module and did not: that line is the mistake."""
    mine = parameters_of(module)
    known = {id(module), *map(id, mine)}
    flags = (event for event in story.of(AttributeSet) if event.name == "requires_grad" or misspelt(event.name))
    if any(id(event.target) in known for event in flags):
        return True
    nodes = {param.node for param in mine if param.node is not None}
    loose = (event for event in story.of(TensorFlag) if event.flag is False and event.node is not None)
    if nodes and any(nodes & story.map.behind([event.node]) for event in loose if event.node is not None):
        return True
    return any(_COMPARED.fullmatch(event.spot.text.strip()) for event in story.of(Statement))


def handed(story: Story, params: list[Param]) -> tuple[tuple[Spot, str], ...]:
    """Where parameters that a line was to freeze are handed to an optimizer."""
    mine = {id(param) for param in params}
    built = (one for one in story.of(OptimizerBuilt) if any(id(param) in mine for param in one.optimizer.params))
    first = next(built, None)
    return ((first.spot, "the optimizer gets its parameters here"),) if first is not None else ()


def assignment(event: AttributeSet) -> Location | None:
    """The range of `target.name = value` where that is a statement of its own; None for chains and tuples."""
    node, value = event.node, event.value_node
    if value is None or not isinstance(node, cst.Attribute):
        return None
    left, right = event.spot.locate(), Spot(event.spot.file, value).locate()
    lines = python_lines(event.spot.file.text)
    if not left.line == left.end_line == right.line <= right.end_line <= len(lines):
        return None
    before, between = lines[left.line - 1][: left.column], lines[left.line - 1][left.end_column : right.column]
    after = lines[right.end_line - 1][right.end_column :].strip()
    alone = not before.strip() or before.rstrip().endswith((";", ":"))
    if not alone or between.strip() != "=" or (after and after[0] not in "#;"):
        return None
    return Location(left.path, left.line, left.column, right.end_line, right.end_column)


USED = r"(parameters|named_parameters|children|named_children|modules|named_modules|buffers|eval|train)\("


def used_as_module(event: AttributeSet) -> bool:
    """Whether a target nobody knows is used as a module, and only as one, where the line stands."""
    if not all(type(target) is Value for target in held(event.target)) or not event.context.calls:
        return False
    name, function = re.escape(owner_text(event)), event.context.calls[-1]
    if not re.fullmatch(r"(self\\\.)?\w+", name) or function.file is not event.spot.file or name == "self":
        return False
    scope = function.owner.node if function.owner and name.startswith("self") else function.node
    text = event.spot.file.code(scope)
    asked = re.search(rf"(isinstance|hasattr|getattr|type)\(\s*{name}\b", text)
    return not asked and bool(re.search(rf"(?<![\w.]){name}(\.{USED}|\()", text))


def after_module_failed(event: AttributeSet) -> bool:
    """Whether the line stands in the handler of a `try` that used the target as a module: there it is none."""
    inner: cst.CSTNode | None = None
    for node in within_function(event.spot):
        if isinstance(node, cst.Try) and isinstance(inner, cst.ExceptHandler):
            return bool(re.search(rf"\b{re.escape(owner_text(event))}\.{USED}", code(event, node.body)))
        inner = node
    return False


def code(event: Event, node: cst.CSTNode) -> str:
    """The text of a node of the event's file."""
    return event.spot.file.code(node)


def owner_text(event: AttributeSet) -> str:
    """`target` of `target.name = value` or `setattr(target, "name", value)`, as the source writes it."""
    node = event.node
    if isinstance(node, cst.Call):
        return code(event, node.args[0].value)
    return code(event, node.value if isinstance(node, cst.Attribute) else node)


@lru_cache(maxsize=4096)
def misspelt(name: str) -> bool:
    """Whether an attribute name is a near-miss of `requires_grad`, or its method assigned over."""
    if name == "requires_grad" or name.startswith("_"):
        return False
    plain = name.rstrip("_").lower()
    if plain == "requires_grad" or NEAR.fullmatch(plain):
        return True
    return abs(len(plain) - 13) <= 2 and plain[0] in "re" and distance(plain, "requires_grad") <= 2


NEAR = re.compile(r"req(?!ue)[a-z]{0,6}_?(grad|grads|gradient|gradients|gradiant|gard|grade)")


def distance(a: str, b: str) -> int:
    """Edits from one word to the other, two letters that changed places counting as one."""
    rows = [list(range(len(b) + 1))]
    for i, left in enumerate(a, 1):
        row = [i]
        for j, right in enumerate(b, 1):
            cost = min(row[j - 1] + 1, rows[i - 1][j] + 1, rows[i - 1][j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                cost = min(cost, rows[i - 2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


COPIES = ("detach", "clone")
MOVES = ("cpu", "cuda", "contiguous", "to")


def temporary(node: cst.BaseExpression) -> cst.BaseExpression | None:
    """What lies under `.data`, `.detach()`, `.clone()` … and a part of it; None where nothing is copied or aliased."""
    base: cst.BaseExpression = node
    copied = False
    while True:
        name = method_name(base)
        if isinstance(base, cst.Attribute) and base.attr.value == "data":
            base, copied = base.value, True
        elif isinstance(base, cst.Call) and isinstance(base.func, cst.Attribute) and name in COPIES + MOVES:
            base, copied = base.func.value, copied or name in COPIES
        elif isinstance(base, cst.Subscript) and not copied:
            base = base.value
        else:
            return base if copied else None


def method_name(node: cst.CSTNode) -> str:
    """`name` of a call `owner.name(...)`, else ''."""
    return node.func.attr.value if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute) else ""


def origin(story: Story, tensor: Tensor) -> Param | Tensor:
    """The parameter an alias was taken from, the alias itself where it was taken from something else."""
    todo = [tensor.node]
    while todo:
        found = [edge.source for edge in story.map.into(todo.pop()) if edge.cut is not None or len(todo) < 3]
        for source in found:
            if source in story.of_node:
                return story.of_node[source]
        todo += found[:1]
    return tensor


def scope(event: Event) -> cst.CSTNode:
    """The function an event happens in, or its file."""
    calls = event.context.calls
    inside = calls and calls[-1].file is event.spot.file
    return calls[-1].node if inside else event.spot.file.tree


def loop_around(spot: Spot) -> cst.For | None:
    """The innermost `for` of the same function that holds a node."""
    return next((node for node in within_function(spot) if isinstance(node, cst.For)), None)


CELL = "# %%"


def shown(event: Event) -> bool:
    """Whether a line may be there to be looked at: the last one of a notebook cell, or one of a test."""
    calls = event.context.calls
    if any(info.name.startswith("test") for info in calls):
        return True
    if not event.spot.file.path.endswith(".ipynb") or calls or event.context.loops:
        return False
    below = python_lines(event.spot.file.text)[event.spot.locate().end_line :]
    following = next((line for line in below if line.strip()), CELL)
    return following.startswith(CELL)
