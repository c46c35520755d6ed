"""What the abstract reading of a program knows: values, order, branches, flows."""

from __future__ import annotations

from pathlib import Path

import pytest
from reading import HEAD, story

from freezelint.source.lint import Project, read_file
from freezelint.source.story import (
    Backward,
    Consumed,
    GradFlag,
    ModuleCall,
    OptimizerBuilt,
    Step,
    Story,
    TrainMode,
    ZeroGrad,
)


def frozen(read: Story) -> dict[str, bool | None]:
    """requires_grad of every parameter at the end, by label."""
    return {param.label: read.flag_at(param) for param in read.parameters}


@pytest.mark.parametrize(
    "freeze",
    [
        "for p in net.parameters():\n    p.requires_grad = False",
        "for name, p in net.named_parameters():\n    p.requires_grad_(False)",
        "net.requires_grad_(False)",
        "for m in net.modules():\n    m.requires_grad_(False)",
        "net.apply(lambda m: m.requires_grad_(False))",
        "def freeze(m, flag=False):\n    for p in m.parameters():\n        p.requires_grad = flag\nfreeze(net)",
        "from functools import partial\nf = partial(lambda m, flag: m.requires_grad_(flag), flag=False)\nf(net)",
        "[p.requires_grad_(False) for p in net.parameters()]",
        "list(map(lambda p: p.requires_grad_(False), net.parameters()))",
        "for part in [net[0], net[1]]:\n    getattr(part, 'requires_grad_')(False)",
    ],
)
def test_every_way_to_freeze(freeze: str) -> None:
    read = story(f"net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))\n{freeze}\n".replace("\n    ", "\n    "))
    assert len(read.parameters) == 4
    assert set(frozen(read).values()) == {False}


def test_a_name_pattern_is_decided() -> None:
    read = story(
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Linear(2, 2)
                self.head = nn.Linear(2, 2)
        net = Net()
        for name, p in net.named_parameters():
            if not name.startswith("head"):
                p.requires_grad = False
        """
    )
    flags = [read.flag_at(param) for param in read.parameters]
    assert flags == [False, False, True, True]


def test_a_pattern_on_an_unseen_model_is_unknown() -> None:
    read = story(
        """
        import torchvision
        net = torchvision.models.resnet18()
        for name, p in net.named_parameters():
            if "fc" not in name:
                p.requires_grad = False
        """
    )
    assert [read.flag_at(param) for param in read.parameters] == [None]


def test_exclusive_branches_exclude_each_other() -> None:
    read = story(
        """
        import sys
        net = nn.Linear(2, 2)
        if sys.argv[1]:
            net.requires_grad_(False)
        else:
            net.requires_grad_(True)
        """
    )
    first, second = read.of(GradFlag)
    assert first.context.excludes(second.context)
    assert [read.flag_at(param) for param in read.parameters] == [None, None]


def test_a_module_of_another_file_and_its_base_class() -> None:
    read = story(
        """
        from nets import Child
        net = Child()
        net.freeze()
        """,
        nets="""
        class Base(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Linear(2, 2)
            def freeze(self):
                for p in self.body.parameters():
                    p.requires_grad = False
        class Child(Base):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(2, 2)
        """,
    )
    assert [read.flag_at(param) for param in read.parameters] == [False, False, True, True]


def test_gradient_reaches_through_a_frozen_network() -> None:
    read = story(
        """
        front, frozen, head = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)
        frozen.requires_grad_(False)
        opt = torch.optim.SGD(list(front.parameters()) + list(head.parameters()), lr=0.1)
        loss = head(frozen(front(torch.randn(3, 2)))).sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
        """
    )
    (backward,) = read.of(Backward)
    reached = {param.owner.name for node, param in read.of_node.items() if node in backward.reached and param.owner}
    assert reached == {"front", "frozen", "head"}
    assert [len(event.params) for event in read.of(Step)] == [4]
    assert [event.set_to_none for event in read.of(ZeroGrad)] == [True]


def test_no_grad_cuts_what_is_inside() -> None:
    read = story(
        """
        front, frozen, head = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)
        with torch.no_grad():
            h = frozen(front(torch.randn(3, 2)))
        head(h).sum().backward()
        """
    )
    (backward,) = read.of(Backward)
    reached = {param.owner.name for node, param in read.of_node.items() if node in backward.reached and param.owner}
    assert reached == {"head"}
    starved = read.map.starved([backward.node or 0])
    assert {read.of_node[node.id].owner.name for _, nodes in starved for node in nodes} == {"front", "frozen"}


def test_both_arms_of_a_branch_join() -> None:
    read = story(
        """
        import sys
        a, b, head = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)
        x = torch.randn(3, 2)
        h = a(x) if sys.argv else b(x)
        head(h).sum().backward()
        """
    )
    (backward,) = read.of(Backward)
    reached = {param.owner.name for node, param in read.of_node.items() if node in backward.reached and param.owner}
    assert reached == {"a", "b", "head"}


def test_an_iterator_is_used_up() -> None:
    read = story(
        """
        net = nn.Linear(2, 2)
        params = net.parameters()
        opt = torch.optim.SGD(params, lr=0.1)
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        """
    )
    first, second = read.of(Consumed)
    assert (first.before, second.before) == (None, first)


def test_a_list_is_not() -> None:
    read = story(
        """
        net = nn.Linear(2, 2)
        params = list(net.parameters())
        opt = torch.optim.SGD(params, lr=0.1)
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        """
    )
    assert all(event.before is None for event in read.of(Consumed))
    assert len(read.of(OptimizerBuilt)[0].optimizer.params) == 2


def test_a_train_override_is_followed() -> None:
    read = story(
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm = nn.BatchNorm1d(2)
            def train(self, mode=True):
                super().train(mode)
                self.norm.eval()
                return self
        net = Net()
        net.train()
        """
    )
    norm = next(module for module in read.modules if module.norm)
    assert [flag for _, flag, _, _ in norm.modes][-1] is False
    assert [event.flag for event in read.of(TrainMode)] == [True, False]


