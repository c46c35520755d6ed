"""Pictures of traced models: what they show, that they are well formed, and how they look in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tool import freezelint as command

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import freezelint  # noqa: E402
from freezelint.findings import Finding, Location  # noqa: E402
from freezelint.model_report import Bill, ModelReport, WhatIf  # noqa: E402
from freezelint.output import Report, picture, render  # noqa: E402
from freezelint.output.module_tree import STATES, Part, opened, tree  # noqa: E402

HERE = Path(__file__).parent
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
VOID = {"meta", "input", "link", "br", "img"}


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.mix(self.norm(x)))


class Model(nn.Module):
    """A stem that starves behind a frozen network, an adapter that trains through frozen layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.network = nn.Sequential(Layer(8)).requires_grad_(False)
        self.adapter = nn.Linear(8, 8)
        self.layers = nn.Sequential(Layer(8)).requires_grad_(False)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.stem(x)
        with torch.no_grad():
            hidden = self.network(hidden)
        return self.head(self.layers(self.adapter(hidden)))


@cache
def audit() -> freezelint.Audit:
    return freezelint.audit(Model(), torch.rand(2, 4, 8))


def small() -> ModelReport:
    return audit().report


@cache
def large() -> ModelReport:
    """The same model with 280 frozen layers in place of one: 2,000 modules."""
    report = small()
    modules, parameters = list(report.modules), list(report.parameters)
    for number in range(1, 280):
        path = f"layers.{number}"
        modules += [replace(row, path=path + row.path[8:]) for row in report.modules if row.path[:8] == "layers.0"]
        parameters += [
            replace(row, name=path + row.name[8:]) for row in report.parameters if row.name[:8] == "layers.0"
        ]
    present = sum((row.present for row in modules), Bill())
    whole = sum((row.whole for row in modules), Bill())
    return replace(report, modules=modules, parameters=parameters, present=present, whole=whole)


def page(report: ModelReport, findings: list[Finding] | None = None, name: str = "html") -> str:
    found = audit().findings if findings is None else findings
    return render(Report(found, models=1, pictures=[report], lines=lambda *_: "with torch.no_grad():"), name)


def parts(root: Part) -> dict[str, Part]:
    return {part.path: part for part in root.inside() if part.label != "(own)"}


def test_states_and_cuts_stand_at_their_modules() -> None:
    found = parts(tree(small()))
    assert {path: found[path].states for path in ("stem", "network.0.mlp.2", "adapter", "layers.0.mix", "head")} == {
        "stem": ["starved"],
        "network.0.mlp.2": ["frozen"],
        "adapter": ["trains"],
        "layers.0.mix": ["passes"],
        "head": ["trains"],
    }
    assert set(found[""].states) == set(STATES)
    (mark,) = found[""].marks
    assert mark.cut.text == "torch.no_grad()"
    assert mark.starved == {"stem.weight", "stem.bias"}


@pytest.mark.parametrize("report", [small, large], ids=["20", "2000"])
def test_sums_of_the_tree_are_those_of_the_model(report: Any) -> None:
    root = tree(report())
    assert (root.present, root.whole) == (report().present, report().whole)
    assert root.parameters == sum(row.elements for row in report().parameters)
    assert root.modules == len(report().modules)
    for part in root.inside():
        if part.children:
            assert part.present == sum((child.present for child in part.children), type(part.present)())


def test_alike_layers_fold_and_stay_reachable_one_by_one() -> None:
    fold = parts(tree(large()))["layers.0-279"]
    assert (fold.copies, fold.label, len(fold.each)) == (280, "0-279", 280)
    assert fold.modules == 280 * 7
    one = small().modules[[row.path for row in small().modules].index("layers.0.mix")]
    assert parts(fold)["layers.0-279.mix"].present.dgrad_flops == 280 * one.present.dgrad_flops
    assert len(opened(tree(large()), 40)) < 40


def test_layers_that_differ_are_not_folded() -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(6)))
    model[2].requires_grad_(False)
    labels = [child.label for child in tree(freezelint.audit(model).report).children]
    assert labels[:3] == ["0", "1", "2"]
    assert labels[-1] == "3-5"


