"""Calls that ask autograd itself: grad modes, checkpoint, autograd.grad and backward."""

from __future__ import annotations

from freezelint.gradient_map import Cause, Cut
from freezelint.source import attributes, cst, elements, library, stand_ins, training
from freezelint.source.reader import Reader
from freezelint.source.story import Checkpointed, GradRead, Mode, ModeChange
from freezelint.source.syntax import loop_numbers, parents
from freezelint.source.values import (
    FALSE,
    NONE,
    UNKNOWN,
    Const,
    Func,
    Instance,
    Manager,
    Method,
    Option,
    Param,
    ParamIter,
    Seq,
    Tensor,
    Value,
    modules_in,
    parameters_of,
    tensors_in,
)


def grad_context(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    kind, flag = library.GRAD_CONTEXTS[name]
    given = args[0] if args else kwargs.get("mode")
    if isinstance(given, Func):  # no_grad()(f) and @no_grad: the function in that mode
        return given
    if kind == "set_grad_enabled":
        flag = bool(given.value) if isinstance(given, Const) else None
    elif kind == "inference_mode" and given == FALSE:
        flag = True
    text = reader.frame.file.code(node)
    if kind == "set_grad_enabled" and not in_with(reader, node):
        mode = Mode(flag, "global", reader.spot(node), text)
        reader.emit(ModeChange, node, mode, "switch")
        reader.set_mode(mode)
    return Manager(kind, flag, reader.spot(node), text)


def in_with(reader: Reader, node: cst.CSTNode) -> bool:
    """Whether an expression stands in a `with` or as a decorator."""
    return isinstance(parents(reader.frame.file).get(id(node)), (cst.WithItem, cst.Decorator))


def checkpoint(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    """torch.utils.checkpoint: the call it wraps; the reentrant kind gives no gradient unless an input asks for one."""
    from freezelint.source.calls import call as call_value

    sequential = name.endswith("sequential")
    function = args[0] if args else kwargs.get("function", kwargs.get("functions", UNKNOWN))
    inputs = args[2:] if sequential else args[1:]
    if sequential and "input" in kwargs:
        inputs = [kwargs["input"]]
    given = kwargs.get("use_reentrant")
    reentrant = True if given is None else (bool(given.value) if isinstance(given, Const) else None)
    if isinstance(given, Option):
        reentrant = None
    if given == NONE:
        reentrant = True
    fed = carries_gradient(reader, [value for value in inputs if not counts(reader, value, inputs, node)])
    rest: list[Value] = []
    if sequential and isinstance(function, (Seq, Instance)):
        result: Value = inputs[0] if inputs else UNKNOWN
        steps, rest = segments(function, args[1] if len(args) > 1 else kwargs.get("segments", UNKNOWN))
        for step in steps:
            result = call_value(reader, step, [result], {}, node)
    else:
        result = call_value(reader, function, list(inputs), {}, node)
    params = [p for m in called_modules(function) for p in parameters_of(m)]
    if reentrant and fed is False:
        cut = Cut(Cause.REENTRANT_CHECKPOINT, reader.spot(node), f"`{reader.frame.file.code(node)[:60]}`")
        held = tensors_in(result)
        if held:
            result = reader.tensor("checkpoint", held, node, cut)
    elif reentrant and fed is None and tensors_in(result):
        result = reader.tensor("checkpoint", tensors_in(result), node, sure=False)
    for step in rest:
        result = call_value(reader, step, [result], {}, node)
    event_node = node if isinstance(node, cst.Call) else None
    reader.emit(Checkpointed, node, function, list(inputs), reentrant, params, fed is not False, event_node)
    return result


def counts(reader: Reader, value: Value, inputs: list[Value], node: cst.CSTNode) -> bool:
    """Whether an argument nobody knows is the number of a loop's pass."""
    if type(value) is not Value or not isinstance(node, cst.Call) or any(arg.star for arg in node.args):
        return False
    plain = [arg.value for arg in node.args if arg.keyword is None]
    given = plain[len(plain) - len(inputs) :]
    names = [arg.value for arg, one in zip(given, inputs, strict=False) if one is value and isinstance(arg, cst.Name)]
    return bool(names) and all(name in loop_numbers(reader.spot(node)) for name in names)


def segments(function: Seq | Instance, count: Value) -> tuple[list[Value], list[Value]]:
    """What checkpoint_sequential checkpoints, and its last segment, which it just runs."""
    steps = list(function.items if isinstance(function, Seq) else (function.children or [function]))
    if stand_ins.uncounted(function):  # one stands for all of them, the first and the last
        return steps, steps
    wanted = count.value if isinstance(count, Const) and isinstance(count.value, int) else 2
    size = len(steps) // max(wanted, 1)
    first = size * (wanted - 1)
    return steps[:first], steps[first:]


def called_modules(function: Value) -> list[Instance]:
    found = modules_in(function)
    if isinstance(function, (Func, Method)) and isinstance(function.owner, Instance) and function.owner.is_module:
        found.append(function.owner)
    return found


def carries_gradient(reader: Reader, values: list[Value]) -> bool | None:
    """Whether any of these tensors requires grad: True, False, or None where it cannot be told."""
    answer: bool | None = False
    for value in values:
        held = tensors_in(value)
        if not held and type(value) is Value:
            answer = None
        for tensor in held:
            found = requires_grad(reader, tensor)
            if found:
                return True
            if found is None:
                answer = None
    return answer


def requires_grad(reader: Reader, tensor: Value) -> bool | None:
    if isinstance(tensor, Param):
        return attributes.state_now(reader, tensor)
    start = reader.node_of(tensor)
    if start is None:
        return None
    answer: bool | None = False
    live = reader.map.reached([start])
    sure = reader.map.surely_reached([start])
    for i in live:
        node = reader.map.nodes[i]
        param = reader.story.of_node.get(i)
        asks = attributes.state_now(reader, param) if param is not None else node.trainable
        if node.kind.value in ("parameter", "input") and asks is not False and asks is not None and i in sure:
            return True
        if asks or (asks is None and (param is not None or node.kind.value == "unknown")):
            answer = None
    if isinstance(tensor, Tensor) and tensor.leaf:
        return True
    return answer


def autograd_grad(reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    outputs = args[0] if args else kwargs.get("outputs", UNKNOWN)
    inputs = args[1] if len(args) > 1 else kwargs.get("inputs", UNKNOWN)
    for tensor in tensors_in(inputs) or [inputs]:
        reader.emit(GradRead, node, tensor, reader.node_of(tensor))
    if isinstance(inputs, ParamIter):
        elements.consume(reader, inputs, node, "autograd.grad")
    if kwargs.get("create_graph", FALSE) == FALSE:
        training.backward(reader, outputs, node, "autograd.grad")
    made = reader.tensor("gradient", [*tensors_in(outputs), *tensors_in(inputs)], node)
    return Seq([made], True, "tuple")


def autograd_backward(
    reader: Reader, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    for tensor in tensors_in(args[0]) if args else []:
        training.backward(reader, tensor, node, "autograd.backward")
    return UNKNOWN


def context_method(
    reader: Reader, owner: Manager, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    if name == "__enter__" and owner.kind != "autocast":
        mode = Mode(owner.flag, "global", reader.spot(node), reader.frame.file.code(node))
        reader.set_mode(mode)
    elif name == "__exit__":
        reader.set_mode(Mode())
    elif name == "__call__" and args:
        return args[0]
    return UNKNOWN
