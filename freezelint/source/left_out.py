"""What backward computes weight gradients for although no optimizer holds it, grouped as the author sees it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from freezelint.gradient_map import Edge
from freezelint.records import record
from freezelint.source import cst
from freezelint.source.elements import dotted_names
from freezelint.source.project import FunctionInfo
from freezelint.source.story import (
    AttributeSet,
    Backward,
    Consumed,
    GradRead,
    GroupAdded,
    ModuleCall,
    Spot,
    Step,
    Story,
    TensorFlag,
    Written,
)
from freezelint.source.tree import holds
from freezelint.source.values import (
    Instance,
    Param,
    Seq,
    Value,
    direct_children,
    named_children,
    options,
    parameters_of,
    submodules,
)
from freezelint.source.wasted import flowing

CRITERION = re.compile(r"loss|div|entropy|similarity|dist|criterion|mse|l1|kl|Subtract$|\.sub$")
CRITERIA = ("Loss", "CosineSimilarity", "PairwiseDistance")
HEAD = re.compile(r"fc|head|classifier|score|logits|last_linear|proj|out", re.IGNORECASE)
FIXED = re.compile(
    r"(^|[._`])(teacher|target|ema|momentum|ref|reference|reward|judge|scorer|old|frozen|fixed|oracle)\w*",
    re.IGNORECASE,
)


def left_out(story: Story, event: Backward) -> list[Param]:
    """Parameters that surely get a gradient from this backward pass, and that nobody steps and nobody reads."""
    reads = story.of(GradRead)
    if event.node is None or story.incomplete or any(read.node is None for read in reads):
        return []
    if not story.optimizers or not all(one.known for one in story.optimizers):
        return []
    if story.of(GroupAdded):  # more is opened step by step
        return []
    used = {read.node for read in reads} | {id(param) for param in handed_on(story)}
    sure = story.map.surely_reached([event.node])
    found = [param for node, param in story.of_node.items() if node in sure and not {node, id(param)} & used]
    return [param for param in found if story.flag_at(param, event) and not held(story, param)]


def held(story: Story, param: Param) -> bool:
    """Whether an optimizer holds a parameter, or held it as an unseen part of a module it was given; or may hold it."""
    if (param.owner is None and param.label == "parameter") or (param.owner is not None and param.owner.escaped):
        return True
    made = any(param.owner is module for module in story.modules)
    for one in story.optimizers:
        if any(param is known for known in one.params):
            return True
        late = not made and all(param is not known for known in story.parameters[: one.after])
        whole = [known.owner for known in one.params if known.many and known.owner] if late else []
        if any(param.owner is part for owner in whole for part in submodules(owner)):
            return True
    return False


def handed_on(story: Story) -> list[Param]:
    """Parameters given to code that cannot be read: an optimizer may be built there."""
    iterators = [event.iterator for event in story.of(Consumed) if event.purpose == "call"]
    return [param for one in iterators for item in one.items for param in parameters_in(item)]


def parameters_in(value: Value) -> list[Param]:
    inner = value.items if isinstance(value, Seq) else [value]
    return [item for item in inner if isinstance(item, Param)]


@record(frozen=True)
class LeftOut:
    """Modules that get weight gradients in one backward pass which nobody uses."""

    event: Backward
    params: tuple[Param, ...]
    modules: tuple[Instance, ...]
    names: str  # `encoder` and `head`
    inside: bool  # they are part of a model whose other parts are optimised
    upstream: bool  # their input carries the gradient of something that is optimised
    target: bool  # what they give is only compared with what trains


def groups_left_out(story: Story) -> list[LeftOut]:
    """One group for each set of parameters that is left out, at the first backward pass that shows it."""
    found: dict[frozenset[int], LeftOut] = {}
    for event in story.of(Backward):
        if event.via == "autograd.grad" or not any(step.seq > event.seq for step in story.of(Step)):
            continue
        rows = [p for p in left_out(story, event) if not meant_otherwise(story, p) and not unseen_rest(story, p)]
        for params in by_root(story, rows):
            key = frozenset(id(param) for param in params)
            if not any(key <= known for known in found):
                found[key] = _described(story, event, params)
    return list(found.values())


def unseen_rest(story: Story, param: Param) -> bool:
    """Whether a parameter stands for what nobody can see of a module whose body is optimised: there may be none."""
    if not param.many or param.owner is None:
        return False
    children = named_children(param.owner)
    if any(not HEAD.search(name) and _closed(story, child) for name, child in children):
        return True  # the body is frozen by name: what is left may be nothing
    trained = [name for name, child in children if any(map(story.optimised, parameters_of(child)))]
    return not all(HEAD.search(name) for name in trained)


def _closed(story: Story, module: Instance) -> bool:
    own = parameters_of(module)
    return bool(own) and all(story.flag_at(param) is False for param in own)


def by_root(story: Story, params: list[Param]) -> list[list[Param]]:
    """The parameters of each whole model together."""
    rows: dict[int, list[Param]] = {}
    for param in params:
        rows.setdefault(id(root_of(story, param)), []).append(param)
    return list(rows.values())


def root_of(story: Story, param: Param) -> Instance | None:
    """The largest module that holds a parameter."""
    holding = [m for m in story.modules if any(param is own for own in parameters_of(m))]
    return max(holding, key=lambda module: (len(submodules(module)), bool(module.name)), default=None)


def meant_otherwise(story: Story, param: Param) -> bool:
    """Whether a line tried to freeze this parameter and failed: that line is the cause, and another rule's."""
    for event in story.of(AttributeSet):
        if event.name.startswith("requir") and "gra" in event.name:
            for option in options(event.target):
                if option is param or (isinstance(option, Instance) and param in parameters_of(option)):
                    return True
    node = param.node
    flags = [event.node for event in story.of(TensorFlag) if event.flag is False and event.node is not None]
    return node is not None and node in story.map.behind(flags)


