"""The project index: files parsed once, their top-level names, classes, functions and imports.

Nothing is imported or executed. A name that leads out of the project is an external dotted name.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezelint.findings import Location
from freezelint.records import field, record
from freezelint.source import cst
from freezelint.source.cst.parse import BROKEN, parse
from freezelint.source.positions import Positions
from freezelint.source.texts import Texts, package_root
from freezelint.textfile import python_lines

if TYPE_CHECKING:
    from freezelint.source.values import Value

MODULE_BASES = ("Module", "LightningModule", "PreTrainedModel", "LightningDataModule")
_LARGEST_DEPENDENCY = 400_000
_MOST_STARS = 30  # a package that lists hundreds of its modules is an index, not a place of names
_DEF = re.compile(r"(?:async\s+)?def\s+(\w+)")


@record(eq=False)
class FunctionInfo:
    """A function or lambda: its node, where it is, and what decorates it."""

    name: str
    node: cst.FunctionDef | cst.Lambda
    file: ModuleInfo
    owner: ClassInfo | None = None
    inert: bool | None = None  # nothing in it lasts longer than a call

    @property
    def decorators(self) -> Sequence[cst.Decorator]:
        return self.node.decorators if isinstance(self.node, cst.FunctionDef) else ()

    @property
    def qualname(self) -> str:
        return f"{self.owner.name}.{self.name}" if self.owner else self.name

    def decorated(self, *names: str) -> bool:
        return any(dotted(d.decorator).split(".")[-1] in names for d in self.decorators)


@record(eq=False)
class ClassInfo:
    name: str
    node: cst.ClassDef
    file: ModuleInfo
    methods: dict[str, FunctionInfo] = field(default_factory=dict)
    assigns: dict[str, cst.BaseExpression] = field(default_factory=dict)
    setters: dict[str, FunctionInfo] = field(default_factory=dict)  # of properties
    outer: Any = None  # the frame a local class was made in
    _lines: tuple[list[ClassInfo], list[str]] | None = None

    def lineage(self) -> tuple[list[ClassInfo], list[str]]:
        """(project classes from itself upwards, external bases by dotted name)."""
        if self._lines is None:
            self._lines = ([self], [])
            known, outside = [self], []
            for base in self.node.bases:
                found = self.file.resolve(dotted(base.value))
                if isinstance(found, ClassInfo) and found is not self:
                    more, out = found.lineage()
                    known += [info for info in more if info not in known]
                    outside += out
                elif isinstance(found, str):
                    outside.append(found)
            self._lines = (known, outside)
        return self._lines

    def method(self, name: str) -> FunctionInfo | None:
        return next((info.methods[name] for info in self.lineage()[0] if name in info.methods), None)

    def setter(self, name: str) -> FunctionInfo | None:
        return next((info.setters[name] for info in self.lineage()[0] if name in info.setters), None)

    def assigned(self, name: str) -> tuple[ClassInfo, cst.BaseExpression] | None:
        return next(((info, info.assigns[name]) for info in self.lineage()[0] if name in info.assigns), None)

    @property
    def is_module(self) -> bool:
        _, outside = self.lineage()
        return any(
            (base.split(".")[-1].endswith(MODULE_BASES) and not base.endswith("DataModule"))
            or base.startswith(("torch.nn.", "torchvision.models.", "timm.models."))
            or (
                base.startswith("transformers.")
                and base.split(".")[-1].endswith(("Model", "PreTrainedModel", "ForCausalLM"))
            )
            for base in outside
        )


def dotted(node: cst.CSTNode) -> str:
    """`a.b.c` for a chain of names, else ''."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr.value}" if head else ""
    if isinstance(node, cst.Call):
        return dotted(node.func)
    if isinstance(node, cst.Subscript):
        return dotted(node.value)
    return ""


