"""Settings files: which one holds, what the command line changes, and errors that name file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tool import FROZEN_BY_ATTRIBUTE, freezelint, write

from freezelint.config import Resolver
from freezelint.settings import ModelSettings, Settings, SettingsError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nearest_file_wins(folder: Path) -> None:
    write(
        folder,
        {"pyproject.toml": "[tool.freezelint]\nsteps = 3\n", "sub/freezelint.toml": "steps = 5\n", "sub/x/a": ""},
    )
    resolver = Resolver()
    assert resolver.settings.steps == 3
    assert resolver.of(folder / "sub" / "x").steps == 5


def test_pyproject_without_our_table_is_passed_over(folder: Path) -> None:
    write(folder, {"freezelint.toml": "steps = 7\n", "sub/pyproject.toml": "[tool.ruff]\nline-length = 99\n"})
    assert Resolver().of(folder / "sub").steps == 7


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("[tool.freezelint]\nsteps = 3\n", 3),
        ("[ tool.freezelint ]\nsteps = 3\n", 3),
        ("[tool]\nfreezelint = { steps = 3 }\n", 3),
        ("[tool]\nfreezelint.steps = 3\n", 3),
        ('[project]\ndependencies = ["freezelint"]\n# as in tool.freezelint above\n', 7),
        ("tool = 3  # freezelint\n", 7),
    ],
)
def test_our_table_is_found_however_it_is_written(folder: Path, text: str, steps: int) -> None:
    write(folder, {"freezelint.toml": "steps = 7\n", "sub/pyproject.toml": text})
    assert Resolver().of(folder / "sub").steps == steps


def test_show_settings_of_a_path_are_those_that_hold_there(folder: Path) -> None:
    write(folder, {"freezelint.toml": "steps = 7\n", "sub/freezelint.toml": "steps = 3\n", "sub/a.py": ""})
    shown = [json.loads(freezelint("--show-settings", *path).out)["steps"] for path in ([], ["sub"], ["sub/a.py"])]
    assert shown == [7, 3, 3]


def test_extend(folder: Path) -> None:
    write(
        folder,
        {
            "base/freezelint.toml": "steps = 7\nseed = 1\n",
            "freezelint.toml": 'extend = "base/freezelint.toml"\nseed = 2\n',
        },
    )
    assert (Resolver().settings.steps, Resolver().settings.seed) == (7, 2)


def test_isolated_reads_no_file(folder: Path) -> None:
    write(folder, {"freezelint.toml": "steps = 7\n"})
    assert Resolver(isolated=True).settings.steps == Settings().steps


def test_config_option_takes_pairs_and_files(folder: Path) -> None:
    write(folder, {"freezelint.toml": "steps = 7\n", "other.toml": "steps = 9\n"})
    assert Resolver(pairs=("steps = 4", "select=['FRZ1']")).settings.steps == 4
    assert Resolver(pairs=("device=cpu",)).settings.device == "cpu"
    assert Resolver(pairs=("other.toml",)).settings.steps == 9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps = 3\nselct = []\n", "freezelint.toml:2: unknown key `selct` (did you mean `select`?)"),
        ("extend_select = []\n", "freezelint.toml:1: unknown key `extend_select` (did you mean `extend-select`?)"),
        ('steps = "two"\n', "freezelint.toml:1: `steps` must be a whole number, not `'two'`"),
        ("preview = 1\n", "freezelint.toml:1: `preview` must be true or false, not `1`"),
        ("steps = true\n", "freezelint.toml:1: `steps` must be a whole number, not `true`"),
        ("# x\n\nsteps = 0\n", "freezelint.toml:3: `steps` lies between 1 and 20, not `0`"),
        ('select = ["FRZ9"]\n', "freezelint.toml:1: unknown rule `FRZ9`"),
        ('select = "FRZ1"\n', "freezelint.toml:1: `select` must be a list of strings, not `'FRZ1'`"),
        ('output-format = "yaml"\n', "freezelint.toml:1: `output-format` is one of full, concise, text, json"),
        ('[per-file-ignores]\n"tests/*" = "FRZ1"\n', "freezelint.toml:2: `tests/*` must be a list of strings"),
        ('\nper-file-ignores = { "a" = "FRZ1" }\n', "freezelint.toml:2: `a` must be a list of strings, not `'FRZ1'`"),
        ("isolated = true\n", "freezelint.toml:1: unknown key `isolated`\n"),
        ('device = "cuda:x"\n', "freezelint.toml:1: `device` is one of auto, cpu, cuda, cuda:N, not `cuda:x`"),
        ('[[models]]\nname = "a"\nbuild = "m:f"\nlos = "x"\n', "freezelint.toml:4: unknown key `los` in `models`"),
        ('[[models]]\nname = "a"\n', "freezelint.toml:1: a model needs `build`"),
        ('[[models]]\nname = "a"\nbuild = "m"\n', 'freezelint.toml:3: `build` must be "pkg.mod:callable", not "m"'),
        ('extend = "gone.toml"\n', "freezelint.toml:1: `extend`: no file `gone.toml`"),
        ('extend = "freezelint.toml"\n', "freezelint.toml: `extend` goes in a circle"),
        ("steps = \n", "freezelint.toml: not valid TOML"),
    ],
)
def test_bad_settings_name_file_and_line(folder: Path, text: str, said: str) -> None:
    write(folder, {"freezelint.toml": text})
    with pytest.raises(SettingsError) as error:
        Resolver()
    assert f"{error.value}\n".startswith(said)
    result = freezelint(".")
    assert (result.code, result.out) == (2, "")
    assert result.err == f"freezelint: {error.value}\n"


def test_line_in_a_pyproject_is_the_one_of_our_table(folder: Path) -> None:
    text = "[tool.other]\nsteps = 1\n\n[tool.freezelint]\nselect = []\nsteps = 99\n"
    write(folder, {"pyproject.toml": text})
    with pytest.raises(SettingsError, match=r"^pyproject\.toml:6: "):
        Resolver()


def test_models(folder: Path) -> None:
    text = """