def test_layers_that_take_turns_fold_together() -> None:
    model = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(4, 4), nn.Tanh())))
    first, fold, last = tree(freezelint.audit(model).report).children
    assert (first.label, fold.label, last.label) == ("0", "1-6", "7")
    assert (fold.copies, fold.class_name, len(fold.each)) == (3, "(Tanh, Linear)", 6)
    assert fold.parameters == 3 * 20


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 4)
        self.mix = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x) * self.gate(x).detach()


def test_a_cut_in_repeated_layers_is_told_once_with_all_it_starves() -> None:
    report = freezelint.audit(nn.Sequential(nn.Linear(4, 4), *(Gated() for _ in range(5)))).report
    found = parts(tree(report))
    folds = [part for part in found.values() if part.copies > 1]
    assert sum(part.copies for part in folds) >= 4
    for fold in folds:
        (cut,) = fold.cuts()
        assert len(cut.starved) == 2 * fold.copies
        assert all(len(part.marks) == 1 for part in fold.each)
    assert len({mark.number for part in found.values() for mark in part.marks}) == 1
    assert page(report).count("<b>.detach()</b>") == 1


def test_a_shared_parameter_is_counted_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    root = tree(freezelint.audit(model).report)
    assert root.parameters == sum(parameter.numel() for parameter in model.parameters())


