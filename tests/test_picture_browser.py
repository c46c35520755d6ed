"""The picture of a traced model in a real browser: Chromium, at two sizes, in light and dark."""

from __future__ import annotations

import json
import re
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from pictured import BROWSER, audit, large, page, small

torch = pytest.importorskip("torch")


from freezelint.model_report import ModelReport  # noqa: E402

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