class ModuleInfo:
    """One parsed file."""

    def __init__(self, path: str, text: str, project: Project) -> None:
        self.path, self.text, self.project = path, text, project
        self.tree = parse(text)
        self.classes: dict[str, ClassInfo] = {}
        self.functions: dict[str, FunctionInfo] = {}
        self.imports: dict[str, tuple[str, str | None, int]] = {}  # name -> (module, name in it, dots)
        self.stars: list[tuple[str, int]] = []
        self.assigns: dict[str, cst.BaseExpression] = {}
        self.positions = Positions(text)
        self._bodies: dict[str, str] | None = None
        self._resolved: dict[str, Resolved] = {}
        self.values: dict[str, Value] = {}  # of the names that stand for the same in every story
        self._codes: dict[int, tuple[cst.CSTNode, str]] = {}
        self._collect(self.tree.body)

    def _collect(self, body: Sequence[cst.CSTNode]) -> None:
        for statement in body:
            if isinstance(statement, cst.ClassDef):
                self.classes[statement.name.value] = class_info(statement, self)
            elif isinstance(statement, cst.FunctionDef):
                self.functions[statement.name.value] = FunctionInfo(statement.name.value, statement, self)
            elif isinstance(statement, cst.SimpleStatementLine):
                for small in statement.body:
                    self._collect_small(small)
            elif isinstance(statement, (cst.If, cst.Try, cst.With)):
                self._collect_block(statement)

    def _collect_block(self, statement: cst.If | cst.Try | cst.With) -> None:
        self._collect(statement.body.body)
        if isinstance(statement, cst.If) and statement.orelse:
            other = statement.orelse
            self._collect([other] if isinstance(other, cst.If) else other.body.body)
        elif isinstance(statement, cst.Try):
            for handler in statement.handlers:
                self._collect(handler.body.body)

    def _collect_small(self, small: cst.CSTNode) -> None:
        if isinstance(small, (cst.Import, cst.ImportFrom)):
            for name, target in imported(small):
                if name == "*":
                    self.stars.append((target[0], target[2]))
                else:
                    self.imports.setdefault(name, target)
        elif isinstance(small, cst.Assign):
            for target_node in small.targets:
                if isinstance(target_node.target, cst.Name):
                    self._assign(target_node.target.value, small.value)
        elif isinstance(small, cst.AnnAssign) and isinstance(small.target, cst.Name) and small.value:
            self._assign(small.target.value, small.value)

    def _assign(self, name: str, value: cst.BaseExpression) -> None:
        self.assigns[name] = value
        self.project.assigned[id(value)] = (value, self)

    def locate(self, node: cst.CSTNode) -> Location:
        return Location(self.path, *(self.positions.of(node) or (1, 0, 1, 0)))

    def code(self, node: cst.CSTNode) -> str:
        known = self._codes.get(id(node))
        if known is None:  # the node is kept with its text: an id alone may be given again
            known = self._codes[id(node)] = (node, self.positions.text(node).strip())
        return known[1]

    def body_text(self, name: str) -> str:
        """The text of every function of that name in the file, found by indentation: cheap, for a look at its words."""
        if self._bodies is None:
            self._bodies = {}
            open_: list[tuple[int, str, int]] = []
            lines = python_lines(self.text)
            for number, line in enumerate([*lines, "end"]):
                stripped = line.lstrip()
                if not stripped or stripped[0] in "#)]}":
                    continue
                indent = len(line) - len(stripped)
                while open_ and indent <= open_[-1][0]:
                    _, known, start = open_.pop()
                    self._bodies[known] = self._bodies.get(known, "") + "\n".join(lines[start:number])
                if match := _DEF.match(stripped):
                    open_.append((indent, match[1], number))
        return self._bodies.get(name, "")

    def resolve(self, name: str) -> Resolved:
        """What a dotted top-level name stands for: a project object, an external dotted name, or None."""
        if name in self._resolved:
            return self._resolved[name]
        asked = self.project.asked
        if (self.path, name) in asked:
            return None
        asked.add((self.path, name))  # each name of each file once a question: star imports fan out and come back
        outermost = len(asked) == 1
        try:
            found = self._resolve(name)
        finally:
            if outermost:
                asked.clear()
        if outermost or found is not None:
            self._resolved[name] = found
        return found

    def _resolve(self, name: str) -> Resolved:
        head, _, rest = name.partition(".")
        found: Resolved = self._resolve_head(head) if head else None
        if not rest or found is None:
            return found
        if isinstance(found, str):
            return f"{found}.{rest}"
        if isinstance(found, ModuleInfo):
            inner: Resolved = found.resolve(rest)
            return inner if inner is not None else found.submodule(rest)
        return None

    def submodule(self, name: str) -> ModuleInfo | None:
        return self.project.file(self, name, 1) if self.path.endswith("__init__.py") else None

    def _resolve_head(self, head: str) -> Any:
        for table in (self.classes, self.functions):
            if head in table:
                return table[head]
        if head in self.imports:
            return self.project.imported(self, *self.imports[head])
        if head in self.assigns:
            alias = dotted(self.assigns[head]) if isinstance(self.assigns[head], (cst.Name, cst.Attribute)) else ""
            return self.resolve(alias) if alias and alias != head else self.assigns[head]
        for module, dots in self.stars if len(self.stars) <= _MOST_STARS else ():
            other = self.project.file(self, module, dots)
            if other and (found := other.resolve(head)) is not None:
                return found
        return None