def _described(story: Story, event: Backward, params: list[Param]) -> LeftOut:
    root = root_of(story, params[0])
    inside = root is not None and any(story.optimised(param) for param in parameters_of(root))
    modules = largest(story, event, params, root)
    names = listed(names_of(root, modules, params))
    upstream, target = _flow(story, event, params, named_fixed=FIXED.search(names) is not None)
    return LeftOut(event, tuple(params), tuple(modules), names, inside, upstream, target)


def largest(story: Story, event: Backward, params: list[Param], root: Instance | None) -> list[Instance]:
    """The largest modules none of whose parameters is optimised, all of which train."""
    found: list[Instance] = []
    for module in submodules(root) if root else []:
        own = parameters_of(module)
        if any(module in submodules(known) for known in found) or not any(param in params for param in own):
            continue
        if all(story.flag_at(param, event) is not False and not held(story, param) for param in own):
            found.append(_loaded_part(module))
    return found


def largest_of(params: Sequence[Param], root: Instance | None) -> list[Instance]:
    """The largest modules that hold nothing but these parameters."""
    found: list[Instance] = []
    for module in submodules(root) if root else []:
        own = parameters_of(module)
        inside = any(module in submodules(known) for known in found)
        if own and not inside and all(any(param is one for one in params) for param in own):
            found.append(module)
    return found


def _loaded_part(module: Instance) -> Instance:
    """The module that was given weights, where all another does is wrap it."""
    inner = [child for child in direct_children(module) if parameters_of(child)]
    wraps = not module.pretrained and not module.params and len(inner) == 1 and inner[0].pretrained
    return _loaded_part(inner[0]) if wraps and not inner[0].part_of else module


def names_of(root: Instance | None, modules: Sequence[Instance], params: Sequence[Param]) -> list[str]:
    paths = {id(module): name for name, module in dotted_names(root)} if root else {}
    names = []
    for module in modules:
        parts = (root.name if root else "", paths.get(id(module), module.name))
        names.append(".".join(part for part in parts if part) or module.name or "the model")
    covered = [param for module in modules for param in parameters_of(module)]
    whole = f"{root.name}.*" if root and root.name else "*"
    names += [whole if param.label in ("", "*") else param.label for param in params if param not in covered]
    return list(dict.fromkeys(names))


