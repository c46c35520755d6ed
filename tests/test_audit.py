"""`freezelint.audit` on live models, as a notebook or a test calls it."""

from __future__ import annotations

import operator

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import freezelint  # noqa: E402


class Net(nn.Module):
    def __init__(self, *, cut: bool) -> None:
        super().__init__()
        self.front = nn.Linear(4, 4)
        self.back = nn.Linear(4, 2)
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.front(x)
        return self.back(hidden.detach() if self.cut else hidden)


def test_a_model_that_trains_is_ok() -> None:
    model = Net(cut=False)
    audit = freezelint.audit(
        model, torch.rand(3, 4), loss=lambda out: out.sum(), optimizer=torch.optim.SGD(model.parameters(), lr=0.1)
    )
    assert audit.ok
    assert audit.findings == []
    assert [(row.name, row.trainable, row.reached, row.in_optimizer) for row in audit.parameters()] == [
        (name, True, True, True) for name, _ in model.named_parameters()
    ]
    assert any(node.target is torch.ops.aten.addmm.default for node in audit.graph.nodes)


@pytest.mark.parametrize("given", [False, True])
def test_the_graph_returns_what_the_model_does_or_the_given_loss(given: bool) -> None:
    class Both(Net):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            hidden = self.front(x).relu_()
            return {"out": self.back(hidden), "part": hidden.split([1, 3], 1)[1], "same": x}

    model, x = Both(cut=False), torch.rand(3, 4)
    graph = freezelint.audit(model, x, loss=(lambda out: out["out"].sum()) if given else None).graph
    real = {name: parameter.detach() for name, parameter in model.named_parameters()}
    values = [real.get(node.meta["target"], x) for node in graph.nodes if node.op == "placeholder"]
    expected = model(x)
    torch.testing.assert_close(
        torch.fx.Interpreter(torch.fx.GraphModule(nn.Module(), graph)).run(*values),
        expected["out"].sum().detach() if given else tuple(value.detach() for value in expected.values()),
    )


def test_the_metadata_of_the_graph_agree_on_what_requires_grad() -> None:
    graph = freezelint.audit(Net(cut=True), torch.rand(3, 4)).graph
    flags = [
        (node.meta["tensor_meta"].requires_grad, node.meta["requires_grad"])
        for node in graph.nodes
        if {"tensor_meta", "requires_grad"} <= node.meta.keys() and node.op == "call_function"
    ]
    assert {one for one, _ in flags} == {True, False}
    assert all(one is other for one, other in flags)


class Parted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front, self.head = nn.Linear(4, 4), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.front(x).unbind(0)
        left, right = torch.split_with_sizes_copy(x, [2, 2], dim=1)
        return self.head(left) * right + first[:2] * second[:2]


def test_each_of_several_results_has_the_metadata_of_a_result() -> None:
    graph = freezelint.audit(Parted(), torch.rand(2, 4)).graph
    parts = [node for node in graph.nodes if node.target is operator.getitem]
    assert [tuple(node.meta["tensor_meta"].shape) for node in parts] == [(4,), (4,), (2, 2), (2, 2)]
    flags = [(node.meta["tensor_meta"].requires_grad, node.meta["requires_grad"]) for node in parts]
    assert flags == [(True, True)] * 2 + [(False, False)] * 2
    for node in parts:
        assert "in forward" in node.meta["stack_trace"]
        assert node.meta["phase"] == "forward"


def test_a_detached_part_is_found_at_its_line() -> None:
    audit = freezelint.audit(Net(cut=True), torch.rand(3, 4))
    assert not audit.ok
    (finding,) = [finding for finding in audit.findings if finding.code == "FRZ302"]
    assert finding.location.path == __file__
    line = open(__file__).read().splitlines()[finding.location.line - 1]  # noqa: SIM115
    assert "hidden.detach()" in line
    assert [row.name for row in audit.parameters() if not row.reached] == ["front.weight", "front.bias"]


@pytest.mark.parametrize("model", [Net(cut=False), nn.Sequential(nn.Linear(4, 2))])
def test_an_optimizer_over_a_model_all_of_which_is_frozen_trains_nothing(model: nn.Module) -> None:
    model.requires_grad_(False)
    audit = freezelint.audit(model, torch.rand(3, 4), optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    assert not audit.ok
    assert [(one.code, one.location.path) for one in audit.findings] == [("FRZ314", __file__)]
    assert freezelint.audit(model, torch.rand(3, 4)).ok, "without an optimizer nothing is meant to train"


def test_the_callers_own_grad_mode_is_not_the_models() -> None:
    model = Net(cut=False)
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            assert freezelint.audit(model, torch.rand(3, 4)).ok
            assert freezelint.audit(model).ok


def test_print_gives_the_table_and_a_notebook_a_page() -> None:
    audit = freezelint.audit(Net(cut=True), torch.rand(3, 4))
    text = str(audit)
    assert text.splitlines()[1].split()[:3] == ["module", "state", "parameters"]
    assert "no gradient reaches 2 trainable parameters: `front.weight`, `front.bias`" in text
    assert "FRZ302" in text
    assert "front" in audit._repr_html_()


class Rounded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.round(self.front(x)))


