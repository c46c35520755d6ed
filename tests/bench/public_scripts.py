"""Training scripts that nobody here wrote, each as its authors wrote it, with a freezing mistake put in, and taken out.

    python tests/bench/public_scripts.py FOLDER [--only NAME] [--python PYTHON] [--verbose]

FOLDER holds the repositories at the commits named below, each in a folder of its repository's name; nothing is fetched.
Data is generated. Packages the scripts need beside torch: transformers, peft, lightning, accelerate, timm. torchvision
is replaced by a stand-in of a few lines where it cannot be imported, for its data sets, transforms and `resnet18`.

A mistake is one line of ours, put after (or in place of) a line of theirs. "found" wants its rule confirmed by the run
at that line; "silent" wants no finding of error or warning in the script without it, except those named as its own.

With Python 3.11, torch 2.13 (CPU), transformers 5.23, peft 0.21, lightning 2.6, accelerate 1.15 and timm 1.0 all 13
were found and confirmed, and all 13 silent without the mistake; two of them break rules of their own (`own` below).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
COMMITS = {
    "examples": "pytorch/examples 77f55b912142",
    "nanoGPT": "karpathy/nanoGPT 3adf61e154c3",
    "minGPT": "karpathy/minGPT 37baab71b9ab",
    "makemore": "karpathy/makemore 988aa59e4d8f",
    "peft": "huggingface/peft 5d602fdbff04",
    "accelerate": "huggingface/accelerate 16cb6eb80dd9",
    "pytorch-lightning": "Lightning-AI/pytorch-lightning 7f0c3436cd3f",
}
STAND_IN = """
import sys, types, torch
from torch import nn

class Fake(torch.utils.data.Dataset):
    def __init__(self, *args, image_size=(1, 28, 28), size=512, **kwargs):
        self.shape = args[1] if len(args) > 1 and isinstance(args[1], tuple) else image_size
        self.classes = self.targets = list(range(10))

    def __len__(self):
        return 256

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return torch.rand(self.shape, generator=generator), index % 10

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, stride=4), nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(nn.Conv2d(8, 16, 3, stride=4), nn.BatchNorm2d(16), nn.ReLU())
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 1000)

    def forward(self, x):
        return self.fc(self.avgpool(self.layer1(self.bn1(self.conv1(x)).relu())).flatten(1))

def resnet18(**kwargs):
    return Network()

class Names(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return name

class Identity(metaclass=Names):
    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, value=None):
        return value

class Generated(Identity):
    def __call__(self, value=None):
        return torch.rand(3, 64, 64)