def listed(names: list[str]) -> str:
    """`a`, `b` and `c`; more than three are counted."""
    shown = [f"`{name}`" for name in names]
    if len(shown) > 3:
        shown = [*shown[:2], f"{len(shown) - 2} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _flow(story: Story, event: Backward, params: Sequence[Param], *, named_fixed: bool) -> tuple[bool, bool]:
    """(whether something optimised lies before these parameters, whether what they give is only compared)."""
    assert event.node is not None
    graph = story.map
    live = graph.reached([event.node])
    ours = {param.node for param in params if param.node is not None}
    trained = {node for node, param in story.of_node.items() if node in live and story.optimised(param)}
    edges = [edge for edge in graph.edges if edge.cut is None and edge.source in live and edge.target in live]
    operations = {edge.target for edge in edges if edge.source in ours}
    upstream = bool(trained & graph.reached(operations))
    mine, theirs = _forward(edges, ours), _forward(edges, trained)
    criteria = {
        part.node
        for call in story.of(ModuleCall)
        if call.module.external.endswith(CRITERIA)
        for part in flowing([call.result])
    }
    for edge in edges:
        if edge.source in mine - theirs and edge.target in mine & theirs:
            direct = any(other.source in trained for other in graph.into(edge.target))
            compared = edge.target in criteria or CRITERION.search(graph.nodes[edge.target].name)
            if not direct and (compared or named_fixed):
                return upstream, not upstream
    return upstream, False


def feeds(story: Story, event: Backward, module: Instance, trained: Sequence[Param]) -> bool:
    """Whether what a module gives is the input of something that is trained."""
    starts = {param.node for param in parameters_of(module) if param.node is not None}
    edges = [edge for edge in story.map.edges if edge.cut is None and edge.target in event.reached]
    own = {param.node for param in trained} - starts
    after = _forward(edges, starts) - starts
    return any(edge.source in own and edge.target in after for edge in edges)


def _forward(edges: Sequence[Edge], starts: Iterable[int]) -> set[int]:
    """Every node that the given ones lead to."""
    onward: dict[int, list[int]] = {}
    for edge in edges:
        onward.setdefault(edge.source, []).append(edge.target)
    seen = set(starts)
    todo = list(seen)
    while todo:
        for target in onward.get(todo.pop(), ()):
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


def use_of(story: Story, group: LeftOut) -> Spot | None:
    """Where the modules are first used in this pass, on what trains if there is such a use, as their user writes it."""
    parts = [part for module in group.modules for part in submodules(module)]
    uses = []
    for call in story.of(ModuleCall):
        given = [t.node for t in flowing([call.result])]
        inner = submodules(call.module)[1:]
        ours = call.module in parts or any(param in parameters_of(call.module) for param in group.params)
        outside = ours and not any(module in inner for module in group.modules)
        if outside and call.seq < group.event.seq and any(node in group.event.reached for node in given):
            uses.append(call)
    trained = {node for node, param in story.of_node.items() if story.optimised(param)} if group.upstream else set()
    fed = [call for call in uses if trained & story.map.reached([t.node for t in flowing(call.args)])]
    first = next(iter([*fed, *uses]), None)
    return outermost(first, parts) if first else None


def outermost(call: ModuleCall, parts: Sequence[Instance], block: Spot | None = None) -> Spot:
    """The call from outside that led to a call inside these modules; no further out than a block it stands in."""
    lineages = {id(info) for part in parts if part.cls for info in part.cls.lineage()[0]}
    spot = call.spot
    for info, site in zip(reversed(call.context.calls), reversed(call.context.sites), strict=True):
        inside = info.owner is not None and id(info.owner) in lineages
        within = block is not None and info.file is block.file and holds(info.node.body, block.node)
        if not inside and (within or not _handed_in(spot, info)):
            break
        spot = site
    return spot


def _handed_in(spot: Spot, info: FunctionInfo) -> bool:
    """Whether a short function calls what it was given by name: `def q(net, x): return net(x)`."""
    if isinstance(info.node, cst.FunctionDef) and len(info.node.body.body) > 3:
        return False
    called = spot.node.func if isinstance(spot.node, cst.Call) else None
    params = info.node.params
    names = {param.name.value for param in (*params.posonly_params, *params.params, *params.kwonly_params)}
    return isinstance(called, cst.Name) and called.value in names


def fixed(story: Story, group: LeftOut) -> bool:
    """Whether a network that is left out is not to be trained: loaded, named so, averaged, or held in eval mode."""
    if FIXED.search(group.names) or any(param.owner and param.owner.pretrained for param in group.params):
        return True
    later = (one for one in story.of(Written) if one.seq > group.event.seq)
    moved = {id(one.param) for one in later if one.how in ("mul_", "lerp_", "copy_")}
    if all(id(param) in moved for param in group.params):
        return True
    return bool(group.modules) and all(module.modes and module.modes[-1][1] is False for module in group.modules)
