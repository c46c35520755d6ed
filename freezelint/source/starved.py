"""Who wants a gradient, and what the parameters that do are called."""

from __future__ import annotations

from collections.abc import Iterable

from freezelint.gradient_map import Cause, Node
from freezelint.source import cst
from freezelint.source.story import AttributeSet, Backward, GradRead, Loaded, OptimizerBuilt, Spot, Step, Story, Written
from freezelint.source.syntax import parents
from freezelint.source.values import Instance, Param, options, parameters_of, submodules


def named(story: Story | None, params: Iterable[Param]) -> str:
    """`encoder` and `head`: the modules that hold these parameters, as the source names them."""
    left = {id(param): param for param in params}
    names: list[str] = []
    for size, module in _by_size(story):
        held = [id(param) for param in parameters_of(module)]
        if held and size and all(key in left for key in held):
            names.append(f"`{module.name}`")
            for key in held:
                left.pop(key, None)
    names += [f"`{param.label or param.name}`" for param in left.values()]
    names = list(dict.fromkeys(names))
    if len(names) > 3:
        names = [*names[:2], f"{len(names) - 2} more"]
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"


def _by_size(story: Story | None) -> list[tuple[int, Instance]]:
    """The modules that have a name, the largest first."""
    modules = [module for module in story.modules if module.name] if story else []
    return sorted(((len(submodules(module)), module) for module in modules), key=lambda row: -row[0])


def reached_anywhere(story: Story) -> frozenset[int]:
    """Every node of the map that some backward of the story brings a gradient."""
    return frozenset(node for event in story.of(Backward) for node in event.reached)


def loss_wants(story: Story, event: Backward) -> frozenset[int]:
    """The leaves a loss should bring a gradient: parameters stepped after it, and inputs whose gradient is read."""
    if event.via == "autograd.grad":
        return frozenset(read.node for read in story.of(GradRead) if read.spot == event.spot and read.node is not None)
    moved, stepped = moved_by_hand(story), stepped_after(story, event)
    return frozenset(
        node
        for node, param in story.of_node.items()
        if id(param) in stepped and id(param) not in moved and story.flag_at(param, event)
    )


def stepped_after(story: Story, event: Backward) -> set[int]:
    """The parameters that the steps between this backward and the next one move; all optimised ones if none is seen."""
    found: set[int] = set()
    for later in story.events[event.seq + 1 :]:
        if isinstance(later, Step):
            found |= {id(param) for param in later.params}
        elif isinstance(later, Backward) and found:
            break
    return found or {id(param) for optimizer in story.optimizers for param in optimizer.params}


def may_grow(story: Story, event: Backward) -> frozenset[int]:
    """The parameters that may require a gradient when the loss is differentiated."""
    return frozenset(node for node, param in story.of_node.items() if story.flag_at(param, event) is not False)


def moved_by_hand(story: Story) -> set[int]:
    """Parameters whose values are written by other means than a step: averages, copies, a state loaded in the loop."""
    built = min((event.seq for event in story.of(OptimizerBuilt)), default=0)
    moved = {id(one.target) for one in story.of(AttributeSet) if one.name == "data" and one.seq > built}
    moved |= {id(one.param) for one in story.of(Written) if one.seq > built}
    for edge in story.map.edges:
        param = story.of_node.get(edge.source)
        if param is None:
            continue
        name, place = story.map.nodes[edge.target].name, story.map.nodes[edge.target].place
        data = edge.cut is not None and edge.cut.cause is Cause.DATA
        aliased = data and not (isinstance(place, Spot) and only_read(place))
        if aliased or (name.endswith("_") and not name.endswith("__")):
            moved.add(id(param))
    for event in story.of(Loaded):
        if event.seq > built and event.context.loops:
            for module in options(event.target):
                if isinstance(module, Instance):
                    moved |= {id(param) for param in parameters_of(module)}
    return moved


def only_read(data: Spot) -> bool:
    """Whether `p.data` is a factor or summand of something new, or is given to a method that writes something else."""
    above = parents(data.file)
    over = above.get(id(data.node))
    if isinstance(over, cst.BinaryOperation):
        return True
    call = above.get(id(over)) if isinstance(over, cst.Arg) and over.keyword is None else None
    if not isinstance(call, cst.Call) or not isinstance(call.func, cst.Attribute):
        return False
    return call.func.attr.value.endswith("_") and not data.file.code(call.func).startswith("torch.")


def param_nodes(story: Story, nodes: Iterable[Node]) -> list[Param]:
    return [story.of_node[node.id] for node in nodes if node.id in story.of_node]


def enclosing_with(spot: Spot) -> cst.With | None:
    """The `with` statement that a context manager stands in."""
    above = parents(spot.file)
    item = above.get(id(spot.node))
    outer = above.get(id(item)) if isinstance(item, cst.WithItem) else None
    return outer if isinstance(outer, cst.With) else None
