"""What may import what: layers point one way, and a third package stands only where it belongs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import freezelint

PACKAGE = Path(freezelint.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_rules" not in path.parts)
# Each layer may import itself and what stands before it.
LAYERS = [
    {"", "records"},
    {"findings"},
    {"gradient_map", "textfile", "book", "fixes", "progress"},
    {"rule", "settings", "cache", "suppress", "rules_table", "facts", "flow", "measured", "model_report"},
    {"config", "contract", "output", "backing", "settings_schema"},
    {"processes"},
    {"source", "client"},
    {"checks"},
    {"source_stage", "graph_stage", "run_stage", "warm"},
    {"engine", "settle"},
    {"baseline", "watch", "editor"},
    {"commands", "api", "server", "integrations"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# Third packages, and the only places of ours that may import them.
ALLOWED = {
    "torch": ("worker", "api", "integrations"),
    "typer": ("cli",),
    "pygls": ("server", "commands"),
    "lsprotocol": ("server",),
    "nbformat": ("source.notebook",),
    "pathspec": ("source.discover",),
    "tomli": ("config",),
    "typing_extensions": ("records",),  # for the type checker alone
}
IN_PROCESS = ("api", "integrations")  # the user's own process: torch is there already
SHARED = ("freezelint.worker.bill",)  # plain data of the worker, which the host reads from its answers


def name_of(path: Path) -> str:
    """Dotted name inside the package, without `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(module, line, at run time) of every import; those under `if TYPE_CHECKING` are not made at run time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) not in typing_only
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if node.module == "freezelint" else node.module, node.lineno, id(node) not in typing_only


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    own = name_of(path).split(".")[0]
    if own == "worker":
        return
    assert own in RANK, f"{own}: no layer yet; say in LAYERS where it stands"
    for module, line, at_run_time in imports(path):
        if module.startswith("freezelint.") and at_run_time and own:
            other = module.split(".")[1]
            rank = RANK.get(other, 0)  # a name of the package itself, such as __version__
            if (own, other) == ("rule", "checks"):  # the list of rules is read from their folder
                continue
            assert rank <= RANK[own], f"{path.name}:{line}: {own} imports {other}"
            alone = other != "worker" or own in IN_PROCESS or module in SHARED
            assert alone, f"{path.name}:{line}: the worker is started by path"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_third_packages_stay_where_they_belong(path: Path) -> None:
    name = name_of(path)
    for module, line, _ in imports(path):
        head = module.split(".")[0]
        if head in sys.stdlib_module_names or head == "freezelint":
            continue
        if name.split(".")[0] == "worker":
            here = {other.stem for other in (PACKAGE / "worker").glob("*.py")}
            assert head == "torch" or head in here, f"{path.name}:{line}: {module} in the worker"
            continue
        assert head in ALLOWED, f"{path.name}:{line}: {module}"
        places = ALLOWED[head]
        assert any(name == place or name.startswith(f"{place}.") for place in places), f"{path.name}:{line}: {module}"


def test_worker_imports_nothing_of_ours() -> None:
    for path in (PACKAGE / "worker").glob("*.py"):
        assert not [line for module, line, _ in imports(path) if module.split(".")[0] == "freezelint"], path.name


@pytest.mark.parametrize("module", SHARED)
def test_what_the_host_shares_with_the_worker_is_plain_data(module: str) -> None:
    path = PACKAGE.parent / Path(*module.split(".")).with_suffix(".py")
    assert {name.split(".")[0] for name, _, _ in imports(path)} <= sys.stdlib_module_names


def test_checks_stand_alone() -> None:
    for path in (PACKAGE / "checks").glob("frz*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        others = [module for module, _, _ in imports(path) if module.startswith("freezelint.checks.frz")]
        opened = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "open"]
        assert not others, f"{path.name} imports another check"
        assert not opened, f"{path.name} opens a file"