class Anything(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Identity

for name in ("datasets", "models", "transforms", "transforms.functional", "utils", "ops", "ops.misc"):
    module = (types.ModuleType if name == "models" else Anything)(f"torchvision.{name}")
    module.__path__ = []
    sys.modules[f"torchvision.{name}"] = globals()[name] = module
datasets.MNIST = datasets.FakeData = Fake
models.resnet18 = resnet18
transforms.Compose = Generated
utils.save_image = lambda *args, **kwargs: None
"""


@dataclass(frozen=True)
class Mistake:
    code: str
    after: str  # a pattern for one line of theirs
    line: str  # ours; `{0}` is its indentation
    instead: bool = False


@dataclass(frozen=True)
class Script:
    name: str
    path: str
    mistake: Mistake
    arguments: str = ""
    prepare: Callable[[Path], None] | None = None
    edits: tuple[tuple[str, str], ...] = ()  # what keeps it from running offline, on a CPU
    torchvision: bool = False
    own: tuple[str, ...] = ()  # rules it breaks as it stands


def text_data(folder: Path, count: int = 900) -> None:
    words = [f"word{n}" for n in range(60)]
    chosen = random.Random(0)
    lines = [" ".join(chosen.choices(words, k=24)) for _ in range(count)]
    for name in ("train.txt", "valid.txt", "test.txt", "wikitext-2.txt", "names.txt"):
        target = folder / "data" / name
        target.parent.mkdir(exist_ok=True)
        target.write_text("\n".join(lines), encoding="utf-8")
    (folder / "names.txt").write_text("\n".join(f"{chosen.choice(words)}x" for _ in range(2000)), encoding="utf-8")


def tokens(folder: Path) -> None:
    import numpy

    (folder / "data" / "generated").mkdir(parents=True)
    for name in ("train", "val"):
        numbers = numpy.random.default_rng(0).integers(0, 64, 20_000).astype(numpy.uint16)
        numbers.tofile(folder / "data" / "generated" / f"{name}.bin")


def tiny_language_model(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    names = ["<eos>", "<unk>", *(f"w{n}" for n in range(62))]
    plain = Tokenizer(models.WordLevel({name: n for n, name in enumerate(names)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<eos>", unk_token="<unk>").save_pretrained(
        folder / "tiny"
    )
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=64, **shape)).save_pretrained(folder / "tiny")
    (folder / "document.txt").write_text(" ".join(f"w{n % 62}" for n in range(400)), encoding="utf-8")
    row = {"teacher_input_ids": list(range(2, 40)), "student_input_ids": list(range(12, 40)), "ctx_len": 10}
    (folder / "rows.jsonl").write_text((json.dumps(row) + "\n") * 32, encoding="utf-8")


def pictures(folder: Path) -> None:
    from PIL import Image

    (folder / "pets").mkdir()
    for number in range(300):
        Image.new("RGB", (64, 64), (number % 255, 0, 0)).save(folder / "pets" / f"kind{number % 4}_{number}.jpg")


SCRIPTS = (
    Script(
        "vae", "examples/vae/main.py",
        Mistake(
            "FRZ301", r"mu, logvar = self\.encode",
            "{0}with torch.no_grad():\n{0}    mu, logvar = self.encode(x.view(-1, 784))", True,
        ),
        "--epochs 2", torchvision=True,
    ),
    Script(
        "dcgan", "examples/dcgan/main.py",
        Mistake("FRZ406", r"output = netD\(fake\.detach\(\)\)", "{0}output = netD(netG(noise))", True),
        "--dataset fake --batchSize 8 --workers 0 --imageSize 64 --ngf 16 --ndf 16", torchvision=True,
    ),
    Script(
        "mnist", "examples/mnist/main.py",
        Mistake("FRZ101", r"model = Net\(\)\.to\(device\)", "{0}model.conv1.requires_grad = False"),
        "--no-accel --epochs 1 --batch-size 16 --test-batch-size 16", torchvision=True,
    ),
    Script(
        "imagenet --dummy", "examples/imagenet/main.py",
        Mistake("FRZ201", r"scheduler = StepLR", "{0}model.layer1.requires_grad_(False)"),
        "-a resnet18 --dummy --no-accel -b 4 -j 0 --epochs 1", torchvision=True,
    ),
    Script(
        "word_language_model", "examples/word_language_model/main.py",
        Mistake("FRZ102", r"criterion = nn\.NLLLoss", "for p in model.encoder.parameters(): p.require_grad = False"),
        "--data data --emsize 32 --nhid 32 --batch_size 4 --epochs 1 --use-optimizer",
        prepare=text_data,
    ),
    Script(
        "nanoGPT", "nanoGPT/train.py",
        Mistake("FRZ101", r"^model\.to\(device\)", "model.transformer.wte.requires_grad = False"),
        "--dataset=generated --device=cpu --compile=False --n_layer=2 --n_head=2 --n_embd=32 --block_size=16 "
        "--batch_size=2 --gradient_accumulation_steps=2 --eval_iters=1 --dtype=float32",
        prepare=tokens,
    ),
    Script(
        "minGPT adder", "minGPT/projects/adder/adder.py",
        Mistake("FRZ103", r"model = GPT\(config", "{0}model.transformer.wte.weight.data.requires_grad = False"),
        "--model.model_type=gpt-nano --trainer.num_workers=0 --trainer.batch_size=4",
        edits=((r"iter_num % 500 == 0", "iter_num % 500 == 499"),),  # else 10,000 sums are made after the first step
    ),
    Script(
        "minGPT notebook", "minGPT/demo.ipynb",
        Mistake("FRZ101", r"model = GPT\(model_config\)", "model.transformer.wpe.requires_grad = False"),
    ),
    Script(
        "makemore", "makemore/makemore.py",
        Mistake(
            "FRZ309", r"optimizer = torch\.optim\.AdamW",
            "{0}model.lm_head = torch.nn.Linear(config.n_embd, config.vocab_size, bias=False)",
        ),
        "--device cpu --n-layer 2 --n-embd 16 --n-embd2 16 --num-workers 0 --max-steps 40 -i names.txt",
        prepare=text_data,
    ),
    Script(
        "Lightning transformer", "pytorch-lightning/examples/pytorch/basics/transformer.py",
        Mistake("FRZ101", r"model = LanguageModel\(", "{0}model.model.embedding.requires_grad = False"),
        prepare=lambda folder: text_data(folder, 8000),
    ),
    Script(
        "peft distillation with the Trainer", "peft/examples/cartridge_self_study/train_distill.py",
        Mistake("FRZ401", r"base_model = AutoModelForCausalLM", "{0}base_model.enable_input_require_grads()"),
        "--model tiny --distill_jsonl rows.jsonl --output_dir out --document document.txt --device cpu --max_steps 6 "
        "--num_virtual_tokens 8",
        prepare=tiny_language_model,
    ),
    Script(
        "peft notebook", "peft/examples/multilayer_perceptron/multilayer_perceptron_lora.ipynb",
        Mistake("FRZ101", r"peft_model = peft\.get_peft_model", "peft_model.requires_grad = False"),
        own=("FRZ404",), edits=(
            (r"torch\.accelerator\.current_accelerator\(\)\.type if .*? else ", ""), (r'\\"cuda\\"', r'\"cpu\"'),
            (r"max_epochs = 30", "max_epochs = 1"), (r"peft_model\.push_to_hub\(model_id\);", "raise SystemExit"),
        ),
    ),
    Script(
        "accelerate cv_example", "accelerate/examples/cv_example.py",
        Mistake("FRZ102", r"param\.requires_grad = False", "{0}param.require_grad = False", True),
        "--cpu --data_dir pets",
        prepare=pictures,
        edits=((r'"resnet50d", pretrained=True', '"resnet18", pretrained=False'), (r"num_workers=4", "num_workers=0")),
        torchvision=True, own=("FRZ201", "FRZ404"),
    ),
)  # fmt: skip


@dataclass
class Result:
    found: str
    silent: str
    seconds: float
    detail: str = ""


def tried(script: Script, folder: Path, python: str, verbose: bool) -> Result:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        wrong, log = findings(script, folder, Path(scratch) / "wrong", python, broken=True)
        right, other = findings(script, folder, Path(scratch) / "right", python, broken=False)
    if verbose:
        print(log, other, json.dumps([wrong, right], indent=1), sep="\n")
    mine = [one for one in wrong if one["code"] == script.mistake.code]
    evidence = [seen for one in mine for seen in one["evidence"] if seen["witness"] == "run"]
    confirmed = any(seen["verdict"] == "confirmed" for seen in evidence)
    loud = [one for one in right if one["severity"] != "hint" and one["code"] not in script.own]
    return Result(
        "found, confirmed" if confirmed else "found, not confirmed" if mine else "missed",
        "silent" if not loud else ", ".join(sorted({one["code"] for one in loud})),
        time.monotonic() - begun,
        next((seen["detail"] for seen in evidence), ""),
    )


def findings(script: Script, folder: Path, at: Path, python: str, *, broken: bool) -> tuple[list[dict], str]:
    """What `freezelint run` says of a copy of the script, and what the script itself printed last."""
    repository, _, inside = script.path.partition("/")
    shutil.copytree(folder / repository, at / repository, ignore=shutil.ignore_patterns(".git"))
    path = at / repository / inside
    text = path.read_text(encoding="utf-8")
    for pattern, replacement in script.edits:
        text = re.sub(pattern, replacement, text)
    path.write_text(with_mistake(text, script.mistake, path.suffix) if broken else text, encoding="utf-8")
    if script.prepare:
        script.prepare(path.parent)
    modules = [str(ROOT), str(at / repository)]
    if script.torchvision and importlib.util.find_spec("torchvision") is None:
        (at / "stand_in" / "torchvision").mkdir(parents=True)
        (at / "stand_in" / "torchvision" / "__init__.py").write_text(STAND_IN, encoding="utf-8")
        modules.append(str(at / "stand_in"))
    report = at / "report.json"
    command = [sys.executable, "-m", "freezelint", "run", "--isolated", "--python", python, "--output-format", "json"]
    command += ["--output-file", str(report), path.name, "--", *script.arguments.split()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(modules), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=path.parent, env=environment, capture_output=True, text=True, check=False)
    told = json.loads(report.read_text(encoding="utf-8")) if report.exists() else []
    return told, f"{done.stdout[-1500:]}\n{done.stderr[-3000:]}"


def with_mistake(text: str, mistake: Mistake, suffix: str) -> str:
    """The script with our line in it; in a notebook the lines are strings of JSON."""
    if suffix == ".ipynb":
        notebook = json.loads(text)
        for cell in notebook["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code" and re.search(mistake.after, source, re.MULTILINE):
                cell["source"] = with_mistake(source + "\n", mistake, "").splitlines(keepends=True)
                return json.dumps(notebook)
        raise SystemExit(f"no line like {mistake.after}: another commit?")
    lines = text.splitlines(keepends=True)
    index = next((n for n, line in enumerate(lines) if re.search(mistake.after, line)), None)
    if index is None:
        raise SystemExit(f"no line like {mistake.after}: another commit?")
    indentation = lines[index][: len(lines[index]) - len(lines[index].lstrip())]
    last = index
    while not mistake.instead and "".join(lines[index : last + 1]).count("(") > "".join(lines[index : last + 1]).count(
        ")"
    ):
        last += 1
    ours = mistake.line.format(indentation) + "\n"
    return "".join([*lines[: index if mistake.instead else last + 1], ours, *lines[last + 1 :]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="scripts whose name holds this")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the packages")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    print("| script | at | mistake | put in | taken out | s |\n|---|---|---|---|---|---|")
    for script in SCRIPTS:
        if options.only not in script.name:
            continue
        repository = script.path.partition("/")[0]
        if not (options.folder / script.path).exists():
            print(f"| {script.name} | {COMMITS[repository]} | not there |", flush=True)
            continue
        row = tried(script, options.folder.resolve(), options.python, options.verbose)
        cells = (script.name, COMMITS[repository], script.mistake.code, row.found, row.silent, f"{row.seconds:.0f}")
        print(f"| {' | '.join(cells)} |", flush=True)
        if row.detail:
            print(f"    {row.detail}", flush=True)


if __name__ == "__main__":
    main()
