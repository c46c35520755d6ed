"""Builds the model of a training script from its set-up alone: imports, definitions and what the model needs.

The training itself never runs. Taken are the statements of the script's top level, of its `__main__` block and of a
`main()` called there, up to the first that trains; of these only what the model and its optimizer hang on, found by
walking back from the names they use. Weights are not loaded: what a trace says does not depend on them.
"""

from __future__ import annotations

import ast
import importlib.machinery
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from .protocol import TargetError, UnsupportedError
from .several import chosen, drawn_from, followed
from .slice_inputs import inputs_in
from .targets import Built, regular

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
TRAINS = {"backward", "step", "fit", "train_on_batch", "manual_backward", "optimizer_step"}
PROGRAMS = ("main", "run", "train", "cli")  # functions that hold a whole program, beside those that surely train
OF_MODELS = {"parameters", "named_parameters", "requires_grad_", "modules", "named_modules", "children"}
LOADS = {"load_state_dict", "load_checkpoint", "load_weights", "load"}  # as a statement: values only
TELLS = {"print", "info", "debug", "warning", "log", "summary", "add_scalar", "add_graph", "add_text", "watch", "save"}
MAKE = (ast.Call, ast.List, ast.Tuple, ast.Dict, ast.ListComp, ast.DictComp)  # what may hold an optimizer
FORBIDDEN = {  # what a set-up slice may not do
    "os.system", "os.remove", "os.unlink", "os.rename", "os.rmdir", "os.removedirs", "os.kill", "shutil.rmtree",
    "shutil.move", "shutil.copy", "wandb.init", "dist.init_process_group", "torch.distributed.init_process_group",
    "init_process_group", "mp.spawn", "torch.multiprocessing.spawn", "input",
}  # fmt: skip
FORBIDDEN_ROOTS = {"subprocess", "requests", "urllib", "socket", "webbrowser", "smtplib"}


@dataclass
class Statement:
    """One statement of the script's course, with the names it reads and those it sets or may change."""

    node: ast.stmt
    reads: set[str] = field(default_factory=set)
    sets: set[str] = field(default_factory=set)


@dataclass
class Course:
    """A script as it would run: its set-up, and the first statement that trains."""

    path: str
    tree: ast.Module
    setup: list[Statement] = field(default_factory=list)
    training: ast.stmt | None = None

    def __post_init__(self) -> None:
        trainers = training_functions(self.tree)
        programs = {*trainers, *PROGRAMS}
        functions = {n.name: n for n in self.tree.body if isinstance(n, ast.FunctionDef) and n.name in programs}
        for node in unfolded(self.tree.body, functions, set()):
            if not isinstance(node, DEFINITIONS) and self.training is None and trains(node, trainers):
                self.training = node
            elif self.training is None or isinstance(node, DEFINITIONS):
                self.setup.append(Statement(node, names_read(node), names_set(node)))

    @property
    def bound(self) -> set[str]:
        return {
            part.id
            for statement in self.setup
            for part in ast.walk(statement.node)
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
        }


def build_script(path: str) -> Built:
    """The model (and optimizer) of a script."""
    course = Course(path, parsed(path))
    names = wanted_names(course)
    if not names:
        raise UnsupportedError(f"{path} is a script: nothing before its training builds a model")
    space = executed(course, names)
    values = [(name, value) for name, value in space.items() if name in names]
    built = chosen(values, space.values(), "the script")
    if built is None:
        raise UnsupportedError(f"{path} is a script: its set-up builds no torch.nn.Module")
    drawn = drawn_from([course.tree])
    for one in (built, *built.others):
        holder = one.part.partition("[")[0]
        called = [holder, *(name for name, sources in drawn.items() if holder in sources)]
        one.inputs = inputs_in(course.tree, set(called), space)
    return built


def names_of(path: str, name: str) -> dict[str, Any] | None:
    """What a script that trains when it is imported binds to `name`, without the training; None for any other file."""
    tree = parsed(path)
    trainers = training_functions(tree)
    trains_on_import = any(
        trains(node, trainers) for node in tree.body if not isinstance(node, DEFINITIONS) and not is_main_block(node)
    )
    return executed(Course(path, tree), {name}) if trains_on_import else None


