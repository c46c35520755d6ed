"""Models and losses taken from a registry: what other files put into it on import is known where it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezelint.source.lint import Project, read_file
from freezelint.source.story import Story
from freezelint.source.values import Instance

NETS = """import torch
from torch import nn
{imports}

{before}
class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.body, self.head = nn.Linear(4, width), nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.body(x))

{between}
class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)

{after}
"""
PLAIN = """MODELS = {}


def register(name):
    def wrap(made):
        MODELS[name] = made
        return made

    return wrap
"""
BARE = """MODELS = {}


def register(made):
    MODELS[made.__name__] = made
    return made
"""
OF_DICT = """class Registry(dict):
    def register(self, name):
        def wrap(made):
            self[name] = made
            return made

        return wrap


MODELS = Registry()
"""
OBJECT = """class Registry:
    def __init__(self, name):
        self.name, self.table = name, {}

    def register(self, key=None):
        def wrap(made):
            if key in self.table:
                raise KeyError(key)
            self.table[key or made.__name__] = made
            return made

        return wrap

    def __getitem__(self, key):
        return self.table[key]


MODELS = Registry("models")
"""
FUNCTIONS = "{0}\ndef net():\n    return Net()\n\n\n{0}\ndef wide():\n    return Wide()\n"
FORMS = {
    "decorated classes": (PLAIN, '@register("net")', '@register("wide")', ""),
    "decorated functions": (BARE, "", "", FUNCTIONS.format("@register")),
    "called": (BARE, "", "", "register(Net)\nregister(Wide)\n"),
    "a dict with a method": (OF_DICT, '@MODELS.register("net")', '@MODELS.register("wide")', ""),
    "an object": (OBJECT, "@MODELS.register()", '@MODELS.register("wide")', ""),
    "by key": ("MODELS = {}\n", "", "", 'MODELS["net"] = Net\nMODELS["wide"] = Wide\n'),
    "updated": ("MODELS = {}\n", "", "", 'MODELS.update(net=Net)\nMODELS.update({"wide": Wide})\n'),
    "in a loop": ("MODELS = {}\n", "", "", "for one in (Net, Wide):\n    MODELS[one.__name__] = one\n"),
}
USE = "import sys\n{imports}\nmodel = MODELS[{key}]()\n"


def model(folder: Path, files: dict[str, str]) -> set[str]:
    """The classes of the project that the first story of `train.py` builds."""
    overlay = {str(folder / name): text for name, text in files.items()}
    project = Project([folder], overlay)
    file = project.add(str(folder / "train.py"), files["train.py"])
    read: Story = next(iter(read_file(file, project)))
    return {one.cls.name for one in read.modules if isinstance(one, Instance) and one.cls is not None}


@pytest.mark.parametrize(
    ("form", "apart"),
    [(form, apart) for form in FORMS for apart in (False, True) if not apart or "def " in FORMS[form][0]],
)
def test_every_entry_may_be_what_an_unknown_key_gives(form: str, apart: bool, tmp_path: Path) -> None:
    table, before, between, after = FORMS[form]
    used = "from table import *" if apart else table
    files = {"nets.py": NETS.format(imports=used, before=before, between=between, after=after), "table.py": table}
    files["train.py"] = USE.format(imports="from nets import MODELS", key="sys.argv[1]")
    assert model(tmp_path, files) == {"Net", "Wide"}


def test_a_known_key_gives_its_entry_alone(tmp_path: Path) -> None:
    table, before, between, after = FORMS["decorated classes"]
    files = {"nets.py": NETS.format(imports=table, before=before, between=between, after=after)}
    files["train.py"] = USE.format(imports="from nets import MODELS", key='"wide"')
    assert model(tmp_path, files) == {"Wide"}


def test_files_that_are_imported_to_register_are_asked(tmp_path: Path) -> None:
    table, before, between, after = FORMS["decorated classes"]
    nets = NETS.format(imports="from table import register", before=before, between=between, after=after)
    files = {"nets.py": nets, "table.py": table}
    files["train.py"] = USE.format(imports="import nets\nfrom table import MODELS\n", key="sys.argv[1]")
    assert model(tmp_path, files) == {"Net", "Wide"}
    files["train.py"] = USE.format(imports="from table import MODELS\n", key="sys.argv[1]")
    assert model(tmp_path, files) == set()


def test_a_registry_looked_up_under_a_condition_stays_filled(tmp_path: Path) -> None:
    table, before, between, after = FORMS["decorated classes"]
    files = {"nets.py": NETS.format(imports=table, before=before, between=between, after=after)}
    used = "from nets import MODELS\nif sys.argv[2]:\n    print(MODELS['net'])\n"
    files["train.py"] = USE.format(imports=used, key="sys.argv[1]")
    assert model(tmp_path, files) == {"Net", "Wide"}


def test_of_a_registry_of_many_an_unknown_key_gives_anything(tmp_path: Path) -> None:
    table, before, between, _ = FORMS["decorated classes"]
    many = "\n".join(f'@register("{i}")\nclass Net{i}(nn.Module):\n    pass\n' for i in range(9))
    files = {"nets.py": NETS.format(imports=table, before=before, between=between, after=many)}
    files["train.py"] = USE.format(imports="from nets import MODELS", key="sys.argv[1]")
    assert model(tmp_path, files) == set()
    files["train.py"] = USE.format(imports="from nets import MODELS", key='"3"')
    assert model(tmp_path, files) == {"Net3"}


def test_of_a_file_that_registers_very_many_no_entry_is_known(tmp_path: Path) -> None:
    table, before, between, _ = FORMS["decorated classes"]
    many = "\n".join(f'@register("{i}")\nclass Net{i}(nn.Module):\n    pass\n' for i in range(24))
    files = {"nets.py": NETS.format(imports=table, before=before, between=between, after=many)}
    files["train.py"] = USE.format(imports="from nets import MODELS", key='"3"')
    assert model(tmp_path, files) == set()
