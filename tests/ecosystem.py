"""Findings before and after a change, over pinned published packages that lie unpacked in a folder.

    python tests/ecosystem.py save FOLDER BEFORE.json     record the findings of the tree as it is
    python tests/ecosystem.py diff FOLDER BEFORE.json     print what is new and what is gone since

FOLDER holds one folder a package (sources only, nothing installed); nothing is fetched. A package of PINS that is not
there is said. The commit that touches a rule carries the summary line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = (
    "accelerate==1.15.0 allennlp==2.10.1 catalyst==22.4 deepspeed==0.19.8 diffusers==0.42.1 espnet==202511 "
    "fairseq==0.12.2 fastai==2.8.12 flair==0.15.1 kornia==0.9.0 lightly==1.6.0 lightning==2.6.6 mmengine==0.10.7 "
    "monai==1.6.1 nemo_toolkit==3.0.0 open_clip_torch==3.3.0 peft==0.21.2 pytorch_forecasting==1.8.0 "
    "pytorch_metric_learning==2.9.0 segmentation_models_pytorch==0.6.0 sentence_transformers==6.2.0 "
    "speechbrain==1.1.2 stable_baselines3==2.9.2 timm==1.0.31 torch_geometric==2.8.1 torchrl==0.14.1 "
    "torchvision==0.29.2 transformers==5.23.0 trl==1.16.0 ultralytics==8.4.190"
).split()
Row = tuple[str, str, int, str, str]


def findings(folder: Path) -> tuple[set[Row], list[str]]:
    """(package, path, row, code, message) of every finding; the packages that are not there."""
    rows: set[Row] = set()
    missing = []
    for pin in PINS:
        package = folder / pin.split("==")[0]
        if not package.is_dir():
            missing.append(pin)
            continue
        for entry in lint(package):
            place = Path(entry["filename"])
            place = place.resolve().relative_to(package.resolve()) if place.is_absolute() else place
            if not entry["code"].startswith("FRZ0"):
                rows.add((pin, str(place), entry["location"]["row"], entry["code"], entry["message"]))
    return rows, missing


def lint(package: Path) -> list[dict[str, Any]]:
    options = ["check", "--isolated", "--no-cache", "--exit-zero", "--output-format", "json"]
    command = [sys.executable, "-m", "freezelint", *options, str(package.resolve())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{package.name}: freezelint ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def summary(gone: set[Row], new: set[Row]) -> str:
    return f"Ecosystem: {len(gone)} findings gone ({_by(gone)}), {len(new)} new ({_by(new)})"


def _by(rows: set[Row]) -> str:
    names = sorted({row[0].split("==")[0] for row in rows})
    return ", ".join(f"{name} {sum(row[0].startswith(name + '==') for row in rows)}" for name in names) or "none"


def main(arguments: list[str]) -> int:
    if len(arguments) != 3 or arguments[0] not in ("save", "diff"):
        print(__doc__)
        return 2
    action, folder, record = arguments[0], Path(arguments[1]), Path(arguments[2])
    rows, missing = findings(folder)
    for pin in missing:
        print(f"{pin}: not in {folder}", file=sys.stderr)
    if action == "save":
        record.write_text(json.dumps(sorted(rows), indent=0))
        print(f"{len(rows)} findings in {len(PINS) - len(missing)} packages")
        return 0
    before = {(str(a), str(b), int(c), str(d), str(e)) for a, b, c, d, e in json.loads(record.read_text())}
    for sign, part in (("-", before - rows), ("+", rows - before)):
        for row in sorted(part):
            print(f"{sign} {row[0]} {row[1]}:{row[2]} {row[3]} {row[4]}")
    print(summary(before - rows, rows - before))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
