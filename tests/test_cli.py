"""The command line: commands, exit codes, streams, and one clear line for every bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tool import FIXED, FROZEN_BY_ATTRIBUTE, freezelint, write

from freezelint import __version__


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_exit_codes(folder: Path) -> None:
    write(folder, {"bad.py": FROZEN_BY_ATTRIBUTE, "good.py": FIXED})
    assert freezelint("good.py").code == 0
    assert freezelint("bad.py").code == 1
    assert freezelint("bad.py", "--exit-zero").code == 0
    assert freezelint("missing.py").code == 2


@pytest.mark.parametrize("arguments", [(), (".",), ("check",), ("check", "."), ("--no-cache",)])
def test_check_is_the_default_command(folder: Path, arguments: tuple[str, ...]) -> None:
    write(folder, {"bad.py": FROZEN_BY_ATTRIBUTE})
    result = freezelint(*arguments)
    assert result.code == 1
    assert "bad.py:4:1: FRZ101 [*] " in result.out
    assert result.out.splitlines()[-2:] == ["Found 1 error in 1 file", "[*] 1 fixable with `--fix`"]


def test_missing_path_is_one_line() -> None:
    result = freezelint("nowhere/at_all.py")
    assert (result.code, result.out) == (2, "")
    assert result.err == "freezelint: nowhere/at_all.py: no such file or folder\n"


def test_nothing_to_check_is_said() -> None:
    result = freezelint(".")
    assert result.code == 0
    assert "no Python files found" in result.err


def test_broken_file_is_one_finding_and_the_rest_is_checked(folder: Path) -> None:
    write(folder, {"bad.py": FROZEN_BY_ATTRIBUTE, "broken.py": "x.requires_grad = 1\ndef f(:\n"})
    result = freezelint("--output-format", "concise")
    assert result.code == 1
    codes = [line.split()[1] for line in result.out.splitlines()[:2]]
    assert codes == ["FRZ101", "FRZ002"]
    assert "Traceback" not in result.out + result.err


def test_file_that_is_no_text(folder: Path) -> None:
    (folder / "a.py").write_bytes(b"requires_grad = '\xff\xfe'\n")
    result = freezelint("--output-format", "concise")
    assert "a.py:1:1: FRZ002 not checked: not utf-8: byte 17" in result.out


def test_standard_input() -> None:
    result = freezelint(
        "-", "--stdin-filename", "pkg/a.py", "--output-format", "json", stdin=FROZEN_BY_ATTRIBUTE.encode()
    )
    assert [(f["code"], Path(f["filename"]).name, f["location"]["row"]) for f in result.findings] == [
        ("FRZ101", "a.py", 4)
    ]


def test_standard_input_is_fixed_to_standard_output() -> None:
    result = freezelint("-", "--fix", stdin=FROZEN_BY_ATTRIBUTE.encode())
    assert (result.code, result.out) == (0, FIXED)


def test_standard_input_is_no_file_to_write_in_or_to_watch(folder: Path) -> None:
    write(folder, {"a.py": "kept = 1\n"})
    result = freezelint("-", "--stdin-filename", "a.py", "--add-noqa", stdin=FROZEN_BY_ATTRIBUTE.encode())
    assert (result.code, result.err) == (2, "freezelint: --add-noqa: standard input has no file to write in\n")
    assert (folder / "a.py").read_text() == "kept = 1\n"
    assert freezelint("-", "--watch").err == "freezelint: --watch: standard input does not change\n"


def test_rule_prints_its_page() -> None:
    result = freezelint("rule", "frz101")
    assert result.code == 0
    assert result.out.startswith("# FRZ101 module-attribute-freeze\n")
    assert freezelint("rule", "FRZ999").code == 2


def test_rule_table_names_every_rule() -> None:
    from freezelint import book

    rows = json.loads(freezelint("rule", "--all", "--output-format", "json").out)
    assert [row["code"] for row in rows] == list(book.codes())
    assert all(row["name"] != row["code"] and row["witnesses"] for row in rows if not row["code"].startswith("FRZ0"))
    assert len(freezelint("rule", "--all").out.splitlines()) == len(rows) + 1


def test_show_files_and_settings(folder: Path) -> None:
    write(folder, {"a.py": "x = 1\n", "b/c.py": "y = 2\n", "d.txt": "", "freezelint.toml": "steps = 4\n"})
    assert freezelint("--show-files").out.splitlines() == [str(folder / "a.py"), str(folder / "b/c.py")]
    shown = json.loads(freezelint("--show-settings", "--select", "FRZ1").out)
    assert (shown["select"], shown["steps"]) == (["FRZ1"], 4)


def test_statistics(folder: Path) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE, "b.py": FROZEN_BY_ATTRIBUTE})
    first = freezelint("--statistics").out.splitlines()[0]
    assert first == "2\tFRZ101\t[*] module-attribute-freeze"


def test_unknown_option_and_format_end_with_two() -> None:
    assert freezelint("--no-such-option").code == 2
    assert freezelint("--output-format", "yaml").code == 2
    assert freezelint("--device", "tpu").err.startswith("freezelint: --device: `device` is one of auto, cpu, cuda,")
    assert freezelint("--select", "FRZ9").err == "freezelint: --select: unknown rule `FRZ9`\n"


def test_run_without_or_with_missing_script_is_one_line() -> None:
    assert freezelint("run").err == "freezelint: run needs a script, or a module with -m\n"
    assert freezelint("run", "nowhere.py").err == "freezelint: nowhere.py: no such file\n"


def test_output_file(folder: Path) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE})
    result = freezelint("--output-format", "json", "--output-file", "out/report.json")
    assert (result.code, result.out) == (1, "")
    assert json.loads((folder / "out/report.json").read_text())[0]["code"] == "FRZ101"


def test_output_file_that_cannot_be_written_is_one_line(folder: Path) -> None:
    write(folder, {"bad.py": FROZEN_BY_ATTRIBUTE})
    result = freezelint("bad.py", "--output-file", "bad.py/report.txt")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("freezelint: --output-file: cannot write `bad.py")
    assert len(result.err.splitlines()) == 1


def test_colour_only_where_it_belongs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE})
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert "\033" not in freezelint().out
    monkeypatch.setenv("FORCE_COLOR", "")
    assert "\033" not in freezelint().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\033" in freezelint().out
    assert "\033" not in freezelint("--output-format", "json").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in freezelint().out


def test_quiet_prints_findings_alone(folder: Path) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE})
    assert len(freezelint("-q", "--output-format", "concise").out.splitlines()) == 1


def test_baseline_survives_a_shift_of_lines(folder: Path) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE})
    assert freezelint("--baseline", "known.json", "--update-baseline").code == 0
    assert freezelint("--baseline", "known.json").code == 0
    write(folder, {"a.py": "# moved\n\n" + FROZEN_BY_ATTRIBUTE})
    result = freezelint("--baseline", "known.json")
    assert (result.code, result.out) == (0, "All checks passed in 1 file; 1 known from the baseline\n")
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE + "other = torch.nn.ReLU()\nother.requires_grad = False\n"})
    result = freezelint("--baseline", "known.json", "--output-format", "json")
    assert [f["location"]["row"] for f in result.findings] == [6]
    kept = (folder / "known.json").read_text()
    for spoilt in ("[]", "{", kept.replace('"count": 1', '"count": "x"'), kept.replace('"version": 1', '"version": 2')):
        write(folder, {"known.json": spoilt})
        assert freezelint("--baseline", "known.json").err.startswith("freezelint: known.json: not a baseline; ")


def test_baseline_that_cannot_be_written_is_one_line(folder: Path) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE})
    assert freezelint("--baseline", "new/known.json", "--update-baseline").code == 0
    result = freezelint("--baseline", "a.py/known.json", "--update-baseline")
    assert (result.code, result.err.splitlines()[1:]) == (2, [])
    assert result.err.startswith("freezelint: --baseline: cannot write `")


def test_a_cache_that_holds_something_else_is_made_anew(folder: Path) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE})
    assert freezelint().code == 1
    (kept,) = (folder / ".freezelint_cache").glob("*.json")
    kept.write_text("[]")
    assert freezelint().code == 1
    assert len(kept.read_text()) > 2


def test_cache_sees_changes_and_clean_removes_it(folder: Path) -> None:
    write(folder, {"a.py": FROZEN_BY_ATTRIBUTE})
    assert freezelint().code == 1
    assert list((folder / ".freezelint_cache").glob("*.json"))
    assert freezelint().code == 1
    write(folder, {"a.py": FIXED})
    assert freezelint().code == 0
    assert freezelint("--no-cache").code == 0
    assert freezelint("clean").code == 0
    assert not (folder / ".freezelint_cache").exists()


def test_second_run_reads_the_cache_and_parses_nothing(folder: Path) -> None:
    write(folder, {"a.py": FIXED + "net.requires_grad_(False)\n"})
    program = (
        "import sys; from freezelint.__main__ import main\ntry: main()\nexcept SystemExit: pass\n"
        "print('PARSED', 'freezelint.source.cst' in sys.modules)"
    )
    said = []
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=True)
        said.append(done.stdout.splitlines()[-1])
    assert said == ["PARSED True", "PARSED False"]
    assert len(list((folder / ".freezelint_cache").glob("*.json"))) == 1


def test_cache_sees_a_change_in_a_file_that_was_only_consulted(folder: Path) -> None:
    plain = "import torch\n\n\ndef make():\n    return 3\n"
    write(folder, {"models.py": plain, "a.py": "from models import make\n\nnet = make()\nnet.requires_grad = False\n"})
    write(folder, {"b.py": "from models import make\n\nother = make()\nother.requires_grad = False\n"})
    assert freezelint().code == 0
    write(folder, {"models.py": plain.replace("3", "torch.nn.Linear(1, 1)")})
    assert [line.split(":")[0] for line in freezelint("-q", "--output-format", "concise").out.splitlines()] == [
        "a.py",
        "b.py",
    ]


def test_cache_sees_that_another_file_of_the_package_reads_a_layer_now(folder: Path) -> None:
    net = """
        from torch import nn


        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Linear(4, 4)
                self.extra = nn.Linear(4, 4)

            def forward(self, x):
                return self.body(x)
        """
    write(folder, {"pack/__init__.py": "", "pack/net.py": textwrap.dedent(net), "pack/use.py": "import torch\n"})
    assert "FRZ313" in freezelint().out
    write(folder, {"pack/use.py": "from pack.net import Net\n\n\ndef run(x):\n    return Net().extra(x)\n"})
    assert freezelint().code == 0


def test_watch_checks_again_after_a_change(folder: Path) -> None:
    from freezelint.config import Resolver
    from freezelint.watch import watch

    write(folder, {"a.py": FIXED})
    seen: list[int] = []

    def check() -> int:
        seen.append(freezelint().code)
        (folder / "a.py").write_text(FROZEN_BY_ATTRIBUTE)
        return seen[-1]

    assert watch(check, ["."], Resolver(), rounds=2) == 1
    assert seen == [0, 1]


def test_watch_waits_for_a_path_that_went(folder: Path) -> None:
    from freezelint.config import Resolver
    from freezelint.watch import watch

    write(folder, {"a.py": FIXED})
    seen: list[int] = []

    def check() -> int:
        seen.append(freezelint("a.py").code)
        if len(seen) == 1:
            (folder / "a.py").unlink()
        else:
            write(folder, {"a.py": FROZEN_BY_ATTRIBUTE})
        return seen[-1]

    assert watch(check, ["a.py"], Resolver(), rounds=3) == 1
    assert seen == [0, 2, 1]


def test_many_files_give_the_same_in_a_process_pool(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from freezelint import source_stage

    write(folder, {f"m{n}.py": FROZEN_BY_ATTRIBUTE for n in range(12)})
    alone = freezelint("--output-format", "json", "--no-cache").findings
    monkeypatch.setattr(source_stage, "POOL_FROM_BYTES", 1)
    assert freezelint("--output-format", "json", "--no-cache").findings == alone
    assert len(alone) == 12


def test_help_and_version_import_nothing_heavy() -> None:
    program = (
        "import sys; from freezelint.__main__ import main\ntry: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'rich', 'nbformat', 'pygls', 'pathspec', 'freezelint.source.lint'}\n"
        "print('HEAVY', *heavy & set(sys.modules))"
    )
    for arguments in (["--help"], ["check", "--help"], ["--version"], ["rule", "FRZ101"], ["."], ["-q", "."]):
        env = {**os.environ, "COLUMNS": "100"}
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
        assert done.stdout.splitlines()[-1].strip() == "HEAVY", arguments
    assert freezelint("--version").out == f"freezelint {__version__}\n"


@pytest.mark.parametrize("command", ["check", "trace", "run", "rule", "server", "clean"])
def test_help_of_every_command(command: str) -> None:
    result = freezelint(command, "--help")
    assert result.code == 0
    assert len(result.out.splitlines()) < 70


def test_completion_script_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    result = freezelint("--show-completion", "bash")
    assert "_FREEZELINT_COMPLETE=complete_bash" in result.out


def test_flags_that_need_no_parser_mean_what_the_parser_makes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import freezelint.commands as commands
    from freezelint.__main__ import FLAGS

    seen: list[dict[str, object]] = []
    monkeypatch.setattr(commands, "call", lambda _name, options: seen.append(options) or 0)
    for flag, name in FLAGS.items():
        freezelint("a.py", flag)
        freezelint("a.py", flag, "--output-format", "full")
        short, parsed = seen[-2:]
        assert short[name] is parsed[name] is True
        assert (short["paths"], parsed["paths"]) == (["a.py"], ["a.py"])
