"""Entry point of the worker, started by path in the user's interpreter: `python -u .../worker/__main__.py`.

The folder is loaded as the package `freezelint_worker` and taken off `sys.path`, so that its modules cannot be mistaken
for the user's own (`steps`, `inputs`, ...) and nothing else of freezelint has to be importable there.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

NAME = "freezelint_worker"


def load() -> None:
    folder = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != folder]
    spec = importlib.util.spec_from_file_location(
        NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    load()
    if sys.argv[1:2] == ["script"]:
        importlib.import_module(f"{NAME}.script").main(sys.argv[2:])
    else:
        importlib.import_module(f"{NAME}.protocol").serve()