def parsed(path: str) -> ast.Module:
    try:
        return ast.parse(regular(path).read_bytes(), path)
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        raise UnsupportedError(f"{path} does not parse: {error}") from None


def unfolded(body: list[ast.stmt], functions: dict[str, ast.FunctionDef], inside: set[str]) -> Iterator[ast.stmt]:
    """`body` with the `__main__` block and calls of `functions` that stand alone spelt out."""
    for node in body:
        called = program_called(node, functions)
        if is_main_block(node):
            yield from unfolded(node.body, functions, inside)  # type: ignore[attr-defined]
        elif called is not None and called[0].name not in inside:
            function, values = called
            yield from (assignment(name, value, node) for name, value in values)
            yield from unfolded(function.body, functions, {*inside, function.name})
        elif isinstance(node, ast.Return):
            return
        else:
            yield node


def is_main_block(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("__name__ == '__main__'", "'__main__' == __name__")


def program_called(
    node: ast.stmt, functions: dict[str, ast.FunctionDef]
) -> tuple[ast.FunctionDef, list[tuple[str, ast.expr]]] | None:
    """The function of a statement `main(...)` and what its parameters are bound to."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id not in functions:
        return None
    function = functions[call.func.id]
    arguments = function.args
    if function.decorator_list or arguments.vararg or arguments.kwarg or any(k.arg is None for k in call.keywords):
        return None
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    given = dict(zip(names[len(names) - len(arguments.defaults) :], arguments.defaults))
    given.update((a.arg, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults) if d is not None)
    given.update(zip(names, call.args))
    given.update((k.arg, k.value) for k in call.keywords if k.arg)
    return function, [(name, value) for name, value in given.items() if ast.unparse(value) != name]


def assignment(name: str, value: ast.expr, at: ast.stmt) -> ast.stmt:
    node = ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=value)
    return ast.fix_missing_locations(ast.copy_location(node, at))


def training_functions(tree: ast.Module) -> set[str]:
    """Functions and classes of the file that train, directly or through one another."""
    bodies = {n.name: n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))}
    found = {name for name, node in bodies.items() if any(map(is_training_call, ast.walk(node)))}
    while True:
        more = {name for name, node in bodies.items() if name not in found and called_names(node) & found}
        if not more:
            return found
        found |= more


def called_names(node: ast.AST) -> set[str]:
    return {n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def is_training_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TRAINS


def trains(node: ast.stmt, trainers: set[str]) -> bool:
    return any(map(is_training_call, ast.walk(node))) or bool(called_names(node) & trainers)


def names_read(node: ast.stmt) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def names_set(node: ast.stmt) -> set[str]:
    """Names that a statement binds, and those whose object it may change: the roots of what it stores into, calls a
    method of, loops over, or hands to a call that stands alone."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, (ast.Name, ast.Attribute, ast.Subscript)) and isinstance(part.ctx, (ast.Store, ast.Del)):
            found |= roots(part)
        elif isinstance(part, ast.For):
            found |= roots(part.iter)
        elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            call = part.value
            found |= roots(call.func) if isinstance(call.func, ast.Attribute) else set()
            for argument in (*call.args, *(k.value for k in call.keywords)):
                found |= roots(argument)
    return found


def roots(node: ast.expr) -> set[str]:
    """The names at the bottom of `a.b[c].d()`, and of such things in a tuple or list."""
    while True:
        if isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred)):
            node = node.value
        elif isinstance(node, ast.Call):
            return roots(node.func) | {name for argument in node.args for name in roots(argument)}
        elif isinstance(node, (ast.Tuple, ast.List)):
            return {name for item in node.elts for name in roots(item)}
        else:
            return {node.id} if isinstance(node, ast.Name) else set()


