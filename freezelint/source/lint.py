"""One file: every story that starts in it, and the checks asked about each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from freezelint.findings import Finding, Location
from freezelint.records import field, record
from freezelint.rule import Check, ask, table
from freezelint.source import hf_trainer, objects, training
from freezelint.source.calls import call_function
from freezelint.source.cst.parse import BROKEN
from freezelint.source.namesakes import namesake
from freezelint.source.project import ClassInfo, FunctionInfo, ModuleInfo, Project
from freezelint.source.reader import BudgetSpent, Reader
from freezelint.source.statements import block
from freezelint.source.story import Backward, OptimizerBuilt, Story
from freezelint.source.targets import Target, targets
from freezelint.source.values import UNKNOWN, Func, Instance, Value
from freezelint.textfile import python_lines

DUNDER = ("__call__", "__getitem__", "__iter__", "__next__", "__enter__", "__exit__")
__all__ = ["Project", "SourceReport", "lint_file", "read_file"]
BUDGET = 24_000
STEPS_PER_LINE = 12
ENTRIES = frozenset("main train fit run forward training_step train_step train_epoch train_one_epoch worker".split())
STEPS = ("training_step", "compute_loss", "create_optimizer")  # what an engine runs
# What a body must hold to be worth a story of its own.
WORDS = (
    "requir", "no_grad", "inference_mode", "grad_enabled", "detach", "backward", "optim", "zero_grad", "checkpoint",
    "Parameter", "parameters(", ".data", ".eval", ".train(", ".item(", ".numpy(", "Variable", "freeze", "autocast",
)  # fmt: skip
# What a story's own text must hold to be read to the end, training by a helper included; the others show little.
DEEP = re.compile(
    r"backward|requir|freez|zero_grad|training_step|compute_loss|Trainer|fit\(|optim\.[A-Z]|[Oo]ptimizers?(?:\(| ?=)|"
    r"param_group|Adam|SGD|(?<!def )\btrain\w*\((?!\))"
)
# Where nothing trains, what is frozen is no mistake of its own, and so on: code -> the codes it follows from.
FOLLOWS = {"FRZ107": ("FRZ314",), "FRZ201": ("FRZ314",), "FRZ314": ("FRZ311",)}
_TOP_LEVEL = re.compile(r"(?:async )?(?:class|def) (\w+)")
_SETS_FLAG = re.compile(r"\.requir\w*grad\w*\s*=[^=]")


@record
class SourceReport:
    """What the source says of one file; `dependencies`: sha256 of every other file that was read for it."""

    findings: list[Finding] = field(default_factory=list)
    dependencies: dict[str, str] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)


def lint_file(path: str, text: str, project: Project, codes: frozenset[str]) -> SourceReport:
    """Read one file and ask the rules of `codes`. A file that does not parse gives one FRZ002 finding."""
    report = SourceReport()
    before = dict(project.read)
    try:
        file = project.add(path, text)
    except BROKEN as error:
        if "FRZ002" in codes:
            report.findings.append(_unparsed(path, error))
        return report
    checks = table(codes)
    seen: set[tuple[str, Location]] = set()
    for story in read_file(file, project):
        for finding in _causes(list(_ask(checks, story)), story):
            key = (finding.code, finding.location)
            if key not in seen:
                seen.add(key)
                report.findings.append(finding)
    report.targets = targets(file)
    report.dependencies = {name: digest for name, digest in project.read.items() if name not in before}
    return report


def _unparsed(path: str, error: BaseException) -> Finding:
    """FRZ002 with Python's own reason and place."""
    if not isinstance(error, SyntaxError):
        return Finding("FRZ002", f"does not parse: {error or type(error).__name__}", Location(path, 1, 0, 1, 0))
    line, column = error.lineno or 1, max((error.offset or 1) - 1, 0)
    return Finding("FRZ002", f"does not parse: {error.msg}", Location(path, line, column, line, column + 1))


