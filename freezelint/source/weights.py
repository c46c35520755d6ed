"""Where the weights of a module come from: loaded, copied, written by hand, trained, or drawn and never touched."""

from __future__ import annotations

import re

from freezelint.source import cst, library
from freezelint.source.intent import comments
from freezelint.source.story import AttributeSet, Built, Called, Event, ModuleCall, Step, Story, Written
from freezelint.source.values import Instance, Option, Param, Union, Value, direct_children, parameters_of, submodules

GIVEN = frozenset(
    "copy_ item set_ lerp_ fill_ zero_ ones_ eye_ dirac_ constant_ orthogonal_ mul_ add_ div_ sub_".split()
)
ON_PURPOSE = re.compile(
    r"random|\brnd|\brand_|reservoir|fourier|hash|sketch|noise|untrained|novelty|curiosity|echo_?state|non-?learn|"
    r"from scratch",
    re.IGNORECASE,
)
NAMED_FIXED = re.compile(
    r"fixed|target|rand|rnd|project(or|ion)?$|\bproj|prior|filter|kernel|blur|sobel|grid|pos", re.IGNORECASE
)
NO_WEIGHTS = re.compile(
    r"config|token|process|extract|data|json|yaml|image|text|vocab|args|numpy|\bnp\.", re.IGNORECASE
)
LOADS = re.compile(r"load|restore|resume|from_pretrained|ckpt|checkpoint|warm_?start|import_weights|assign_weights")


def drawn_at_random(story: Story, module: Instance, frozen: Event) -> Built | None:
    """Where a module was built whose weights nothing has given it; None where they may have come from anywhere."""
    built = origin(story, module)
    parts = submodules(module)
    params = parameters_of(module)
    if built is None or doubtful(built.module):
        return None
    if any(flag is not False for param in params for _, flag, _, _ in param.flags):
        return None
    if any(part.pretrained or part.escaped for part in parts) or not network(module, parts):
        return None
    if any(param.owner is not None and not any(param.owner is part for part in parts) for param in params):
        return None
    if any(event.name == "copy.deepcopy" and event.args[:1] == [module] for event in story.of(Called)):
        return None
    holders = [one for one in story.modules if any(part is module for part in submodules(one))]
    if any(one.escaped or one.pretrained for one in holders) or purpose(module, built, frozen):
        return None
    params += built.module.params.values()  # what stood for a body before its name was used
    return None if written(story, params) or trained(story, params, frozen) or loads(story) else built


def trained(story: Story, params: list[Param], before: Event) -> bool:
    mine = {id(param) for param in params}
    return any(id(param) in mine for step in story.of(Step) if step.seq < before.seq for param in step.params)


def loads(story: Story) -> bool:
    """Whether some function that may load weights is called."""
    return any(LOADS.search(event.name) and not NO_WEIGHTS.search(event.name) for event in story.of(Called))


def origin(story: Story, module: Instance) -> Built | None:
    """Where a module was made; the body of a model from a factory was made with the whole."""
    built = story.of(Built)
    whole = (event for event in built if body(module) and any(part is module for part in submodules(event.module)))
    return next((event for event in built if event.module is module), None) or next(whole, None)


def body(module: Instance) -> bool:
    """Whether a module is the body of a model from a factory, named by one of its attributes."""
    made, _, name = module.external.rpartition(".")
    return module.cls is None and bool(library.FACTORY.match(made) and library.BODY_NAMES.match(name))


def doubtful(module: Instance) -> bool:
    """Whether a factory is told by position, and by no constant, whether to load weights."""
    if not module.external.startswith(("torchvision.models.", "timm.")):
        return False
    flags = module.args[1:] if module.external.endswith("_model") else module.args
    return any(type(value) is Value or isinstance(value, (Option, Union)) for value in flags)


def network(module: Instance, parts: list[Instance]) -> bool:
    """Whether layers of torch or a library make up a network; a lone layer is a fixed projection."""
    bare = module.external.startswith("torch.nn.") and module.cls is None and not module.children
    return not bare and any(part.params and part.cls is None for part in parts)


def written(story: Story, params: list[Param]) -> bool:
    """Whether values of these parameters are set by hand, or by an initialisation that is no draw."""
    mine = {id(param) for param in params}
    layers = ((param, param.owner) for param in params if param.owner is not None and not param.many)
    if any(owner.cls is None and not owner.opaque and param.spot != owner.spot for param, owner in layers):
        return True
    if any(id(event.param) in mine and event.how in GIVEN for event in story.of(Written)):
        return True
    if any(event.name == "data" and id(event.target) in mine for event in story.of(AttributeSet)):
        return True
    inits = (event for event in story.of(Called) if event.name.startswith("torch.nn.init.") and event.args)
    return any(
        event.name.split(".")[-1] in GIVEN
        and isinstance(event.args[0], Param)
        and id(event.args[0]) in mine
        and event.args[0].name.startswith("weight")
        and event.args[0].owner is not None
        and event.args[0].owner.norm is False
        for event in inits
    )


def purpose(module: Instance, built: Built, frozen: Event) -> bool:
    """Whether a name or a comment says that the weights are to stay as they were drawn."""
    names = [module.name, module.cls.name if module.cls else ""]
    texts = [*names, comments(built.spot), comments(frozen.spot)]
    for info in (*built.context.calls, *frozen.context.calls):
        texts.append(info.name)
        if info.owner is not None:
            texts += [info.owner.name, info.owner.node.docstring]
    if module.cls is not None:
        texts.append(module.cls.node.docstring)
    return bool(NAMED_FIXED.search(names[0])) or any(ON_PURPOSE.search(text) for text in texts)


def used(story: Story, module: Instance, after: Event) -> bool:
    parts = submodules(module)
    calls = [event.module for event in story.of(ModuleCall) if event.seq > after.seq]
    if any(part is called or part is called.part_of for part in parts for called in calls):
        return True
    return body(module) and any(called.opaque and module in direct_children(called) for called in calls)


def from_config(module: Instance) -> bool:
    """A network of a library built from a configuration alone."""
    given = [*module.args, *module.kwargs.values()]
    known = module.external.startswith("transformers.") and not module.external.endswith("from_pretrained")
    return known and bool(library.FACTORY.match(module.external)) and len(given) >= 1


def loads_itself(event: Event) -> bool:
    """Whether a class round an event is loaded as a whole: a pretrained model, or one with a loader of its own."""
    for info in event.context.calls:
        if info.owner is None:
            continue
        known, outside = info.owner.lineage()
        if any(base.split(".")[-1].startswith("PreTrained") or "Pretrained" in base for base in outside):
            return True
        if any(LOADS.search(name) for one in known for name in one.methods):
            return True
        if any(LOADS.search(name) or "pretrain" in name for name in parameter_names(info.node)):
            return True
    return False


def parameter_names(node: cst.FunctionDef | cst.Lambda) -> list[str]:
    return [parameter.name.value for parameter in (*node.params.params, *node.params.kwonly_params)]
