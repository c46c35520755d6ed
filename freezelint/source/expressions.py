"""Reading expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from freezelint.gradient_map import Cause, Cut
from freezelint.source import arithmetic, attributes, calls, comprehensions, cst, elements, objects, stand_ins
from freezelint.source.conditions import is_none, tested, truth, truth_of
from freezelint.source.project import FunctionInfo, dotted
from freezelint.source.reader import Frame, Reader
from freezelint.source.values import (
    FALSE,
    NONE,
    TRUE,
    UNKNOWN,
    Const,
    Data,
    Dict,
    External,
    Func,
    Instance,
    Option,
    Param,
    ParamIter,
    Seq,
    Tensor,
    Union,
    Value,
)

UNROLL = 24
UNROLL_PARAMETERS = 200


def evaluate(reader: Reader, node: cst.CSTNode | None) -> Value:
    if node is None:
        return UNKNOWN
    reader.budget -= 1
    if reader.budget < 0:
        reader.spent()
    handler = EXPRESSIONS.get(type(node))
    return handler(reader, node) if handler else UNKNOWN


def name(reader: Reader, node: cst.Name) -> Value:
    found = reader.frames[-1].env.get(node.value)
    return lookup(reader, node.value) if found is None else found


def lookup(reader: Reader, wanted: str) -> Value:
    frame: Frame | None = reader.frames[-1]
    file = reader.frames[-1].file
    while frame is not None:
        if wanted in frame.env:
            return frame.env[wanted]
        frame = frame.parent
    outer = reader.module_frames.get(file.path)
    if outer is not None and wanted in outer.env:
        return outer.env[wanted]
    known = file.values.get(wanted)
    if known is not None:
        return known
    found = file.resolve(wanted)
    if found is None:
        return BUILTINS.get(wanted, UNKNOWN)
    value = objects.from_project(reader, found, file)
    if not isinstance(found, cst.BaseExpression):
        file.values[wanted] = value
    elif outer is not None:
        outer.env[wanted] = value
    return value


def attribute(reader: Reader, node: cst.Attribute) -> Value:
    owner = evaluate(reader, node.value)
    return attributes.get_attribute(reader, owner, node.attr.value, node)


def call(reader: Reader, node: cst.Call) -> Value:
    return calls.call_node(reader, node)


def literal(reader: Reader, node: cst.Integer | cst.Float | cst.SimpleString) -> Value:
    return Const(node.value)


def formatted(reader: Reader, node: cst.FormattedString) -> Value:
    text, known = "", True
    for part in node.parts:
        if isinstance(part, cst.FormattedStringText):
            text += part.value
        elif isinstance(part, cst.FormattedStringExpression):
            value = evaluate(reader, part.expression)
            exact = isinstance(value, Const) and not stand_ins.holds_number(value.value)
            known = known and exact and part.format_spec is None
            text += str(value.value) if isinstance(value, Const) else ""
    return Const(text) if known else UNKNOWN


def sequence(reader: Reader, node: cst.Tuple | cst.List | cst.Set) -> Value:
    kind = {cst.Tuple: "tuple", cst.List: "list", cst.Set: "set"}[type(node)]
    new = Seq([], kind=kind, spot=reader.spot(node), depth=reader.open_loops)
    for element in node.elements:
        value = evaluate(reader, element.value)
        if isinstance(element, cst.StarredElement):
            items, exact = iterate(reader, value, element.value)
            new.items += items
            new.open = new.open or not exact
        else:
            new.items.append(value)
    return new


def dictionary(reader: Reader, node: cst.Dict) -> Value:
    new = Dict({}, spot=reader.spot(node))
    for element in node.elements:
        value = evaluate(reader, element.value)
        if isinstance(element, cst.StarredDictElement):
            if isinstance(value, Dict):
                new.items.update(value.items)
                new.rest = value.rest or new.rest
            else:
                new.rest = UNKNOWN
            continue
        assert isinstance(element, cst.DictElement)
        key = evaluate(reader, element.key)
        if isinstance(key, Const) and isinstance(key.value, (str, int, float, bool, tuple, type(None))):
            new.items[key.value] = value
        else:
            new.rest = value if new.rest is None else reader.join([new.rest, value])
    if "params" in new.items:
        reader.story.groups.append(new)
    return new


def subscript(reader: Reader, node: cst.Subscript) -> Value:
    owner = evaluate(reader, node.value)
    index: list[Value] = []
    sliced: bool | slice = False
    for element in node.slice:
        if isinstance(element.slice, cst.Index):
            index.append(evaluate(reader, element.slice.value))
        elif isinstance(element.slice, cst.Slice):
            ends = (element.slice.lower, element.slice.upper, element.slice.step)
            bounds = [NONE if bound is None else evaluate(reader, bound) for bound in ends]
            index.append(UNKNOWN)
            known = [b.value for b in bounds if isinstance(b, Const) and (b.value is None or type(b.value) is int)]
            sliced = slice(*known) if len(known) == 3 else True
    sliced = sliced if len(node.slice) == 1 else False
    return elements.get_item(reader, owner, index, node, sliced=sliced)


def binary(reader: Reader, node: cst.BinaryOperation) -> Value:
    values = [evaluate(reader, node.left), evaluate(reader, node.right)]
    return arithmetic.arithmetic(reader, node, values, node.operator)


def unary(reader: Reader, node: cst.UnaryOperation) -> Value:
    value = evaluate(reader, node.expression)
    if node.operator == "Not":
        known = truth_of(reader, value)
        return UNKNOWN if known is None else (FALSE if known else TRUE)
    if isinstance(value, Const) and isinstance(value.value, (int, float)) and node.operator == "Minus":
        return Const(-value.value)
    if isinstance(value, (Tensor, Data, Param)):
        return arithmetic.arithmetic(reader, node, [value], "Minus")
    return value if isinstance(value, Option) else UNKNOWN


def boolean(reader: Reader, node: cst.BooleanOperation) -> Value:
    left = evaluate(reader, node.left)
    tested(reader, node.left, left)
    known = truth_of(reader, left)
    stops = known is False if node.operator == "And" else known is True
    if stops:
        return left
    right = evaluate(reader, node.right)
    if known is not None or right == Const(node.operator == "Or"):  # `… and False`, `… or True`
        return right
    if node.operator == "Or" and isinstance(left, Union):
        left = reader.join([option for option in left.options if option is not NONE]) or left
    joined: Value = reader.join([left, right])
    return joined


def comparison(reader: Reader, node: cst.Comparison) -> Value:
    left = evaluate(reader, node.left)
    if len(node.comparisons) != 1:
        for target in node.comparisons:
            evaluate(reader, target.comparator)
        return UNKNOWN
    target = node.comparisons[0]
    right = evaluate(reader, target.comparator)
    operator = target.operator
    if operator in ("Is", "IsNot"):
        known = is_none(left) if right == NONE else (is_none(right) if left == NONE else None)
        if known is None and isinstance(left, Const) and isinstance(right, Const):
            known = left.value is right.value
        if known is not None:
            return TRUE if known == (operator == "Is") else FALSE
        return UNKNOWN
    if operator not in ("In", "NotIn") and any(isinstance(v, (Tensor, Data, Param)) for v in (left, right)):
        cut = Cut(Cause.NON_DIFFERENTIABLE, reader.spot(node), f"`{reader.frame.file.code(node)}`")
        return reader.tensor("comparison", [left, right], node, cut)
    return _compare(left, right, operator)


def _compare(left: Value, right: Value, operator: str) -> Value:
    if isinstance(right, Seq) and not right.open and all(isinstance(item, Const) for item in right.items):
        right = Const([item.value for item in right.items if isinstance(item, Const)])
    if isinstance(right, Dict) and right.rest is None:
        right = Const(list(right.items))
    if not (isinstance(left, Const) and isinstance(right, Const)):
        return UNKNOWN
    try:
        return stand_ins.decided(COMPARE[operator], left.value, right.value)
    except (TypeError, KeyError):
        return UNKNOWN


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "Equal": lambda a, b: a == b,
    "NotEqual": lambda a, b: a != b,
    "LessThan": lambda a, b: a < b,
    "LessThanEqual": lambda a, b: a <= b,
    "GreaterThan": lambda a, b: a > b,
    "GreaterThanEqual": lambda a, b: a >= b,
    "In": lambda a, b: a in b,
    "NotIn": lambda a, b: a not in b,
}


def conditional(reader: Reader, node: cst.IfExp) -> Value:
    known, identity, negated = truth(reader, node.test)
    if known is not None:
        return evaluate(reader, node.body if known else node.orelse)
    if (whole := unwrapped(reader, node)) is not None:
        return whole
    results: list[Value] = []

    def arm(part: cst.BaseExpression) -> Callable[[], None]:
        return lambda: results.append(evaluate(reader, part))

    first, second = (1, 0) if negated else (0, 1)
    reader.fork(reader.branch_id(identity), [(first, arm(node.body)), (second, arm(node.orelse))])
    joined: Value = reader.join(results)
    return joined


def unwrapped(reader: Reader, node: cst.IfExp) -> Instance | None:
    """`net.text_model if hasattr(net, "text_model") else net`, of a network nobody can look into: one and the same."""
    inner, test = node.body, node.test
    if not (isinstance(inner, cst.Attribute) and isinstance(test, cst.Call) and dotted(test.func) == "hasattr"):
        return None
    same = dotted(inner.value) == dotted(node.orelse) != "" and dotted(inner.value) == dotted(test.args[0].value)
    owner = evaluate(reader, node.orelse) if same else UNKNOWN
    return owner if isinstance(owner, Instance) and owner.opaque and owner.cls is None else None


def lambda_(reader: Reader, node: cst.Lambda) -> Value:
    return Func(FunctionInfo("<lambda>", node, reader.frame.file), env=reader.frame)


def bind_target(reader: Reader, target: cst.CSTNode, item: Value) -> None:
    from freezelint.source.statements import bind

    bind(reader, target, item)


def iterate(reader: Reader, value: Value, node: cst.CSTNode) -> tuple[list[Value], bool]:
    """(the elements a loop gives, whether these are all of them)."""
    items, exact = elements.iterate(reader, value, node)
    whole = isinstance(value, ParamIter) or any(isinstance(item, Instance) and item.is_module for item in items[:4])
    most = UNROLL_PARAMETERS if whole else UNROLL
    if len(items) > most:
        reader.story.incomplete = reader.story.incomplete or whole
        return items[:most], False
    return items, exact


def lazy(reader: Reader, node: cst.BaseExpression) -> bool:
    """Whether an expression only makes an iterator: what it holds runs when something draws from it."""
    if type(node) is cst.Call and type(node.func) is cst.Name and node.func.value == "map":
        return lookup(reader, "map") == BUILTINS["map"]
    return type(node) is cst.GeneratorExp


def named(reader: Reader, node: cst.NamedExpr) -> Value:
    value = evaluate(reader, node.value)
    bind_target(reader, node.target, value)
    return value


def yield_(reader: Reader, node: cst.Yield) -> Value:
    frame = reader.frame
    given = node.value.item if isinstance(node.value, cst.From) else node.value
    value = evaluate(reader, given) if given is not None else NONE
    if isinstance(node.value, cst.From):
        frame.yields += elements.iterate(reader, value, node)[0]
    else:
        frame.yields.append(value)
    if frame.on_yield is not None:
        frame.on_yield()
    return UNKNOWN


EXPRESSIONS: dict[type, Callable[[Reader, Any], Value]] = {
    cst.Name: name,
    cst.Attribute: attribute,
    cst.Call: call,
    cst.Integer: literal,
    cst.Float: literal,
    cst.SimpleString: literal,
    cst.FormattedString: formatted,
    cst.Tuple: sequence,
    cst.List: sequence,
    cst.Set: sequence,
    cst.Dict: dictionary,
    cst.Subscript: subscript,
    cst.BinaryOperation: binary,
    cst.UnaryOperation: unary,
    cst.BooleanOperation: boolean,
    cst.Comparison: comparison,
    cst.IfExp: conditional,
    cst.Lambda: lambda_,
    cst.ListComp: comprehensions.comprehension,
    cst.SetComp: comprehensions.comprehension,
    cst.GeneratorExp: comprehensions.comprehension,
    cst.DictComp: comprehensions.dict_comprehension,
    cst.NamedExpr: named,
    cst.Yield: yield_,
    cst.Await: lambda reader, node: evaluate(reader, node.expression),
}

BUILTINS: dict[str, Value] = {
    "True": TRUE,
    "False": FALSE,
    "None": NONE,
    "__name__": Const("__main__"),
    **{
        builtin: External(f"builtins.{builtin}")
        for builtin in (
            "print range len list tuple set dict zip enumerate map filter sum min max abs sorted reversed next iter "
            "int float bool str isinstance issubclass hasattr getattr setattr super type any all round vars id "
            "callable property object open repr divmod pow"
        ).split()
    },
}