def class_info(node: cst.ClassDef, file: ModuleInfo) -> ClassInfo:
    info = ClassInfo(node.name.value, node, file)
    for statement in node.body.body:
        if isinstance(statement, cst.FunctionDef):
            name = statement.name.value
            sets = name in info.methods and any("setter" in dotted(d.decorator) for d in statement.decorators)
            (info.setters if sets else info.methods)[name] = FunctionInfo(name, statement, file, info)
        elif isinstance(statement, cst.SimpleStatementLine):
            for small in statement.body:
                if isinstance(small, cst.Assign) and isinstance(small.targets[0].target, cst.Name):
                    info.assigns[small.targets[0].target.value] = small.value
                elif isinstance(small, cst.AnnAssign) and isinstance(small.target, cst.Name) and small.value:
                    info.assigns[small.target.value] = small.value
    return info


def imported(node: cst.Import | cst.ImportFrom) -> Iterator[tuple[str, tuple[str, str | None, int]]]:
    """(bound name, (module, name in it or None, leading dots)) for each name an import binds."""
    if isinstance(node, cst.Import):
        for alias in node.names:
            module = dotted(alias.name)
            if alias.asname:
                yield dotted(alias.asname.name), (module, None, 0)
            else:
                head = module.split(".")[0]
                yield head, (head, None, 0)
        return
    module, dots = dotted(node.module) if node.module else "", node.dots
    if isinstance(node.names, cst.ImportStar):
        yield "*", (module, None, dots)
        return
    for alias in node.names:
        name = dotted(alias.name)
        yield dotted(alias.asname.name) if alias.asname else name, (module, name, dots)