def test_lightning_is_run_as_lightning_runs_it() -> None:
    read = story(
        """
        import lightning as L
        class Lit(L.LightningModule):
            def __init__(self):
                super().__init__()
                self.net = nn.Linear(2, 1)
            def training_step(self, batch, batch_idx):
                x, y = batch
                return F.mse_loss(self.net(x), y)
            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.1)
        L.Trainer().fit(Lit())
        """
    )
    kinds = [type(event) for event in read.events if isinstance(event, (ZeroGrad, Backward, Step))]
    assert kinds == [ZeroGrad, Backward, Step] * 2
    assert len(read.of(ModuleCall)) == 2


def test_a_context_manager_of_the_project() -> None:
    read = story(
        """
        from contextlib import contextmanager
        @contextmanager
        def frozen(net):
            net.requires_grad_(False)
            yield
            net.requires_grad_(True)
        net = nn.Linear(2, 1)
        with frozen(net):
            net(torch.randn(1, 2)).sum().backward()
        """
    )
    flags = [event.flag for event in read.events if isinstance(event, GradFlag)]
    assert flags == [False, True]
    order = [type(event).__name__ for event in read.events if isinstance(event, (GradFlag, Backward))]
    assert order == ["GradFlag", "Backward", "GradFlag"]


def test_the_budget_ends_a_reading_without_an_error() -> None:
    deep = "\n".join(f"def f{i}(x):\n    return f{i + 1}(x) + f{i + 1}(x)" for i in range(30))
    read = story(f"{deep}\ndef f30(x):\n    return x\nf0(nn.Linear(2, 2)(torch.randn(1, 2)))\n")
    assert read.events


def test_a_function_that_trains_by_a_helper_is_read_to_the_end() -> None:
    layers = range(10)
    text = (
        "from torch.optim import AdamW\n"
        "class Block(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.act = nn.GELU()\n        self.lin = nn.Linear(8, 8)\n    def forward(self, x):\n"
        + "".join(f"        x = self.act(x + {i})\n" for i in range(60))
        + "        return self.lin(x)\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        + "".join(f"        self.b{i} = Block()\n" for i in layers)
        + "    def forward(self, x):\n"
        + "".join(f"        x = self.b{i}(x)\n" for i in layers)
        + "        return x\n"
        "def learn(net, opt, batches):\n    for x, y in batches:\n"
        "        F.cross_entropy(net(x), y).backward()\n        opt.step()\n"
        "def main(batches):\n    net = Net()\n    learn(net, AdamW(net.parameters()), batches)\n"
    )
    project = Project([])
    stories = list(read_file(project.add("train.py", HEAD + text), project))
    assert any(read.of(Step) and not read.incomplete for read in stories if read.entry == "main")