[[tool.freezelint.models]]
name = "classifier"
build = "train:build"
inputs = "float32[2,3,224,224]"
frozen = ["backbone.*"]
trainable = ["head.*"]
"""
    write(folder, {"pyproject.toml": text})
    (model,) = Resolver().settings.models
    assert model == ModelSettings(
        "classifier", "train:build", ("float32[2,3,224,224]",), "", ("backbone.*",), ("head.*",)
    )


def test_select_and_ignore_by_the_longest_prefix() -> None:
    known = ("FRZ001", "FRZ101", "FRZ102", "FRZ201")
    assert Settings().codes(known) == frozenset(known)
    assert Settings(select=("FRZ1",)).codes(known) == {"FRZ101", "FRZ102"}
    assert Settings(ignore=("FRZ1",)).codes(known) == {"FRZ001", "FRZ201"}
    assert Settings(select=("FRZ101",), ignore=("FRZ1",)).codes(known) == {"FRZ101"}
    assert Settings(select=("ALL",), ignore=("FRZ2", "FRZ0")).codes(known) == {"FRZ101", "FRZ102"}
    assert Settings(select=("FRZ2",), extend_select=("FRZ102",)).codes(known) == {"FRZ102", "FRZ201"}


def test_command_line_select_replaces_and_ignore_adds(folder: Path) -> None:
    write(folder, {"freezelint.toml": 'select = ["FRZ1"]\nignore = ["FRZ102"]\n'})
    shown = json.loads(freezelint("--show-settings", "--select", "FRZ2,FRZ3").out)
    assert (shown["select"], shown["ignore"]) == (["FRZ2", "FRZ3"], [])
    shown = json.loads(freezelint("--show-settings", "--ignore", "FRZ103").out)
    assert (shown["select"], shown["ignore"]) == (["FRZ1"], ["FRZ102", "FRZ103"])


@pytest.mark.parametrize("pattern", ["tests/*", "test_*.py", "!src/*"])
def test_per_file_ignores(folder: Path, pattern: str) -> None:
    settings = f'[per-file-ignores]\n"{pattern}" = ["FRZ1"]\n'
    write(
        folder, {"freezelint.toml": settings, "tests/test_a.py": FROZEN_BY_ATTRIBUTE, "src/a.py": FROZEN_BY_ATTRIBUTE}
    )
    found = freezelint("--output-format", "json").findings
    assert [Path(f["filename"]).parent.name for f in found] == ["src"]


def test_per_file_ignores_on_the_command_line(folder: Path) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE, "b.py": FROZEN_BY_ATTRIBUTE})
    found = freezelint("--output-format", "json", "--per-file-ignores", "a.py:FRZ101").findings
    assert [Path(f["filename"]).name for f in found] == ["b.py"]


def test_schema_knows_every_key_and_no_other() -> None:
    import freezelint.settings_schema as module

    schema = json.loads(Path(module.__file__).with_name("settings.schema.json").read_text())
    assert schema == json.loads(json.dumps(module.schema()))
    assert schema["additionalProperties"] is False
    assert {"extend", "select", "per-file-ignores", "models", "timeout-s"} <= schema["properties"].keys()


@pytest.mark.parametrize("text", ['select = ["FRZ1"]\nsteps = 3\n', "steps = 99\n", "selct = []\n", 'device = "tpu"\n'])
def test_schema_agrees_with_the_reader(folder: Path, text: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from freezelint.config import parse
    from freezelint.settings_schema import schema

    write(folder, {"freezelint.toml": text})
    try:
        Resolver()
        good = True
    except SettingsError:
        good = False
    assert jsonschema.Draft202012Validator(schema()).is_valid(parse(text, "freezelint.toml")) is good