class Project:
    """Reads other files of the project when a name leads there."""

    def __init__(self, roots: Sequence[Path], overlay: Mapping[str, str] | None = None) -> None:
        self.roots = [Path(root) for root in roots]
        self.overlay = dict(overlay or {})
        self.read: dict[str, str] = {}  # path -> sha256 of what was read
        self._files: dict[str, ModuleInfo | None] = {}
        self._found: dict[tuple[str, str], str | None] = {}
        self._imported_from: dict[Path, list[Path]] = {}  # where an absolute import in a folder is looked for
        self._links: dict[str, set[str]] = {}  # file -> the files its imports led to
        self.texts = Texts(self.roots, self.overlay)
        self.asked: set[tuple[str, str]] = set()
        self.registrations: dict[Any, Any] = {}  # what each file imports, and puts into tables
        self.recalled: dict[Any, Any] = {}  # what calls of helpers gave that leave nothing behind
        self.assigned: dict[int, tuple[cst.BaseExpression, ModuleInfo]] = {}  # by id: what top levels assign, and where

    def add(self, path: str, text: str) -> ModuleInfo:
        """Parse the text of a file, unless it was read before as it is; raises what `parse` raises."""
        known = self._files.get(path)
        info = known if known is not None and known.text == text else ModuleInfo(path, text, self)
        if known is not None and info is not known:
            self.recalled.clear()
            self.registrations.clear()
        self._files[path] = info
        return info

    def owner_of(self, node: cst.BaseExpression) -> ModuleInfo | None:
        """The file whose top level assigns this very node."""
        known = self.assigned.get(id(node))
        return known[1] if known is not None and known[0] is node else None

    def imported(self, file: ModuleInfo, module: str, name: str | None, dots: int) -> Any:
        if name is None:
            found = self.file(file, module, dots)
            return found if found is not None else module
        other = self.file(file, module, dots)
        if other is not None and other is not file:
            inner = other.resolve(name)
            if inner is not None:
                return inner
        inside = self.file(file, f"{module}.{name}" if module else name, dots)
        if inside is not None:
            return inside
        return f"{module}.{name}" if module and not dots else (f".{module}.{name}" if other is None else None)

    def file(self, origin: ModuleInfo, module: str, dots: int) -> ModuleInfo | None:
        if not dots and module.split(".")[0] in ("torch", "numpy", "os", "sys", "typing", "math", "collections"):
            return None
        key = (origin.path, "." * dots + module)
        if key not in self._found:
            folder = Path(origin.path).parent
            for _ in range(dots - 1):
                folder = folder.parent
            self._found[key] = self._find(folder, module, dots)
        found = self._found[key]
        if found:
            self.consult(origin.path, found)
        return self._load(found) if found else None

    def consult(self, path: str, other: str) -> None:
        """Note that the reading of a file asked another file or folder."""
        self._links.setdefault(path, set()).add(other)

    def consulted(self, path: str) -> set[str]:
        """Every other file or folder that reading `path` led to, directly or through others."""
        seen, todo = {path}, [path]
        while todo:
            for other in self._links.get(todo.pop(), set()) - seen:
                seen.add(other)
                todo.append(other)
        return seen - {path}

    def _find(self, folder: Path, module: str, dots: int) -> str | None:
        parts = module.split(".") if module else []
        for base in [folder] if dots else self._bases(folder):
            path = os.path.join(base, *parts)
            for file in (os.path.join(path, "__init__.py"), f"{path}.py" if parts else path):
                candidate = os.path.normpath(file)  # as the files of a check are called: `./a.py` is `a.py`
                if candidate in self.overlay or os.path.isfile(candidate):
                    return candidate
        return None

    def _bases(self, folder: Path) -> list[Path]:
        if folder not in self._imported_from:
            root = package_root(folder)
            bases = [folder, *(above for above in folder.parents if above.is_relative_to(root))]
            bases += [base for root in self.roots for base in (root, root / "src")]
            self._imported_from[folder] = list(dict.fromkeys(bases))
        return self._imported_from[folder]

    def _load(self, path: str) -> ModuleInfo | None:
        if path not in self._files:
            self._files[path] = None
            try:
                data = self.overlay[path].encode() if path in self.overlay else Path(path).read_bytes()
                if len(data) <= _LARGEST_DEPENDENCY:
                    self._files[path] = ModuleInfo(path, data.decode("utf-8-sig"), self)
                self.read[path] = hashlib.sha256(data).hexdigest()
            except (OSError, UnicodeDecodeError, *BROKEN):
                pass
        return self._files[path]


Resolved = ClassInfo | FunctionInfo | ModuleInfo | cst.BaseExpression | str | None