class Balance(HTMLParser):
    """Fails on a tag that is closed in the wrong place."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.paths: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.stack.append(tag)
        self.paths += [value or "" for name, value in attrs if name == "data-p"]

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


NASTY = "<b>&\"'-->]]>\x07"


def nasty() -> ModelReport:
    report = small()
    modules = [replace(row, path=row.path.replace("stem", NASTY)) for row in report.modules]
    parameters = [replace(row, name=row.name.replace("stem", NASTY)) for row in report.parameters]
    zero = report.present
    change = WhatIf("freeze", f"freeze `{NASTY}` too", (NASTY,), Location(f"{NASTY}.py", 1), zero, 1, 1, True)
    return replace(
        report, name=NASTY, modules=modules, parameters=parameters, notes=[NASTY], what_if=[change], frozen=(NASTY,)
    )


@pytest.mark.parametrize("report", [small, large, nasty])
def test_the_page_is_well_formed_holds_every_module_and_asks_for_nothing(report: Any) -> None:
    text = page(report(), [Finding("FRZ301", f"it is `{NASTY}`", Location(f"{NASTY}.py", 3))])
    parser = Balance()
    parser.feed(text)
    parser.close()
    assert parser.stack == []
    assert {row.path for row in report().modules} <= set(parser.paths)
    assert not re.search(r'(?:src|href)="(?!#)|url\(|@import|<link|fetch\(|https?:', text)
    assert "<b>&\"'" not in text


@pytest.mark.parametrize("report", [small, large, nasty])
def test_svg_is_xml_for_both_themes_and_stays_short(report: Any) -> None:
    text = page(report(), name="svg")
    root = ElementTree.fromstring(text.encode())
    told = " ".join(root.itertext())
    assert "prefers-color-scheme: dark" in told
    assert "torch.no_grad()" in told
    assert float(root.get("height", "0")) < 2000
    for word in STATES.values():
        assert word in told
    drawn = {row.get("class", "") for row in root.iter() if "glyph" in row.get("class", "")}
    assert drawn == {f"glyph {state}" for state in STATES}


@pytest.mark.parametrize("report", [small, large, nasty])
def test_dot_is_read_by_graphviz(report: Any) -> None:
    dot = shutil.which("dot")
    if dot is None:
        pytest.skip("Graphviz is not installed")
    text = page(report(), name="dot")
    done = subprocess.run([dot, "-Tplain"], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    nodes = [line for line in done.stdout.splitlines() if line.startswith("node ")]
    assert 10 < len(nodes) < 90
    for word in ("trains", "starved", "frozen, passed", "frozen:"):
        assert any(word in line for line in nodes)


def test_two_models_share_one_page_and_one_svg() -> None:
    both = Report([], models=2, pictures=[small(), nasty()])
    assert render(both, "html").count('<div class="frz">') == 2
    assert render(both, "html").count("<style>") == 2  # the page's and the pictures'
    assert len(ElementTree.fromstring(render(both, "svg")).findall("*[@class='title']")) == 2


def test_styles_touch_nothing_outside_of_the_picture() -> None:
    style = re.sub(r"@container[^{]*", "", picture.style().removeprefix("<style>").partition("</style>")[0])
    selectors = [part.strip() for rule in re.findall(r"([^{}]+)\{", style) for part in rule.split(",")]
    assert selectors
    assert [one for one in selectors if one and not re.match(r"(\[data-jp|\.vscode-)?[^ ]* ?\.?frz|\.frz", one)] == []


def test_a_notebook_shows_the_picture() -> None:
    text = audit()._repr_html_()
    assert text.startswith("<style>")
    assert '<div class="frz">' in text
    assert "with torch.no_grad():" in text
    assert "<html" not in text
    assert "<body" not in text


def test_the_command_writes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE / "systems")
    file = tmp_path / "new" / "page.html"
    options = ("--isolated", "--python", sys.executable, "--output-file", file)
    done = command("trace", "starved_autoencoder.py:build", "--output-format", "html", *options)
    assert (done.code, done.out) == (1, "")
    text = file.read_text(encoding="utf-8")
    assert "cut by <code>torch.no_grad()</code> at starved_autoencoder.py:25" in text
    assert "FRZ301" in text


def test_without_a_model_there_is_a_line_and_no_file(tmp_path: Path) -> None:
    file = tmp_path / "none.svg"
    options = ("--isolated", "--python", sys.executable, "--output-file", file)
    done = command("trace", "no_such_module:build", "--output-format", "svg", *options)
    assert done.code == 1
    assert "FRZ003 `no_such_module:build` was not traced" in done.err
    assert not file.exists()


def test_check_does_not_draw_alone() -> None:
    done = command("check", "--output-format", "svg")
    assert done.code == 2
    assert "--output-format: one of full" in done.err


PROBE = """
<script>
const light = (text) => {
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const [r, g, b] = text.match(/[\\d.]+/g).map((part) => linear(part / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!/, 0\\)$|transparent/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
};
let worst = [99, ""];
for (const element of document.querySelectorAll(".frz *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !element.checkVisibility()) continue;
  const pair = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
  const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
  if (ratio < worst[0]) worst = [ratio, `${element.className}: ${element.textContent.slice(0, 40)}`];
}
const items = [...document.querySelectorAll("li[data-p]")];
const rows = () => [...document.querySelectorAll(".tree summary, .tree .leaf")].filter((one) => one.checkVisibility());
const shown = rows().length;
const edges = [...document.querySelectorAll(".row")].map((one) => one.getBoundingClientRect().right);
const wide = Math.max(document.documentElement.scrollWidth, ...edges);
document.querySelector(".tree summary").focus();
document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
const second = document.activeElement.closest("li").dataset.p;
const search = document.querySelector(".frz input");
search.value = "layers.0.MLP.2";
search.dispatchEvent(new Event("input"));
const found = items.filter((item) => !item.hidden && item.checkVisibility()).map((item) => item.dataset.p);
search.value = "";
search.dispatchEvent(new Event("input"));
document.querySelector("button[data-s=s]").click();
const starved = items.filter((item) => !item.hidden && item.checkVisibility()).map((item) => item.dataset.p);
document.querySelector("button[data-s=s]").click();
const told = {
  worst, shown, wide, second, found, starved, again: rows().length, window: innerWidth,
  names: items.map((item) => [item.dataset.p, item.querySelector(".name b").textContent]),
  states: Object.fromEntries(items.map((item) => [item.dataset.p, item.querySelector(".state").textContent])),
};
const answer = Object.assign(document.createElement("pre"), { id: "probe", textContent: JSON.stringify(told) });
document.body.replaceChildren(answer);
</script>
"""


def browse(folder: Path, text: str, dark: bool, *arguments: str, size: str = "1300,900") -> str:
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    file = folder / "page.html"
    file.write_text(text, encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'chromium'}",
    )
    line = [BROWSER, *flags, scheme, f"--window-size={size}", *arguments, file.as_uri()]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=True).stdout


def probed(folder: Path, report: ModelReport, *, dark: bool, size: str) -> dict[str, Any]:
    text = page(report).replace("</body>", f"{PROBE}</body>")
    dom = browse(folder, text, dark, "--dump-dom", size=size)
    answer: dict[str, Any] = json.loads(unescape(re.findall(r'<pre id="probe">(.*)</pre>', dom, re.DOTALL)[0]))
    return answer


@pytest.mark.parametrize(
    ("report", "dark", "size"),
    [(small, False, "1300,900"), (small, True, "420,900"), (large, True, "1300,900"), (large, False, "420,900")],
    ids=["20-wide", "20-narrow-dark", "2000-wide-dark", "2000-narrow"],
)
def test_in_a_browser(tmp_path: Path, report: Any, dark: bool, size: str) -> None:
    told = probed(tmp_path, report(), dark=dark, size=size)
    assert told["wide"] <= told["window"]
    assert told["worst"][0] >= 4.5, told["worst"]
    assert 15 <= told["shown"] <= 50
    assert told["again"] == told["shown"]
    assert told["second"] == "stem"
    named = {path: name for path, name in told["names"] if name != "(own)"}
    assert named[""] == "Model"
    assert {row.path: row.path.rpartition(".")[2] or "Model" for row in report().modules}.items() <= named.items()
    states = {path: told["states"][path] for path in ("stem", "network", "adapter", "layers.0.mix", "head")}
    assert states == {
        "stem": "starved", "network": "frozen", "adapter": "trains", "layers.0.mix": "frozen, passed", "head": "trains",
    }  # fmt: skip
    assert "layers.0.mlp.2" in told["found"]
    assert "stem" not in told["found"]
    assert told["starved"] == ["", "stem"]


HOST = """<!doctype html><html><head><meta charset="utf-8"><style>
.host ul:not(.inline) { padding-left: 2em; list-style: disc } .host ul ul { margin: 1em; list-style: square }
.host p:not(.x) { margin: 1em 0 } .host pre, .host code { background: yellow }
</style></head><body class="host" data-jp-theme-light="false"><ul id="before"><li><p class="row more">cell</p></ul>"""


def test_a_notebook_page_and_the_picture_leave_each_other_alone(tmp_path: Path) -> None:
    ask = """<script>
    const of = (element, names) => names.map((name) => getComputedStyle(element)[name]);
    const names = ["paddingLeft", "marginTop", "listStyleType", "display", "color", "fontSize", "backgroundColor"];
    const told = ["#before", "#before p", ".tree ul", ".tree ul ul", ".frz"].map((selector) =>
      [...document.querySelectorAll(selector)].slice(0, 1).map((element) => of(element, names)));
    const answer = Object.assign(document.createElement("pre"), { id: "probe", textContent: JSON.stringify(told) });
    document.body.replaceChildren(answer);
    </script>"""
    answers = []
    for inside in ("", audit()._repr_html_()):
        dom = browse(tmp_path, f"{HOST}{inside}{ask}</body></html>", False, "--dump-dom")
        answers.append(json.loads(unescape(re.findall(r'<pre id="probe">(.*)</pre>', dom, re.DOTALL)[0])))
    bare, full = answers
    assert full[:2] == bare[:2]
    (outer,), (inner,), (frame,) = full[2:5]
    assert (outer[:3], inner[2]) == (["0px", "0px", "none"], "none")
    assert frame[6] == "rgb(18, 22, 28)"  # dark, as the notebook is, on a desktop that is light


@pytest.mark.parametrize("report", [small, large], ids=["20", "2000"])
def test_light_and_dark_look_different(tmp_path: Path, report: Any) -> None:
    pictures = []
    for dark in (False, True):
        shot = tmp_path / f"{dark}.png"
        browse(tmp_path, page(report()), dark, f"--screenshot={shot}")
        pictures.append(shot.read_bytes())
    assert all(len(data) > 20_000 for data in pictures)
    assert pictures[0] != pictures[1]