def wanted_names(course: Course) -> set[str]:
    """What the set-up treats as a model: it asks it for parameters, freezes it, or hands it to what trains."""
    bound = course.bound
    found: set[str] = set()
    for statement in course.setup:
        for part in ast.walk(statement.node) if not isinstance(statement.node, DEFINITIONS) else ():
            if isinstance(part, ast.Attribute) and part.attr in OF_MODELS:
                found |= roots(part) & bound
            elif isinstance(part, ast.Call) and last_name(part.func).endswith("Trainer"):
                found |= {name for k in part.keywords if k.arg == "model" for name in roots(k.value)} & bound
    drawn = drawn_from([statement.node for statement in course.setup if not isinstance(statement.node, DEFINITIONS)])
    if course.training is None:
        return followed(found, drawn) & bound
    inside = drawn_from([course.training])
    for part in ast.walk(course.training):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
            found |= followed({part.func.id}, inside) & bound  # model(x)
        elif isinstance(part, ast.Attribute) and part.attr in ("train", "eval") and isinstance(part.value, ast.Name):
            found |= {part.value.id} & bound
    return followed(found, drawn) & bound or names_read(course.training) & bound


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def slice_for(course: Course, names: set[str]) -> list[Statement]:
    """The statements that what is bound to `names` hangs on, and those that optimizers are built by."""
    needed, chosen, before = set(names), set[int](), -1
    while before != len(chosen):  # a function may be defined behind one that calls it
        before = len(chosen)
        for index, statement in reversed(list(enumerate(course.setup))):
            takes = statement.sets & needed or builds_optimizer(statement.node, needed)
            if takes and index not in chosen and not beside_the_model(statement.node):
                chosen.add(index)
                needed |= statement.reads | (set() if isinstance(statement.node, DEFINITIONS) else statement.sets)
    return [course.setup[index] for index in sorted(chosen)]


def builds_optimizer(node: ast.stmt, needed: set[str]) -> bool:
    """An assignment of what a call makes of the parameters of something needed."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, MAKE):
        return False
    asks = (n for n in ast.walk(node.value) if isinstance(n, ast.Attribute) and n.attr in OF_MODELS)
    return any(roots(n) & needed for n in asks)


def beside_the_model(node: ast.stmt) -> bool:
    """A call that stands alone and leaves the model as it is: it loads values, says something, or is the system's."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return False
    name = last_name(call.func)
    return name in LOADS | TELLS or dotted(call.func).split(".")[0] in sys.stdlib_module_names


def refuse(path: str, chosen: list[Statement]) -> None:
    """Raise where the set-up would have to do more than build."""
    for statement in chosen:
        for part in ast.walk(statement.node):
            if isinstance(part, ast.Call):
                name = dotted(part.func)
                if name in FORBIDDEN or name.split(".")[0] in FORBIDDEN_ROOTS or writes_file(part, name):
                    raise UnsupportedError(
                        f"{path} is a script: its model cannot be built without `{name}(...)` (line {part.lineno})"
                    )


def writes_file(call: ast.Call, name: str) -> bool:
    mode = call.args[1] if len(call.args) > 1 else next((k.value for k in call.keywords if k.arg == "mode"), None)
    return name == "open" and mode is not None and not (isinstance(mode, ast.Constant) and "r" in str(mode.value))


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def executed(course: Course, names: set[str]) -> dict[str, Any]:
    """The names after running what `names` hang on, in a module that is not `__main__`."""
    chosen = slice_for(course, names)
    refuse(course.path, chosen)
    path = course.path
    module = ModuleType(Path(path).stem)
    module.__file__ = path
    module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None, origin=path)
    known = sys.modules.get(module.__name__)
    if str(Path(path).parent) not in sys.path:
        sys.path.insert(0, str(Path(path).parent))
    sys.modules[module.__name__] = module
    arguments, sys.argv = sys.argv, [path]
    try:
        for statement in chosen:
            code = compile(ast.Module([statement.node], []), path, "exec")
            exec(code, vars(module))
    except SystemExit as error:
        raise UnsupportedError(f"{path} is a script that needs arguments (exit code {error.code})") from None
    finally:
        sys.argv = arguments
        if known is not None:
            sys.modules[module.__name__] = known
    return vars(module)
