"""What a flag is called: a name that says train, or one that says freeze."""

from __future__ import annotations

import re

from freezelint.source import cst

TRAIN = frozenset(
    "train trainable trained update updated updatable finetune finetuned tune tuned tunable learn learned learnable "
    "unfreeze unfrozen grad grads gradient gradients optimize".split()
)
FREEZE = frozenset("freeze freezes frozen fix fixed static".split())
MUDDLED = frozenset(
    "no not non never only without disable skip after before epoch epochs from until at iters steps step stop start "
    "num n layers layer pretrained data set split loader batch mode if pre fn func function ratio rate p bn norm max "
    "min".split()
)


def says(node: cst.BaseExpression) -> bool | None:
    """True: the expression asks for training; False: for a freeze; None: nobody can tell from its name."""
    if isinstance(node, cst.UnaryOperation) and node.operator == "Not":
        inner = says(node.expression)
        return None if inner is None else not inner
    if isinstance(node, cst.IfExp):
        return _chosen(node)
    if isinstance(node, cst.Comparison) and len(node.comparisons) == 1:
        return _compared(node.left, node.comparisons[0])
    name = _name(node)
    words = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))
    trains, freezes = words & TRAIN, words & FREEZE
    if words & MUDDLED or bool(trains) == bool(freezes):
        return None
    return bool(trains)


def _name(node: cst.BaseExpression) -> str:
    """The name of a flag: a plain one, an attribute, or the key of a setting."""
    if isinstance(node, cst.Subscript) and len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
        key = node.slice[0].slice.value
        return key.value if isinstance(key, cst.SimpleString) and isinstance(key.value, str) else ""
    return node.value if isinstance(node, cst.Name) else node.attr.value if isinstance(node, cst.Attribute) else ""


def trainable(node: cst.BaseExpression) -> bool:
    """Whether a plain name says beyond doubt that something is to train: `self.trainable`, `cfg["unfreeze"]`."""
    return says(node) is True and re.search(r"trainable|unfr[eo]|updatable|learnable", _name(node)) is not None


def _chosen(node: cst.IfExp) -> bool | None:
    """`True if freeze else False`, `False if train else True`."""
    body, other, test = truth(node.body), truth(node.orelse), says(node.test)
    if test is None or body is None or other is None or body is other:
        return None
    return test if body else not test


def _compared(left: cst.BaseExpression, right: cst.ComparisonTarget) -> bool | None:
    """`freeze == True`, `trainable is False`."""
    flag, inner = truth(right.comparator), says(left)
    if flag is None or inner is None:
        return None
    if right.operator in ("NotEqual", "IsNot"):
        flag = not flag
    elif right.operator not in ("Equal", "Is"):
        return None
    return inner if flag else not inner


def truth(node: cst.BaseExpression) -> bool | None:
    """A literal True or False."""
    return node.value == "True" if isinstance(node, cst.Name) and node.value in ("True", "False") else None