@pytest.mark.parametrize(
    "text",
    [
        "x = [",
        "def f(:\n  pass",
        "class A(nn.Module):\n    def forward(self): return self.missing.thing[0](*self.x, **self.y)\nA()()",
        "a = b = c = a",
        "from train import x\nx = x",
        "from nowhere import *\nspam(eggs)",
        "while True:\n    break\nelse:\n    pass",
        "match 1:\n    case 1: y = 2\n    case [a, *b]: pass",
        "async def f():\n    async with g() as h:\n        await h\n",
        "lambda: (yield)",
        "print(f'{x!r:>{width}}')",
        "del a, b.c, d[0]",
        "for i, (a, *b) in enumerate(zip([], {})): pass",
        "import torch.nn as nn, os.path as p\nwith nn.Linear(1, 1) as a, torch.no_grad(): pass",
    ],
)
def test_odd_programs_do_not_stop_the_reader(text: str) -> None:
    from freezelint.rule import all_rules
    from freezelint.source.lint import Project, lint_file

    report = lint_file("/nowhere/train.py", HEAD + text, Project([Path("/nowhere")]), frozenset(all_rules()))
    assert {finding.code for finding in report.findings} <= {"FRZ002", "FRZ108"}


def test_a_class_stands_for_its_subclasses_in_a_table() -> None:
    read = story(
        """
        class Small(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Linear(2, 2)
        class Large(Small):
            def __init__(self):
                super().__init__()
                self.more = nn.Linear(2, 2)
        class Other(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(2, 2)
        net = {"small": Small, "large": Large, "other": Other}[input()]()
        """
    )
    assert {param.owner.name for param in read.parameters if param.owner} == {"body", "head"}


def test_helpers_without_tensors_are_read_once_and_answer_alike() -> None:
    helpers = """
    def newest(version, wanted="2.0"):
        return version.split(".") >= wanted.split(".")

    def chosen(name):
        return name if name in ("sgd", "adam") else "sgd"
    """
    program = """
    from helpers import chosen, newest
    for _ in range(2):
        kind = chosen("adam")
        other = chosen("sgd")
        newest(torch.__version__)
    net = nn.Linear(2, 2)
    if kind == "adam" and other == "sgd":
        net.requires_grad_(False)
    """
    read = story(program, helpers=helpers)
    assert set(frozen(read).values()) == {False}
    info = read.file.project.file(read.file, "helpers", 0)
    kept = [key for key in read.file.project.recalled if key[0].file is info]
    assert sorted(key[0].name for key in kept) == ["chosen", "chosen", "newest"]


def test_a_function_that_calls_itself_is_followed_while_it_has_something_new_to_show() -> None:
    read = story(
        """
        def freeze(module):
            for child in module.children():
                freeze(child)
            for p in module.parameters(recurse=False):
                p.requires_grad_(False)

        def repackage(state):
            if isinstance(state, torch.Tensor):
                return state.detach()
            return tuple(repackage(one) for one in state)

        a, b, c = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
        net = nn.Sequential(a, c)
        freeze(net)
        (out,) = repackage((b(torch.rand(1, 2)),))
        c(out).sum().backward()
        """
    )
    (backward,) = read.of(Backward)
    assert "b" not in {param.owner.name for node, param in read.of_node.items() if node in backward.reached}
    assert {param.owner.name for param in read.parameters if read.flag_at(param) is False} == {"a", "c"}


def test_a_function_that_calls_itself_on_a_tensor_again_is_not() -> None:
    read = story(
        """
        import sys

        def again(x, times):
            x = act(x)
            return again(x, times - 1) if times > len(sys.argv) else x

        net, act = nn.Linear(2, 2), nn.ReLU()
        again(net(torch.rand(1, 2)), len(sys.argv)).sum().backward()
        """
    )
    assert [call.module.name for call in read.of(ModuleCall)] == ["net", "act"]
