"""Operators: on tensors, on sequences, on constants."""

from __future__ import annotations

from collections.abc import Callable

from freezelint.gradient_map import Cause, Cut
from freezelint.source import (
    container_methods,
    cst,
    library,
    stand_ins,
)
from freezelint.source.project import dotted
from freezelint.source.reader import Reader
from freezelint.source.values import (
    UNKNOWN,
    Const,
    Data,
    Method,
    Param,
    ParamIter,
    Seq,
    Tensor,
    Value,
    tensors_in,
)


def arithmetic(reader: Reader, node: cst.CSTNode, values: list[Value], operator: str) -> Value:
    held = [value for value in values if isinstance(value, (Tensor, Data, Param))]
    if held:
        zero = operator.startswith("Multiply") and Const(0.0) in values
        spot = reader.spot(node)
        if zero:
            return reader.tensor("times zero", held, node, Cut(Cause.ZERO_GRADIENT, spot, "a factor of zero"))
        if all(isinstance(value, Data) for value in held) and not any(isinstance(v, Tensor) for v in values):
            return Data(held[0].node, held[0].spot, held[0].name) if isinstance(held[0], Data) else UNKNOWN
        new = reader.tensor(operator, values, node, unknown=hides_a_tensor(reader, node, values))
        new.literal = all(isinstance(v, Const) or (isinstance(v, Tensor) and v.literal) for v in values)
        return new
    inner = [t for value in values for t in tensors_in(value)]
    if operator in ("Add", "AddAssign") and all(isinstance(value, (Seq, ParamIter)) for value in values):
        items = [item for value in values if isinstance(value, (Seq, ParamIter)) for item in value.items]
        return Seq(items, any(isinstance(v, Seq) and v.open for v in values), "list")
    if len(values) == 2 and isinstance(values[0], Seq) and isinstance(values[1], Seq) and operator == "Subtract":
        return Seq(container_methods.combined(values[0].items, values[1].items, "difference"), values[0].open, "set")
    if isinstance(values[0], Seq) and operator == "Multiply":
        return Seq(list(values[0].items), True, "list")
    if inner:
        return reader.tensor(operator, inner, node)
    return _fold(values, operator)


def counted(reader: Reader, node: cst.Assign | cst.AugAssign, value: Value) -> Value:
    """What a counter comes to in a loop of unknown length, of which a pass or two stand for all: unknown."""
    if not reader.open_loops or not isinstance(value, Const) or type(value.value) not in (int, float):
        return value
    if isinstance(node, cst.AugAssign):
        return UNKNOWN
    own = {dotted(target.target) for target in node.targets} - {""}
    sum_ = node.value
    steps = isinstance(sum_, cst.BinaryOperation) and bool(own & {dotted(sum_.left), dotted(sum_.right)})
    return UNKNOWN if steps else value


def hides_a_tensor(reader: Reader, node: cst.CSTNode, values: list[Value]) -> bool:
    """Whether an operand nobody could follow may be a tensor: it has not the name of a setting."""
    parts: list[cst.CSTNode] = []
    if isinstance(node, cst.BinaryOperation):
        parts = [node.left, node.right]
    elif isinstance(node, cst.AugAssign):
        parts = [node.target, node.value]
    for part, value in zip(parts, values, strict=False):
        unseen = type(value) is Value or (isinstance(value, Method) and not isinstance(value.owner, (Tensor, Data)))
        if unseen and not library.SETTING.search(reader.frame.file.code(part)):
            return True
    return False


def _fold(values: list[Value], operator: str) -> Value:
    operation = FOLD.get(operator.removesuffix("Assign"))
    if operation is None or len(values) != 2:
        return UNKNOWN
    left, right = values
    if isinstance(left, Const) and isinstance(right, Const):
        try:
            folded = stand_ins.decided(operation, left.value, right.value)
            result = folded.value if isinstance(folded, Const) else None
            if result is None:
                return UNKNOWN
        except (TypeError, ValueError, ZeroDivisionError, OverflowError):
            return UNKNOWN
        small = not isinstance(result, (str, list, tuple, int)) or isinstance(result, int) or len(result) < 4000
        return Const(result) if small else UNKNOWN
    return UNKNOWN


FOLD: dict[str, Callable[[object, object], object]] = {
    "Add": lambda a, b: a + b,  # type: ignore[operator]
    "Subtract": lambda a, b: a - b,  # type: ignore[operator]
    "Multiply": lambda a, b: a * b if isinstance(a, (int, float)) and isinstance(b, (int, float)) else None,
    "Divide": lambda a, b: a / b,  # type: ignore[operator]
    "Power": lambda a, b: a**b if isinstance(a, (int, float)) and b in (2, 3, 0.5, -0.5, -1) else None,
    "FloorDivide": lambda a, b: a // b,  # type: ignore[operator]
    "Modulo": lambda a, b: a % b,  # type: ignore[operator]
}
