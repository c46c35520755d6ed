"""FRZ108: a statement written to freeze or cut whose result is thrown away."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.findings import ClaimKind, Finding, Safety, Severity
from freezelint.rule import Place, Rule
from freezelint.source import cst, library
from freezelint.source.flags import code, held, loop_around, method_name, scope, shown
from freezelint.source.story import Backward, Event, Spot, Statement, Step, Story
from freezelint.source.values import Data, External, Func, Instance, Manager, Method, Param, Tensor, Value

RULE = Rule(
    code="FRZ108",
    name="effect-discarded",
    message="`{text}` as a statement does nothing: {what}",
    safety=Safety.SAFE,
    claim=ClaimKind.NO_EFFECT,
)
MODES = ("no_grad", "inference_mode", "enable_grad")
FREEZE = re.compile(r"_?(un)?freeze\w*")
WRITES = re.compile(r"requires_grad|freeze|\.detach_\(|setattr\(")


@RULE.on(Statement)
def discarded(event: Statement, story: Story) -> Iterator[Finding]:
    node: cst.BaseExpression = event.node
    if isinstance(node, cst.GeneratorExp) or (isinstance(node, cst.Call) and code(event, node.func) == "map"):
        yield from never_drawn(event, node)
        return
    if isinstance(node, (cst.ListComp, cst.GeneratorExp, cst.SetComp)):
        node = node.elt
    parts = [element.value for element in node.elements] if isinstance(node, cst.Tuple) else [node]
    for part in parts:
        if isinstance(part, cst.Call):
            yield from thrown_away(event, part, story)
        elif isinstance(part, (cst.Attribute, cst.Name)) and part is event.node:
            yield from uncalled(event, part)


def never_drawn(event: Statement, node: cst.BaseExpression) -> Iterator[Finding]:
    """`map(...)` or a generator expression that is to freeze something: nothing draws from it, nothing runs."""
    text = code(event, node)
    if type(event.value) is Value and WRITES.search(text):
        listed = f"list({text})" if isinstance(node, cst.Call) else f"[{text}]"
        what, title = "it makes an iterator, and nothing draws from it", "draw from it: make a list"
        edits: tuple[tuple[Place, str], ...] = ((event.spot, listed),)
        yield tell(event, node, what, Severity.ERROR, edits=edits, fix=title)


def thrown_away(event: Statement, node: cst.Call, story: Story) -> Iterator[Finding]:
    if isinstance(event.value, Manager) and event.value.kind in MODES and node is event.node:
        yield tell(event, node, f"the grad mode changes only inside `with {code(event, node)}:`", Severity.WARNING)
    elif method_name(node) == "detach" and not node.args and not shown(event):
        assert isinstance(node.func, cst.Attribute)
        made, target = detached(story, event, node), code(event, node.func.value)
        if made is None or not used_after(event, target, node) or another_rule(story, event):
            return
        what = f"the detached tensor is thrown away, `{target}` keeps its graph"
        severity = Severity.ERROR if made else Severity.HINT
        yield tell(
            event, node, what, severity, edits=kept(event, node, target), fix=f"keep it: `{target} = {target}.detach()`"
        )


def detached(story: Story, event: Statement, node: cst.Call) -> bool | None:
    """True: a tensor with a graph loses nothing here; False: one without a graph; None: it may be no tensor."""
    made = [value for value in held(event.value) if isinstance(value, Tensor)] if node is event.node else []
    if made:
        behind = story.map.behind([value.node for value in made])
        return any(story.map.nodes[i].trainable is not False for i in behind if not story.map.into(i))
    if any(isinstance(value, (Data, Param)) for value in held(event.value)):
        return True
    known = type(event.value) is Value or node is not event.node
    return True if known and "torch" in event.spot.file.text and not foreign(code(event, node.func)) else None


def used_after(event: Event, name: str, node: cst.Call) -> bool:
    """Whether what the name holds is read again, on the lines below or in the next pass of the loop."""
    if node is not getattr(event, "node", None):
        return True
    place, function = event.spot.locate(), scope(event)
    lines = event.spot.file.text.splitlines()
    if not name.isidentifier():
        following = next((line.strip() for line in lines[place.end_line :] if line.strip()), "")
        return not following.startswith((f"{name} = None", f"del {name}"))
    end = Spot(event.spot.file, function).locate().end_line if isinstance(function, cst.FunctionDef) else len(lines)
    below = "\n".join(lines[place.end_line : end])
    loop = loop_around(Spot(event.spot.file, node))
    if loop is not None:
        below += "\n" + "\n".join(lines[Spot(event.spot.file, loop).locate().line - 1 : place.line - 1])
    first = re.search(rf"^(.*?)\b{name}\b(.*)$", below, re.MULTILINE)
    if first is None:
        return False
    bound = not first[1].strip() and re.match(r"\s*=[^=]", first[2]) and not re.search(rf"\b{name}\b", first[2])
    return not bound


def another_rule(story: Story, event: Statement) -> bool:
    """Whether the tensor next meets a step of parameters other than its own: FRZ406 says what that costs."""
    sources = story.map.behind([value.node for value in held(event.value) if isinstance(value, Tensor)])
    mine = {id(story.of_node[i]) for i in sources if i in story.of_node}
    nodes = {
        edge.source for value in held(event.value) if isinstance(value, Tensor) for edge in story.map.into(value.node)
    }
    for backward in story.of(Backward):
        if backward.seq > event.seq and backward.node is not None and nodes & story.map.behind([backward.node]):
            step = next((one for one in story.of(Step) if one.seq > backward.seq), None)
            return step is not None and bool(mine) and not any(id(param) in mine for param in step.params)
    return False


def foreign(text: str) -> bool:
    """Other things with a `detach()`: streams, processes, debuggers, the object itself."""
    return bool(
        re.match(r"(self|super\(\)|cls)\.detach$", text) or re.search(r"(?i)proc|stream|thread|std|file|sock", text)
    )


def kept(event: Event, node: cst.Call, target: str) -> tuple[tuple[Place, str], ...]:
    """`x.detach()` becomes `x = x.detach()` where that is what `x` means from here on."""
    if node is not getattr(event, "node", None) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", target):
        return ()
    loop = loop_around(Spot(event.spot.file, node))
    if loop is not None and re.search(rf"\b{re.escape(target)}\b", code(event, loop.target)):
        return ()
    return ((event.spot, f"{target} = {code(event, node)}"),)


def uncalled(event: Statement, node: cst.Attribute | cst.Name) -> Iterator[Finding]:
    """A method or context manager that is named and not called."""
    values = held(event.value)
    if all(isinstance(value, External) and value.name in library.GRAD_CONTEXTS for value in values) and values:
        yield tell(event, node, f"the grad mode changes only inside `with {code(event, node)}():`", Severity.WARNING)
    elif values and not shown(event) and all(is_uncalled(value) for value in values):
        text = code(event, node)
        edits: tuple[tuple[Place, str], ...] = ((event.spot, f"{text}()"),)
        if isinstance(values[0], Func) and len(values[0].info.node.params.params) > 1:
            edits = ()
        yield tell(event, node, "it is named, not called", Severity.ERROR, edits=edits, fix=f"call it: `{text}()`")


def is_uncalled(value: Value) -> bool:
    """`module.eval`, `tensor.detach_`, `model.freeze` without their parentheses."""
    if isinstance(value, Method):
        if isinstance(value.owner, Instance):
            return value.owner.is_module and value.name in ("eval", "train")
        if type(value.owner) is Value:
            return value.name == "eval"
        return isinstance(value.owner, (Tensor, Data, Param)) and value.name in ("detach", "detach_")
    return isinstance(value, Func) and bool(FREEZE.fullmatch(value.info.name) or value.info.name == "eval")


def tell(
    event: Event,
    node: cst.BaseExpression,
    what: str,
    severity: Severity,
    edits: tuple[tuple[Place, str], ...] = (),
    fix: str = "put what it is for inside the block",
) -> Finding:
    text = code(event, node)
    place = Spot(event.spot.file, node)
    return RULE.report(place, edits=edits, subject=text, severity=severity, fix=fix, text=text, what=what)