def test_a_gradient_of_zeros_is_none_that_trains() -> None:
    torch.manual_seed(0)
    model = Rounded()
    audit = freezelint.audit(model, 9 * torch.rand(3, 4))
    model(9 * torch.rand(3, 4)).sum().backward()
    rows = {row.name: row for row in audit.parameters()}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert rows[name].reached
        assert rows[name].zero == bool((parameter.grad == 0).all()), name
    assert "only a gradient of zeros reaches 2 trainable parameters: `front.weight`, `front.bias`" in str(audit)
    assert {row.path: row.state for row in audit.report.modules if row.own_parameters} == {
        "front": "starved", "head": "trains",
    }  # fmt: skip


def test_inputs_may_be_inferred_given_by_name_or_by_spec() -> None:
    model = Net(cut=False)
    for inputs in (None, {"x": torch.rand(2, 4)}, "float32[2,4]", (torch.rand(2, 4),)):
        assert freezelint.audit(model, inputs).ok


def test_the_contract_is_held() -> None:
    model = Net(cut=False)
    model.back.requires_grad_(False)
    audit = freezelint.audit(model, frozen=("front.*",), trainable=("back.*", "nothing.*"))
    told = {(finding.code, finding.claim.subject) for finding in audit.findings if finding.claim}
    assert {("FRZ501", "front.*"), ("FRZ502", "back.*"), ("FRZ502", "nothing.*")} <= told
    assert freezelint.audit(model, frozen=("back.*",), trainable=("front.*",)).ok


def test_the_model_is_left_as_it_was() -> None:
    model = Net(cut=False)
    model.front.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    freezelint.audit(model, torch.rand(3, 4))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, True, True]


def test_what_the_model_raises_is_raised() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        freezelint.audit(Net(cut=False), torch.rand(3, 5))


class Branching(nn.Module):
    """Values decide what runs: no fake tensor passes, so a real step is made."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.back = nn.Linear(4, 2)
        self.register_buffer("seen", torch.zeros(1))
        self.calls, self.last, self.history, self.norm.marks = 0, None, ["made"], {"made"}

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.front(x))
        self.seen = self.seen + 1
        self.calls, self.last, self.new = self.calls + 1, hidden, hidden
        self.history.append("called")
        self.norm.marks.add("called")
        return self.back(hidden) if hidden.sum() < 1e9 else hidden


def test_a_real_step_leaves_model_inputs_and_chance_as_they_were() -> None:
    model, x = Branching(), torch.rand(3, 4, requires_grad=True)
    model.front.requires_grad_(False)
    model.back.weight.grad = torch.ones(2, 4)
    before, chance = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    audit = freezelint.audit(model, x)
    assert audit.report.method == "real"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert {name: p.grad is not None for name, p in model.named_parameters()} == {
        name: name == "back.weight" for name, _ in model.named_parameters()
    }
    assert torch.equal(model.back.weight.grad, torch.ones(2, 4))
    assert x.grad is None
    assert torch.equal(chance, torch.get_rng_state())
    assert (model.calls, model.last, model.history, model.norm.marks) == (0, None, ["made"], {"made"})
    assert not hasattr(model, "new")


def test_what_a_real_step_reaches_is_told_of_the_present_freeze() -> None:
    model = Branching()
    model.back.requires_grad_(False)
    reached = {row.name for row in freezelint.audit(model, torch.rand(3, 4)).parameters() if row.reached}
    assert reached == {"front.weight", "front.bias", "norm.weight", "norm.bias"}


def test_a_lazy_model_is_asked_to_be_called_first() -> None:
    model, x = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d()), torch.rand(3, 5)
    with pytest.raises(Exception, match="call the model once"):
        freezelint.audit(model, x)
    model(x)
    assert freezelint.audit(model, x).ok


class Overwriting(Net):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.front(x).sigmoid()
        out = self.back(hidden)
        hidden.mul_(2)
        return out


def test_a_backward_that_raises_is_raised_and_not_mapped() -> None:
    model, x = Overwriting(cut=False), torch.rand(3, 4)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        model(x).sum().backward()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        freezelint.audit(model, x)
    model.requires_grad_(False)
    model.back.bias.requires_grad_(True)
    assert freezelint.audit(model, x).ok, "nothing that was saved is written to"


def test_losses_in_a_dict_are_losses_of_their_own() -> None:
    model, x = Net(cut=True), torch.rand(3, 4)
    audit = freezelint.audit(model, x, loss=lambda out: {"first": out[:, 0].sum(), "second": out[:, 1].sum()})
    assert [node.name for node in audit.map.losses()] == ["loss.first", "loss.second"]
    assert [row.name for row in audit.parameters() if row.reached] == ["back.weight", "back.bias"]
    with pytest.raises(Exception, match="the loss function returned int, not a tensor"):
        freezelint.audit(model, x, loss=lambda _out: 3)


def test_a_function_that_hands_the_gradient_on_is_not_blamed_for_a_cut_before_it() -> None:
    """A full backward hook puts a custom Function round its module."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.register_full_backward_hook(lambda module, given, got: None)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.b(self.a(x).detach())
            return out

    report = freezelint.audit(Net(), torch.randn(2, 4))
    assert [found.code for found in report.findings] == ["FRZ302"]
