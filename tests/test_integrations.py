"""The callbacks: a real training under each trainer is watched for a few steps, warned of once, and else unchanged."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from torch import nn  # noqa: E402

from freezelint.integrations import FreezelintWarning, Watch, huggingface, lightning  # noqa: E402


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    monkeypatch.setenv("HOME", str(tmp_path))


class Net(nn.Module):
    def __init__(self, mistake: bool) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 4)
        self.head = nn.Linear(4, 1)
        self.mistake = mistake

    def forward(self, x: Any) -> Any:
        hidden = self.encoder(x)
        return self.head(hidden.detach() if self.mistake else hidden)


def train(net: nn.Module, watch: Watch | None, steps: int = 4) -> list[float]:
    if watch:
        watch.start()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    losses = []
    for _ in range(steps):
        loss = net(torch.rand(2, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if watch:
            watch.after_step()
    return losses


def test_watch_warns_once_and_steps_aside() -> None:
    watch = Watch(steps=2)
    with pytest.warns(FreezelintWarning, match=r"test_integrations\.py:\d+: FRZ302 ") as caught:
        train(Net(mistake=True), watch)
    assert not watch.watching
    assert [finding.code for finding in watch.findings] == ["FRZ302"]
    assert len(caught) == 1


def test_an_optimizer_made_before_hides_no_step() -> None:
    class Earlier(torch.optim.SGD):
        pass

    for kind in (torch.optim.SGD, Earlier):
        net, watch = Net(mistake=True), Watch(steps=2)
        kind(net.parameters(), lr=0.1)
        watch.start()
        optimizer = kind(net.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            net(torch.rand(2, 4)).square().mean().backward()
            optimizer.step()
        with pytest.warns(FreezelintWarning, match="FRZ302"):
            watch.after_step()
        assert not watch.watching


def test_right_training_is_not_warned_of_and_not_changed() -> None:
    def run(watch: Watch | None) -> tuple[list[float], Any]:
        torch.manual_seed(0)
        net = Net(mistake=False)
        return train(net, watch), net.encoder.weight

    with warnings.catch_warnings():
        warnings.simplefilter("error", FreezelintWarning)
        losses, weight = run(Watch())
    plain, plain_weight = run(None)
    assert losses == plain
    assert torch.equal(weight, plain_weight)


def test_lightning(tmp_path: Path) -> None:
    pl = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")

    class Module(pl.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = Net(mistake=True)

        def training_step(self, batch: Any, _index: int) -> Any:
            return self.net(batch).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    callback = lightning()
    trainer = pl.Trainer(max_steps=4, accelerator="cpu", callbacks=[callback], default_root_dir=tmp_path, **quiet)
    with pytest.warns(FreezelintWarning, match="FRZ302"):
        trainer.fit(Module(), torch.utils.data.DataLoader(torch.rand(8, 4), batch_size=2))
    assert trainer.global_step == 4
    assert not callback.watch.watching


def test_huggingface(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")

    class WithLoss(Net):
        def forward(self, x: Any) -> Any:
            return {"loss": super().forward(x).square().mean()}

    data = [{"x": torch.rand(4)} for _ in range(8)]
    options = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=4, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        disable_tqdm=True, save_strategy="no", logging_strategy="no", remove_unused_columns=False,
    )  # fmt: skip
    callback = huggingface()
    trainer = transformers.Trainer(WithLoss(mistake=True), options, train_dataset=data, callbacks=[callback])
    with pytest.warns(FreezelintWarning, match="FRZ302"):
        trainer.train()
    assert trainer.state.global_step == 4
    assert not callback.watch.watching