def _causes(found: list[Finding], story: Story) -> Iterator[Finding]:
    """What a story gives, less what only follows from another mistake in it: not where some of it trains."""
    codes = {finding.code for finding in found}
    if len(codes) > 1 and any(code in FOLLOWS for code in codes):
        ways = (story.of_node.get(node) for event in story.of(Backward) for node in event.reached)
        trains = any(param is not None and story.flag_at(param) is not False for param in ways)
        single = len(story.of(OptimizerBuilt)) < 2
        found = [one for one in found if codes.isdisjoint(FOLLOWS.get(one.code, ())) or trains or not single]
    yield from found


def _ask(checks: dict[type, list[Check]], story: Story) -> Iterator[Finding]:
    for event in story.events:
        for check in checks.get(type(event), ()):
            yield from check(event, story)
    yield from ask(checks, story.map, story)
    yield from ask(checks, story)


def read_file(file: ModuleInfo, project: Project) -> Iterator[Story]:
    """The stories that start in a file: its top level, then everything that nothing there has called."""
    purse = Purse(file)
    reader = purse.open(Reader(file, project, file.path), file.text)
    _guard(reader, lambda: block(reader, file.tree.body))
    purse.close(reader)
    yield reader.story
    seen = set(reader.seen)
    outer = reader.module_frames[file.path].env
    first = _urgent(file)
    functions = sorted(file.functions.values(), key=lambda function: function.name not in first)
    trainers = _trainers(file, functions)
    purse.trainers = tuple(f"{function.name}(" for function in trainers)
    for function in trainers:  # before the classes they build: there the arguments are known
        if function not in seen and purse.left > 0:
            yield _function_story(file, project, function, seen, outer, purse)
    for info in sorted(file.classes.values(), key=lambda info: info.name not in first):
        methods = [method for method in info.methods.values() if method not in seen and speaks(method)]
        base = namesake(info) if methods else None
        if methods and purse.left > 0 and not (base and any(map(speaks, base.methods.values()))):
            yield _class_story(file, project, info, methods, seen, outer, purse)
    for function in functions:
        if function not in seen and speaks(function) and purse.left > 0:
            yield _function_story(file, project, function, seen, outer, purse)


def _trainers(file: ModuleInfo, functions: list[FunctionInfo]) -> list[FunctionInfo]:
    """The functions that train, themselves or through a class of the file that does."""
    training_ones = (
        f"{info.name}("
        for info in file.classes.values()
        if any(name in STEPS or "backward(" in file.body_text(name) for name in info.methods)
    )
    direct = [function.name for function in functions if "backward(" in file.body_text(function.name)]
    words = ["backward(", *training_ones, *(f"{name}(" for name in direct)]
    found = [function for function in functions if any(word in file.body_text(function.name) for word in words)]
    called = {
        function.name
        for function in found
        if any(f"{function.name}(" in file.body_text(other.name) for other in found if other is not function)
    }
    return sorted(found, key=lambda function: function.name in called)  # callers first


def _urgent(file: ModuleInfo) -> set[str]:
    """The classes and functions that set a flag: they are read first, while there are steps to spend."""
    names: set[str] = set()
    current = ""
    for line in python_lines(file.text) if "requir" in file.text else ():
        if match := _TOP_LEVEL.match(line):
            current = match[1]
        elif _SETS_FLAG.search(line):
            names.add(current)
    return names


