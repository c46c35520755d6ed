"""Tables that decorators and calls fill when a file is imported: `@register("x")`, `MODELS["x"] = Net`.

Other files of the project are not run from top to bottom: names in them are followed when they are used. When such a
name holds a table, the statements of their top levels that put functions and classes into it are read first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.records import field, record
from freezelint.source import cst
from freezelint.source.project import ClassInfo, FunctionInfo, ModuleInfo, Project, dotted
from freezelint.source.reader import BudgetSpent, Frame, Reader
from freezelint.source.tree import walk
from freezelint.source.values import UNKNOWN, Cls, Dict, Func, Instance, Value

DECORATOR_STEPS = 300
STEPS = 1_000  # for what one file puts into a table
MOST_READ = 16  # statements that fill a table; of one with more, no further entry is known
MOST_FILES = 12
MOST_ENTRIES = 8  # of a table with more, an unknown key gives anything
PLAIN = ("partial", "dict")  # calls whose result is a function, or a table of them
_STORES = r"(\[[^\]\n]+\]\s*=[^=]|\.(\w*register\w*|update|setdefault|add\w*)\()"


@record(eq=False)
class Table:
    """A table of some top level, and the files whose entries it has."""

    node: cst.BaseExpression
    owner: ModuleInfo
    value: Value
    files: set[ModuleInfo] = field(default_factory=set)
    count: int = 0  # of the statements that fill it, in the files in sight


def top_level(reader: Reader, owner: ModuleInfo, node: cst.BaseExpression, user: ModuleInfo) -> Value:
    """What a file assigns at its top level; a table with what the files in sight put into it."""
    from freezelint.source.objects import in_module

    table: Table | None = reader.tables.get(id(node))
    if table is None:
        value = in_module(reader, owner, node)
        if not _fillable(value, node, owner, user):
            return value
        table = reader.tables.setdefault(id(node), Table(node, owner, value))
    if user not in table.files:
        near = [file for file in _in_sight(reader, table, user) if file not in table.files]
        table.count += sum(len(_entries(reader, table, file)) for file in near)
        for file in near:
            _fill(reader, table, file)
    return table.value


def _fillable(value: Value, node: cst.BaseExpression, owner: ModuleInfo, user: ModuleInfo) -> bool:
    """Whether a value is a table that something at a top level may still fill."""
    if isinstance(value, Instance):
        return not value.is_module and value.cls is not None and _keeps_entries(value.cls)
    return isinstance(value, Dict) and any(_written(node, owner, file) for file in (owner, user))


def _written(node: cst.BaseExpression, owner: ModuleInfo, file: ModuleInfo) -> bool:
    """Whether the text of a file writes entries of a table."""
    known = owner.project.registrations
    key = ("written", file, id(node))
    if key not in known:
        names = _names(owner, owner, node)
        known[key] = any(re.search(rf"\b{re.escape(name)}{_STORES}", file.text) for name in names if name in file.text)
    return bool(known[key])


def _keeps_entries(info: ClassInfo) -> bool:
    """Whether objects of a class keep what their methods are given: `self._table[name] = cls`."""
    if is_dict(info):
        return True
    methods = (method for one in info.lineage()[0] for method in one.methods.values())
    return any(re.search(rf"\bself(\.\w+)?{_STORES}", method.file.body_text(method.name)) for method in methods)


def is_dict(info: ClassInfo) -> bool:
    """Whether a class is a dict with more methods."""
    bases = (dotted(base.value).split(".")[-1] for one in info.lineage()[0] for base in one.node.bases)
    return any(base in ("dict", "OrderedDict", "UserDict", "Dict") for base in bases)


def _names(file: ModuleInfo, owner: ModuleInfo, node: cst.BaseExpression) -> list[str]:
    """The names a table has in a file."""
    own = [name for name, value in owner.assigns.items() if value is node]
    if file is owner:
        return own
    rows = ((name, inner) for name, (_, inner, _) in file.imports.items())
    return [name for name, inner in rows if inner in own and file.resolve(name) is node]


def _in_sight(reader: Reader, table: Table, user: ModuleInfo) -> Iterator[ModuleInfo]:
    """The files that may fill a table: its own, those being read, and what these import."""
    near = dict.fromkeys([table.owner, user, reader.story.file, *(frame.file for frame in reader.frames)])
    yield from near
    found: dict[ModuleInfo, None] = {}
    for file in near:
        found.update(dict.fromkeys(_imports(reader.project, file)))
    for file in [*found, *(inner for one in found if _index(one) for inner in _imports(reader.project, one))][
        :MOST_FILES
    ]:
        if file not in near:
            yield file


def _index(file: ModuleInfo) -> bool:
    return file.path.endswith("__init__.py")


def _imports(project: Project, file: ModuleInfo) -> list[ModuleInfo]:
    """The files of the project that a file imports; of one that imports very many, none."""
    known = project.registrations
    if ("imports", file) not in known:
        known["imports", file] = _imported(project, file)
    found: list[ModuleInfo] = known["imports", file]
    return found


def _imported(project: Project, file: ModuleInfo) -> list[ModuleInfo]:
    rows = [*file.imports.values(), *((module, None, dots) for module, dots in file.stars)]
    if len(rows) > 5 * MOST_FILES:
        return []
    found = []
    for module, inner, dots in rows:
        inside = project.file(file, f"{module}.{inner}" if module else inner, dots) if inner else None
        found.append(inside or project.file(file, module, dots))
    return list(dict.fromkeys(one for one in found if one is not None))[:MOST_FILES]


def _fill(reader: Reader, table: Table, file: ModuleInfo) -> None:
    """Read what a file puts into a table at its top level; nothing of that is an event of the story."""
    if file in table.files:
        return
    table.files.add(file)
    statements = _entries(reader, table, file)
    if table.count > MOST_READ:
        _leave_open(table)
    if table.count > MOST_READ or not statements or len(reader.frames) > 40:
        return
    kept = (reader.budget, reader.story.incomplete, reader.seen, len(reader.frames), reader.open_loops)
    nested = (reader.arms, reader.loops, reader.calls, reader.sites)
    events, written = len(reader.story.events), len(reader.journal)
    reader.arms, reader.loops, reader.calls, reader.sites = [], [], [], []
    reader.budget, reader.seen, reader.open_loops = STEPS, set(), 0
    reader.frames.append(reader.module_frames.setdefault(file.path, Frame(file)))
    try:
        for statement in statements:
            _put(reader, table, file, statement)
    except BudgetSpent:
        _leave_open(table)
    finally:
        del reader.frames[kept[3] :], reader.journal[written:], reader.story.events[events:]
        reader.budget, reader.story.incomplete, reader.seen, _, reader.open_loops = kept
        reader.arms, reader.loops, reader.calls, reader.sites = nested
    for held in _held(table.value):
        held.wide = len(held.items) > MOST_ENTRIES


def _entries(reader: Reader, table: Table, file: ModuleInfo) -> list[cst.CSTNode]:
    """The statements at the top level of a file that put something into a table."""
    key, known = ("entries", file, id(table.node)), reader.project.registrations
    if key not in known:
        known[key] = [one for one in file.tree.body if _registers(one, file, table)]
    found: list[cst.CSTNode] = known[key]
    return found


def _held(value: Value) -> list[Dict]:
    if isinstance(value, Instance):
        return [one for one in (value.wraps, *value.attrs.values()) if isinstance(one, Dict)]
    return [value] if isinstance(value, Dict) else []


def _leave_open(table: Table) -> None:
    """Something else may be in a table too."""
    for held in _held(table.value):
        held.rest = held.rest or UNKNOWN


def _put(reader: Reader, table: Table, file: ModuleInfo, statement: cst.CSTNode) -> None:
    from freezelint.source import statements
    from freezelint.source.calls import call
    from freezelint.source.expressions import evaluate

    if not isinstance(statement, (cst.FunctionDef, cst.ClassDef)):
        if _built_here(statement, file):
            _leave_open(table)
        else:
            statements.block(reader, [statement])
        return
    name = statement.name.value
    info = (file.classes if isinstance(statement, cst.ClassDef) else file.functions).get(name)
    if info is None or info.node is not statement:
        _leave_open(table)
        return
    held = Cls(info) if isinstance(info, ClassInfo) else Func(info)
    for decorator in statement.decorators:
        if _stores(decorator.decorator, file, table):
            call(reader, evaluate(reader, decorator.decorator), [held], {}, decorator.decorator)


def _registers(statement: cst.CSTNode, file: ModuleInfo, table: Table) -> bool:
    """Whether a statement at the top level of a file puts something into the table."""
    if isinstance(statement, (cst.FunctionDef, cst.ClassDef)):
        return any(_stores(decorator.decorator, file, table) for decorator in statement.decorators)
    if isinstance(statement, cst.For):
        return any(_registers(inner, file, table) for inner in statement.body.body)
    if not isinstance(statement, cst.SimpleStatementLine):
        return False
    for small in statement.body:
        if isinstance(small, cst.Expr) and isinstance(small.value, cst.Call) and _stores(small.value, file, table):
            return True
        if isinstance(small, cst.Assign) and any(_entry(target.target, file, table) for target in small.targets):
            return True
    return False


def _entry(target: cst.CSTNode, file: ModuleInfo, table: Table) -> bool:
    """Whether an assignment is to an entry of the table: `MODELS["x"] = …`."""
    name = dotted(target.value) if isinstance(target, cst.Subscript) else ""
    return bool(name) and file.resolve(name) is table.node


def _stores(node: cst.BaseExpression, file: ModuleInfo, table: Table) -> bool:
    """Whether a decorator or call is a method of the table, or a function that puts things into it."""
    name = dotted(node)
    made = file.resolve(name) if name else None
    if isinstance(made, FunctionInfo):
        names = _names(made.file, table.owner, table.node)
        text = made.file.body_text(made.name) if names else ""
        return any(re.search(rf"\b{re.escape(one)}{_STORES}", text) for one in names)
    head = name.rpartition(".")[0]
    return bool(head) and file.resolve(head) is table.node


def _built_here(statement: cst.CSTNode, file: ModuleInfo) -> bool:
    """Whether a statement puts an object into a table, not a function or class: it is made on import."""
    if not isinstance(statement, cst.SimpleStatementLine):
        return False
    for small in statement.body:
        value = getattr(small, "value", None)
        given = (
            [arg.value for arg in value.args]
            if isinstance(small, cst.Expr) and isinstance(value, cst.Call)
            else [value]
        )
        for node in (inner for one in given if one is not None for inner in walk(one, cst.Lambda)):
            if isinstance(node, cst.Call) and dotted(node.func).split(".")[-1] not in PLAIN:
                return True
    return False


# -- decorators of the file that is read -----------------------------------------------------------------------------


def decorated(reader: Reader, decorator: cst.Decorator, held: Value) -> Value:
    """What a decorator makes of a function or class; a long one (documentation) is left aside.

    One that only puts a function into a table of another file is read when somebody looks into that.
    """
    from freezelint.source.calls import call
    from freezelint.source.expressions import evaluate

    found = [held]
    is_class = isinstance(held, Cls)

    def apply() -> None:
        made = evaluate(reader, decorator.decorator)
        if isinstance(made, Func) and not made.info.decorated("contextmanager"):
            if made.env or is_class:
                changed = call(reader, made, [held], {}, decorator.decorator)
                found.append(changed if isinstance(changed, Cls) or not is_class else held)
            elif made.info.file is reader.frame.file and _keeps(made.info):
                call(reader, made, [held], {}, decorator.decorator)

    return found[-1] if reader.within_budget(DECORATOR_STEPS, apply) else held


def _keeps(info: FunctionInfo) -> bool:
    """Whether a function puts what it is given into a table, and gives it back."""
    params = info.node.params.params
    name = params[-1].name.value if params else ""
    text = info.file.body_text(info.name)
    return bool(name) and bool(re.search(rf"\]\s*=\s*{name}\b", text)) and bool(re.search(rf"return\s+{name}\b", text))
