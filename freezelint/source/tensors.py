"""What methods do to a tensor's gradient."""

from __future__ import annotations

from freezelint.gradient_map import Cause, Cut, Kind
from freezelint.source import autograd_calls, cst, library, objects, training, writes
from freezelint.source.reader import Reader
from freezelint.source.story import GradRead, TensorFlag
from freezelint.source.values import FALSE, UNKNOWN, Const, Data, Param, Seq, Tensor, Value, hides


def called(reader: Reader, callee: Tensor, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode) -> Value:
    """`.sample` is a field of some outputs and a method of distributions, whose draw has no gradient."""
    from freezelint.source.calls import unknown_call

    sources = [reader.map.nodes[edge.source] for edge in reader.map.into(callee.node)]
    if reader.map.nodes[callee.node].name != "sample" or not sources:
        return unknown_call(reader, [callee, *args], kwargs, node)
    drawn = any(source.name.startswith("torch.distributions.") for source in sources)
    cut = Cut(Cause.NON_DIFFERENTIABLE, reader.spot(node), "`.sample()`") if drawn else None
    return reader.tensor("sample", [callee], node, cut)


SEVERAL = frozenset("chunk split unbind tensor_split".split())
PAIRS = frozenset("max min sort topk kthvalue median mode cummax cummin".split())


def method(
    reader: Reader, owner: Value, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    """`tensor.name(...)`."""
    if name == "backward":
        training.backward(reader, owner, node, "backward", kwargs.get("inputs"))
        return UNKNOWN
    if name in ("requires_grad_", "requires_grad"):
        return requires_grad_(reader, owner, args, kwargs, node)
    if name in library.NO_TENSOR:
        _watched(reader, owner, name, node)
        return UNKNOWN
    if name in library.FRESH:
        return reader.input(name, node)
    if name == "detach_" and isinstance(owner, Param):  # a leaf stays one: it only stops requiring grad
        objects.set_requires_grad(reader, owner, FALSE, name, node)
        return owner
    if name.endswith("_") and not name.startswith("_"):
        writes.note(reader, owner, name, node)
    cut = cut_of(reader, name, node)
    sources = [owner, *args, *kwargs.values()]
    if name in PAIRS and cut is None:
        return _pair(reader, owner, name, sources, args, kwargs, node)
    unseen = library.MIXES.search(name) is not None and any(hides(value) for value in args)
    new = reader.tensor(name, sources, node, cut, unknown=unseen)
    if isinstance(owner, Tensor):
        new.inference = None if name == "clone" and reader.mode.kind != "inference_mode" else new.inference
        new.literal = owner.literal
        if name == "detach_" or (name.endswith("_") and not name.endswith("__") and name != "requires_grad_"):
            owner.node = new.node
            return owner
        if name not in ("clone",) and owner.inference and name in VIEWS:
            new.inference = owner.inference
    return Seq([new], True, "tuple") if name in SEVERAL else new


VIEWS = frozenset(
    "view reshape flatten unsqueeze squeeze transpose permute t expand narrow select detach unbind chunk split to "
    "contiguous cpu cuda T float".split()
)


def _pair(
    reader: Reader,
    owner: Value,
    name: str,
    sources: list[Value],
    args: list[Value],
    kwargs: dict[str, Value],
    node: cst.CSTNode,
) -> Value:
    """max, min, sort, topk … give values and indices when a dimension is named."""
    whole = name in ("max", "min", "median") and not args and "dim" not in kwargs
    values = reader.tensor(name, sources, node)
    if whole or (args and isinstance(args[0], Tensor)):
        return values
    cut = Cut(Cause.NON_DIFFERENTIABLE, reader.spot(node), f"the indices of `.{name}()`")
    return Seq([values, reader.tensor("indices", sources, node, cut)], kind="tuple")


def cut_of(reader: Reader, name: str, node: cst.CSTNode) -> Cut | None:
    spot = reader.spot(node)
    text = f"`.{name}()`"
    if name in library.CUTS:
        return Cut(Cause(library.CUTS[name]), spot, text)
    if name in library.NON_DIFFERENTIABLE:
        return Cut(Cause.NON_DIFFERENTIABLE, spot, text)
    if name in library.ZERO_GRADIENT:
        return Cut(Cause.ZERO_GRADIENT, spot, text)
    return None


def requires_grad_(
    reader: Reader, owner: Value, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    given = args[0] if args else kwargs.get("requires_grad", Const(True))
    objects.set_requires_grad(reader, owner, given, "requires_grad_", node)
    return owner


def _watched(reader: Reader, owner: Value, name: str, node: cst.CSTNode) -> None:
    """A hook on a tensor, or a gradient kept: somebody looks at it."""
    if name in ("register_hook", "retain_grad", "register_post_accumulate_grad_hook"):
        reader.emit(GradRead, node, owner, reader.node_of(owner))


def flag_tensor(reader: Reader, owner: Tensor | Data, flag: bool | None, via: str, node: cst.CSTNode) -> None:
    """requires_grad of a tensor set in place: what did not require grad before becomes a leaf, here."""
    before = owner.node
    reader.emit(TensorFlag, node, owner, flag, via, before, owner)
    held = reader.map.nodes[before]
    if flag is False and held.kind is Kind.INPUT:
        held.trainable = False
    elif flag is not False and (held.kind is Kind.INPUT or autograd_calls.requires_grad(reader, owner) is False):
        made = reader.map.node(Kind.INPUT, held.name, place=reader.spot(node), trainable=flag)
        reader.map.edge(before, made)
        owner.node = made
    if flag and isinstance(owner, Tensor):
        owner.leaf = True


def data_method(
    reader: Reader, owner: Data, name: str, args: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Value:
    """A method of a batch: data stays data. What `backward()` is called on came out of something unknown."""
    if name == "backward":
        training.backward(reader, UNKNOWN, node, "backward")
        return UNKNOWN
    if name == "requires_grad_":
        return requires_grad_(reader, owner, args, kwargs, node)
    if name in library.NO_TENSOR:
        _watched(reader, owner, name, node)
        return UNKNOWN
    if name == "items":
        return Seq([Seq([UNKNOWN, Data(owner.node, owner.spot, owner.name)], kind="tuple")], True)
    held = [v for v in (*args, *kwargs.values()) if isinstance(v, (Tensor, Param))]
    if held:
        return reader.tensor(name, [owner, *held], node)
    return Data(owner.node, owner.spot, owner.name)


def literal_tensor(
    reader: Reader, name: str, values: list[Value], kwargs: dict[str, Value], node: cst.CSTNode
) -> Tensor:
    """A creator of torch: `torch.zeros(...)`, `torch.randn(..., requires_grad=True)`."""
    wanted = kwargs.get("requires_grad")
    leaf = wanted is not None and wanted != FALSE
    new = reader.input(name, node, leaf=leaf)
    new.literal = all(isinstance(v, (Const, Seq)) for v in values) and name in (
        "tensor", "zeros", "zeros_like", "ones", "full", "FloatTensor", "Tensor", "as_tensor",
    )  # fmt: skip
    if leaf:
        flag = True if isinstance(wanted, Const) else None
        reader.map.nodes[new.node].trainable = flag
        reader.emit(TensorFlag, node, new, flag, "requires_grad=", new.node, new)
    assert reader.map.nodes[new.node].kind is Kind.INPUT
    return new