class Purse:
    """The steps one file may cost, shared by its stories: a story takes what it needs, none takes all."""

    def __init__(self, file: ModuleInfo) -> None:
        lines = file.text.count("\n")
        self.trainers: tuple[str, ...] = ()
        self.left = STEPS_PER_LINE * lines + (BUDGET if "backward" in file.text or lines < 400 else BUDGET // 8)

    def open(self, reader: Reader, text: str) -> Reader:
        deep = DEEP.search(text) or any(name in text for name in self.trainers)
        most = max(BUDGET, self.left // 2) if deep else BUDGET // 4
        reader.budget = min(self.left, most)
        self.left -= reader.budget
        return reader

    def close(self, reader: Reader) -> None:
        self.left += max(reader.budget, 0)


def speaks(info: FunctionInfo) -> bool:
    """Whether a function holds anything a rule could ask about; else it is read only where another calls it."""
    if info.name in ENTRIES or (info.name in STEPS and info.owner is not None and hf_trainer.derives(info.owner)):
        return True
    text = info.file.body_text(info.name)
    return any(word in text for word in WORDS) or (info.owner is not None and info.name == "__init__" and "nn." in text)


def _guard(reader: Reader, body: Callable[[], object]) -> None:
    try:
        body()
    except (BudgetSpent, RecursionError):
        reader.story.incomplete = True


def _reader(file: ModuleInfo, project: Project, entry: str, text: str, outer: dict[str, Value], purse: Purse) -> Reader:
    reader = purse.open(Reader(file, project, entry), text)
    reader.frames[0].env.update({name: value for name, value in outer.items() if not isinstance(value, Instance)})
    return reader


def _function_story(
    file: ModuleInfo,
    project: Project,
    info: FunctionInfo,
    seen: set[FunctionInfo],
    outer: dict[str, Value],
    purse: Purse,
) -> Story:
    reader = _reader(file, project, info.qualname, file.body_text(info.name), outer, purse)
    args = unknown_arguments(reader, info, 0)
    _guard(reader, lambda: reader.story.returned.append(call_function(reader, Func(info), args, {}, info.node)))
    purse.close(reader)
    seen |= reader.seen
    return reader.story


def _class_story(
    file: ModuleInfo,
    project: Project,
    info: ClassInfo,
    methods: list[FunctionInfo],
    seen: set[FunctionInfo],
    outer: dict[str, Value],
    purse: Purse,
) -> Story:
    """One story with the object made by `__init__`: the engine's loop if it has one, then what is left unread."""
    text = "".join(map(file.body_text, info.methods))
    reader = _reader(file, project, info.name, text, outer, purse)
    kept = reader.budget // 3  # for the methods, however deep the object is built
    reader.budget -= kept

    def story() -> None:
        from freezelint.source.construct import construct
        from freezelint.source.values import Cls

        init = info.method("__init__")
        args = unknown_arguments(reader, init, 1) if init else []
        made = construct(reader, Cls(info), args, {}, info.node)
        if isinstance(made, Instance):
            _run_engine(reader, info, made, methods[0])

    _guard(reader, story)
    owner = reader.subject
    _methods(reader, methods, owner, seen, max(reader.budget, 0) + kept)
    purse.close(reader)
    seen |= reader.seen
    return reader.story


def _run_engine(reader: Reader, info: ClassInfo, made: Instance, first: FunctionInfo) -> None:
    """What the engine a class is written for does with it: the Trainer of transformers, or Lightning."""
    step = next((info.methods[name] for name in STEPS if name in info.methods), first).node
    if hf_trainer.is_trainer(made):
        hf_trainer.method(reader, made, "train", [], {}, step)
    elif info.method("training_step"):
        training.lightning_fit(reader, made, step)


def _methods(
    reader: Reader, methods: list[FunctionInfo], owner: Instance | None, seen: set[FunctionInfo], budget: int
) -> None:
    """Each method nobody has called yet, with a fair share of the steps that are left."""
    for number, method in enumerate(methods):
        share = 2 * budget // (len(methods) - number + 1)
        reader.budget, budget = share, budget - share
        if method in seen or method in reader.seen or (method.name.startswith("__") and method.name not in DUNDER):
            budget += share
            continue
        static = method.decorated("staticmethod", "classmethod")
        args = unknown_arguments(reader, method, 0 if method.decorated("staticmethod") else 1)
        bound = Func(method, None if static else owner)
        given = [UNKNOWN, *args] if static and method.decorated("classmethod") else args
        if owner is None and not static:
            given = [UNKNOWN, *args]
        _guard(
            reader,
            lambda bound=bound, given=given, method=method: reader.story.returned.append(  # type: ignore[misc]
                call_function(reader, bound, given, {}, method.node)
            ),
        )
        budget += max(reader.budget, 0)
    reader.budget = budget


def unknown_arguments(reader: Reader, info: FunctionInfo | None, skip: int) -> list[Value]:
    """A value for each positional parameter nobody has given: what its annotation says, else unknown."""
    if info is None:
        return []
    params = (*info.node.params.posonly_params, *info.node.params.params)[skip:]
    return [objects.annotated(reader, parameter) for parameter in params]
