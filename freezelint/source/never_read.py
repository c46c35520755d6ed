"""Whether the project ever reads an attribute of a class: asked of the text, where the reading saw no use of it."""

from __future__ import annotations

import re
from pathlib import Path

from freezelint.source.project import ClassInfo, ModuleInfo
from freezelint.source.texts import COMMENT, package_root

# Ways to reach an attribute without writing its name.
BY_NAME = re.compile(
    r"\bgetattr\(\s*self\b|\b_modules\b|\.(named_)?children\(\)|\bget_submodule\(|__getattr__|__dict__|\bvars\(self"
)
PLAIN_BASES = frozenset(
    "Module LightningModule ABC object Generic PreTrainedModel Protocol PyTorchModelHubMixin".split()
)
_TRAINS = (".backward(", "training_step", "Trainer(")
_WORDS_OF_AUTHOR = re.compile(r"#.*$|\"\"\"(?s:.*?)\"\"\"", re.MULTILINE)
_UNUSED = re.compile(
    r"\bunused\b|\b(not|never)\b[\w\s]{0,12}\b(used|read|reads|needed)\b|\bskipping the\b|\bround-?trip|"
    r"(?<!gradient )(?<!gradient_)\bcheckpoint(?!ing|\()|\b(back\w*|weights?) compat|\blegacy\b",
    re.IGNORECASE,
)


def never_read(info: ClassInfo, name: str) -> bool:
    """No text of the package that knows the class, or one of its bases or subclasses, reads the attribute."""
    lineage, outside = info.lineage()
    if any(base.split(".")[-1].split("[")[0] not in PLAIN_BASES for base in outside):
        return False
    bodies = [code_of(one) for one in lineage]
    if any(BY_NAME.search(body) for body in bodies):
        return False
    inside = re.compile(rf"\.{re.escape(name)}\b(?!\s*(:[^=\n]+)?=[^=])|[\"'][^\"'\n]*\b{re.escape(name)}\b")
    if any(inside.search(body) for body in bodies):
        return False
    outer = re.compile(rf"(?<!\bself)\.{re.escape(name)}\b(?!\s*=[^=])|[\"']{re.escape(name)}[\"']")
    assigned = re.compile(rf"\bself\.{re.escape(name)}\s*(:[^=\n]+)?=[^=]")
    names = {one.name for one, body in zip(lineage, bodies, strict=True) if one is info or assigned.search(body)}
    heirs = re.compile(rf"class \w+\([^)]*\b({'|'.join(map(re.escape, names))})\b")
    for path, text in package_texts(info.file).items():
        if path != info.file.path and not any(known in text for known in names):
            continue
        if outer.search(text) or (heirs.search(text) and _read_by_heirs(text, heirs, inside)):
            return False
    return True


def trained_elsewhere(info: ClassInfo) -> bool:
    """Whether another file of the package names the class, or imports its file, and trains: that one's story tells."""
    file = re.escape(Path(info.file.path).stem)
    named = re.compile(rf"\b{re.escape(info.name)}\b|^\s*(from|import) [^\n]*\b{file}\b", re.MULTILINE)
    texts = (text for path, text in package_texts(info.file).items() if path != info.file.path)
    return any(named.search(text) for text in texts if any(word in text for word in _TRAINS))


def known_unused(info: ClassInfo) -> bool:
    """Whether the class says itself, in a comment or its docstring, that it builds what it does not use."""
    words = " ".join(_WORDS_OF_AUTHOR.findall(info.file.code(info.node)))
    return _UNUSED.search(" ".join(words.split())) is not None


def assigned(info: ClassInfo, name: str) -> int:
    """In how many places the class assigns `self.name`."""
    return len(re.findall(rf"\bself\.{re.escape(name)}\s*(?::[^=\n]+)?=[^=]", code_of(info)))


def reads(info: ClassInfo, name: str, part: str | None = None) -> int:
    """How often the class (or a part of its text) reads `self.name` or something of it."""
    word = re.compile(rf"\bself\.{re.escape(name)}\b(?!\s*(:[^=\n]+)?=[^=])")
    texts = [code_of(one) for one in info.lineage()[0]] if part is None else [part]
    return sum(len(word.findall(text)) for text in texts)


def code_of(info: ClassInfo) -> str:
    """The text of a class without its comments and without its own docstring's words."""
    return COMMENT.sub("", info.file.code(info.node))


def _read_by_heirs(text: str, heirs: re.Pattern[str], inside: re.Pattern[str]) -> bool:
    """Whether a subclass in this text reads the attribute."""
    for found in heirs.finditer(text):
        end = re.compile(r"^\S", re.MULTILINE).search(text, found.end())
        if inside.search(text[found.end() : end.start() if end else len(text)]):
            return True
    return False


def package_texts(file: ModuleInfo) -> dict[str, str]:
    """The text of every file of the package, without comments."""
    root = package_root(Path(file.path).parent)
    file.project.consult(file.path, str(root))
    return {**file.project.texts.below(root), file.path: COMMENT.sub("", file.text)}
