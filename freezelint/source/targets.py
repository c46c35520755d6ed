"""Which models a file offers to trace: functions that build and freeze, module classes, scripts up to the optimizer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from freezelint.records import record
from freezelint.source import cst
from freezelint.source.project import FunctionInfo, ModuleInfo


@record(frozen=True)
class Target:
    """A model to build: `kind` is function, class or script; `qualname` its name in the file, '' for a script."""

    name: str
    path: str
    kind: str
    qualname: str
    line: int


BUILDS = re.compile(r"^(?!def |class |async |import |from |#|@|\s)\S.*(\.parameters\(|requires_grad)", re.MULTILINE)
TRAINS = re.compile(r"\.backward\(|\.fit\(|\.train\(\)")
PROGRAM = re.compile(r"^(if __name__ ==|main\()", re.MULTILINE)


def targets(file: ModuleInfo) -> list[Target]:
    return [*_functions(file), *_classes(file), *_script(file)]


def _script(file: ModuleInfo) -> Iterator[Target]:
    """A file that builds a model and trains it at its top level, or in a `main()` that its top level calls."""
    text = file.text
    if not TRAINS.search(text):
        return
    at = BUILDS.search(text)
    main = "main" in file.functions and PROGRAM.search(text) and ".parameters(" in file.body_text("main")
    if at is not None or main:
        line = text.count("\n", 0, at.start()) + 1 if at else line_of(file, "def", "main")
        yield Target(stem(file), file.path, "script", "", line)


def _functions(file: ModuleInfo) -> Iterator[Target]:
    for info in file.functions.values():
        assert isinstance(info.node, cst.FunctionDef)
        if callable_without_arguments(info.node.params, 0) and _builds(info):
            yield Target(f"{stem(file)}:{info.name}", file.path, "function", info.name, line_of(file, "def", info.name))


def _builds(info: FunctionInfo) -> bool:
    name = info.name
    builds = name.startswith(("build", "make", "create", "setup", "get_model", "load_model"))
    return builds and "return" in info.file.body_text(name)


def _classes(file: ModuleInfo) -> Iterator[Target]:
    for info in file.classes.values():
        init = info.method("__init__")
        if (
            info.is_module
            and info.method("forward")
            and (init is None or callable_without_arguments(init.node.params, 1))
        ):
            yield Target(f"{stem(file)}:{info.name}", file.path, "class", info.name, line_of(file, "class", info.name))


def line_of(file: ModuleInfo, keyword: str, name: str) -> int:
    """The line of a top-level definition, without the price of every position in the file."""
    match = re.search(rf"^(?:async )?{keyword} {name}\b", file.text, re.MULTILINE)
    return file.text.count("\n", 0, match.start()) + 1 if match else 1


def stem(file: ModuleInfo) -> str:
    return file.path.rsplit("/", 1)[-1].removesuffix(".py")


def callable_without_arguments(params: cst.Parameters, skip: int) -> bool:
    needed = [p for p in (*params.posonly_params, *params.params)[skip:] if p.default is None]
    return not needed and all(p.default is not None for p in params.kwonly_params)
