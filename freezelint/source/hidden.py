"""What a module uses and does not register: in plain attributes, or made anew in each `forward`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.gradient_map import Kind
from freezelint.records import record
from freezelint.source import cst
from freezelint.source.project import dotted
from freezelint.source.story import AttributeSet, Built, Called, GradFlag, Loaded, ModuleCall, Story
from freezelint.source.syntax import enclosing
from freezelint.source.values import (
    FLAT,
    Dict,
    Instance,
    Param,
    ParamIter,
    Seq,
    Tensor,
    Value,
    modules_in,
    options,
    parameters_of,
    submodules,
    tensors_in,
)

FIXED = re.compile(r"(constant|ones|zeros|eye|dirac)_$")
NORMS = re.compile(r"(Norm\w*|PReLU)$")


@record(frozen=True)
class Hidden:
    """A container (or tensor) in an attribute, with the trainable things in it that nothing registers."""

    value: Value
    modules: tuple[Instance, ...] = ()
    params: tuple[Param | Tensor, ...] = ()

    @property
    def container(self) -> str:
        kind = "Module" if self.modules else "Parameter"
        return f"{kind}Dict" if isinstance(self.value, Dict) else f"{kind}List"

    @property
    def flat(self) -> bool:
        """Whether a ModuleList (or its like) could take the place of the container: no containers inside it."""
        if isinstance(self.value, Dict):
            items = [*self.value.items.values(), *([self.value.rest] if self.value.rest is not None else [])]
        else:
            items = list(getattr(self.value, "items", ()))
        wanted = Instance if self.modules else (Param, Tensor)
        return all(isinstance(option, wanted) for item in items for option in options(item))


def hidden_in(event: AttributeSet, story: Story) -> Hidden | None:
    """What `self.name = value` hides for good, if it is used and nobody takes care of it."""
    if type(event.value) in FLAT:
        return None
    for owner in options(event.target):
        if not isinstance(owner, Instance) or not owner.is_module or owner.cls is None:
            continue
        for value in options(event.value):
            kept = any(value is held for held in options(owner.attrs.get(event.name, value)))
            if kept and (found := _hidden(owner, event, value, story)):
                unread = (story.incomplete or story.given_up) and _registered_further_on(owner, event.name)
                return None if unread or _cared_for(owner, event.name) else found
    return None


def _hidden(owner: Instance, event: AttributeSet, value: Value, story: Story) -> Hidden | None:
    if isinstance(value, Tensor):
        return Hidden(value) if _in_constructor(event) and _learnt(value, story) else None
    if not isinstance(value, (Seq, Dict)) and not (isinstance(value, ParamIter) and not value.one_shot):
        return None
    if _on_purpose(event):
        return None
    held = modules_in(value)
    loose = [p for p in _loose(value) if p.owner is None and p.node is not None]
    weights = [m for m in held if parameters_of(m)]
    modules, params = [], []
    if weights or loose:
        inside = {id(p) for module in held for part in submodules(module) for p in part.params.values()}
        registered = _registered(owner, held, story)
        weights = [m for m in weights if not (m.modes and m.modes[-1][1] is False)]
        modules = [m for m in weights if _trainable(parameters_of(m), registered, story) and _used(m, story)]
        params = _trainable([p for p in loose if id(p) not in inside], registered, story)
    tensors = [t for t in tensors_in(value) if isinstance(t, Tensor)] if _in_constructor(event) else []
    leaves = [t for t in tensors if _learnt(t, story, loose=True)]
    return Hidden(value, tuple(modules), (*params, *leaves)) if modules or params or leaves else None


def _registered(owner: Instance, held: list[Instance], story: Story) -> set[int]:
    """The ids of the parameters that `owner`, or any module outside the held ones, registers."""
    own = {id(part) for top in held for part in submodules(top)}
    seen: set[int] = set()
    outer = [part for module in story.modules if id(module) not in own for part in submodules(module, seen)]
    values = (value for part in [*outer, *submodules(owner, seen)] for value in part.params.values())
    return {id(param) for value in values for param in options(value) if isinstance(param, Param)}


def _loose(value: Value) -> list[Param]:
    items = value.items if isinstance(value, ParamIter) else tensors_in(value)
    return [item for item in items if isinstance(item, Param)]


def _trainable(params: list[Param], registered: set[int], story: Story) -> list[Param]:
    """Parameters that may train, that no module registers and no optimizer was given."""
    if any(id(param) in registered or story.optimised(param) for param in params):
        return []
    return [param for param in params if story.flag_at(param) is not False and not _escaped(param)]


def _escaped(param: Param) -> bool:
    return param.owner is not None and param.owner.escaped


def _used(module: Instance, story: Story) -> bool:
    """Whether the module takes part in a forward that autograd sees."""
    for event in story.events:
        if isinstance(event, ModuleCall) and event.context.mode.flag is not False:
            if event.module is module or any(event.module is part for part in submodules(module)):
                return True
        elif isinstance(event, Called) and isinstance(event.owner, (Seq, Dict)) and not event.name:
            called = modules_in(event.owner)
            if any(module is held for held in called):
                return True
    return False


def _in_constructor(event: AttributeSet) -> bool:
    return any(call.name == "__init__" for call in event.context.calls)


def _learnt(value: Tensor, story: Story, *, loose: bool = False) -> bool:
    """A tensor that asks for a gradient, is used, and is in no optimizer; `loose`: or computed from a new parameter."""
    if any(value is held for optimizer in story.optimizers for held in optimizer.tensors):
        return False
    origins = [story.map.nodes[i] for i in story.map.surely_reached([value.node])]
    params = [story.of_node.get(node.id) for node in origins if node.kind is Kind.PARAMETER]
    fresh = bool(params) and loose and all(param is not None and param.owner is None for param in params)
    if any(node.kind is Kind.UNKNOWN for node in origins) or (params and not fresh):
        return False
    if not fresh and not any(node.kind is Kind.INPUT and node.trainable for node in origins):
        return False
    return any(edge.source == value.node for edge in story.map.edges)


def _on_purpose(event: AttributeSet) -> bool:
    """`self.teacher = [teacher]`: one name wrapped, so that it stays out of `parameters()`."""
    node = event.value_node
    if not isinstance(node, (cst.List, cst.Tuple)) or len(node.elements) != 1:
        return False
    return isinstance(node.elements[0].value, (cst.Name, cst.Attribute))


def _cared_for(owner: Instance, name: str) -> bool:
    """Whether the class hands these out by hand: its own `parameters()`, or a method that collects them."""
    for info in owner.cls.lineage()[0] if owner.cls else []:
        for method in info.methods.values():
            if method.name in ("parameters", "named_parameters", "_apply"):
                return True
            text = method.file.code(method.node) if method.name not in ("__init__", "forward") else ""
            if re.search(rf"self\.{name}\b", text) and re.search(r"parameters\(|_modules\b", text):
                return True
    return False


def _registered_further_on(owner: Instance, name: str) -> bool:
    """Whether lines of the class that were not read any more may register what the attribute holds."""
    for info in owner.cls.lineage()[0] if owner.cls else []:
        text = info.file.code(info.node)
        if len(re.findall(rf"self\.{name}\s*=[^=]", text)) > 1:
            return True
        if re.search(rf"(List|Dict|Sequential)\(\s*\*?self\.{name}\b|add_module|register_|setattr", text):
            return True
    return False


def made_in_forward(story: Story) -> Iterator[Built]:
    """Modules with weights that a forward makes and uses, and keeps nowhere."""
    for event in story.of(Built):
        calls = event.context.calls
        if (
            not any(c.name == "forward" and c.owner and c.owner.is_module for c in calls)
            or calls[-1].name == "__init__"
        ):
            continue
        module = event.module
        if any(call.name == "__init__" for call in calls) or NORMS.search(module.external) or not parameters_of(module):
            continue
        if module.pretrained or _kept(module, story) or _set_by_hand(module, story) or not _used(module, story):
            continue
        yield event


def params_made_in_forward(story: Story) -> Iterator[Param]:
    """`nn.Parameter(...)` written in a forward, used there and kept nowhere."""
    for param in story.parameters:
        node = param.spot.node if param.spot else None
        if param.owner is not None or param.node is None or not param.born or story.optimised(param):
            continue
        if param.spot is None or not isinstance(node, cst.Call) or not dotted(node.func).endswith("Parameter"):
            continue
        around = [above for above in enclosing(param.spot) if isinstance(above, (cst.FunctionDef, cst.ClassDef))]
        if len(around) > 1 and isinstance(around[0], cst.FunctionDef) and isinstance(around[1], cst.ClassDef):
            info = param.spot.file.classes.get(around[1].name.value)
            if around[0].name.value == "forward" and info is not None and info.is_module:
                yield param


def _kept(module: Instance, story: Story) -> bool:
    for event in story.of(AttributeSet):
        if any(module is held for held in modules_in(event.value)):
            return True
    owners = (other for other in story.modules if other is not module)
    return any(module is part for other in owners for part in submodules(other))


def _set_by_hand(module: Instance, story: Story) -> bool:
    """Weights given or fixed after the module was made: it computes something fixed."""
    params = parameters_of(module)

    def among(value: Value) -> bool:
        return any(value is param for param in params)

    for event in story.events:
        if isinstance(event, GradFlag) and event.flag is not True and any(among(param) for param in event.params):
            return True
        if isinstance(event, Loaded) and event.target is module:
            return True
        if isinstance(event, AttributeSet) and (event.target is module or any(map(among, options(event.target)))):
            return True
        if isinstance(event, Called) and FIXED.search(event.name) and any(map(among, event.args)):
            return True
    return False


def unregistered(story: Story) -> set[int]:
    """The ids of all parameters that are used and not registered: whoever asks for more need not ask about these."""
    found: set[int] = set()
    for event in story.of(AttributeSet):
        hidden = hidden_in(event, story)
        if hidden is not None:
            found |= {id(p) for p in hidden.params} | {id(p) for m in hidden.modules for p in parameters_of(m)}
        for value in options(event.value):
            if isinstance(value, Tensor):
                behind = (story.of_node.get(i) for i in story.map.surely_reached([value.node]))
                found |= {id(param) for param in behind if param is not None and param.owner is None}
    found |= {id(param) for param in params_made_in_forward(story)}
    return found | {id(param) for event in made_in_forward(story) for param in parameters_of(event.module)}
