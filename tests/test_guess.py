"""Inputs found without settings: what a model's docstring, names and failures say of them."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import Tensor, nn  # noqa: E402

import freezelint  # noqa: E402
from freezelint.worker.guess import example_inputs  # noqa: E402
from freezelint.worker.inputs import Inputs  # noqa: E402
from freezelint.worker.targets import Built  # noqa: E402


def found(model: nn.Module) -> Inputs:
    """Inputs that are said to be inferred, and with which the model really runs."""
    inputs = example_inputs(Built(model))
    assert inputs.how == "inferred"
    model(*inputs.args, **inputs.kwargs)
    return inputs


class Documented(nn.Module):
    """States shapes as libraries do; sizes by the name of an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.state_dim, self.act_dim = 5, 3
        self.state, self.action, self.time = nn.Linear(5, 8), nn.Linear(3, 8), nn.Embedding(10, 8)

    def forward(self, states: Tensor, actions: Tensor, timesteps: Tensor) -> Any:
        """
        Args:
            states (`torch.FloatTensor` of shape `(batch_size, episode_length, state_dim)`):
                What was seen.
            actions (`torch.FloatTensor` of shape `(batch_size, episode_length, act_dim)`):
                What was done.
            timesteps (`torch.LongTensor` of shape `(batch_size, episode_length)`): when.
        """
        return self.state(states) + self.action(actions) + self.time(timesteps)


def test_shapes_come_from_the_docstring() -> None:
    shapes = {name: tuple(value.shape) for name, value in found(Documented()).kwargs.items()}
    assert shapes == {"states": (2, 16, 5), "actions": (2, 16, 3), "timesteps": (2, 16)}


class Asking(nn.Module):
    """Names in its error what it lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(32, 8), nn.Linear(8, 2)

    def forward(self, image: Tensor | None = None, input_ids: Tensor | None = None) -> Tensor:
        if (image is None) == (input_ids is None):
            raise ValueError("You must specify exactly one of input_ids or image")
        assert input_ids is not None, "input_ids is required"
        return self.head(self.embed(input_ids))


def test_an_argument_that_the_error_names_is_added() -> None:
    assert list(found(Asking()).kwargs) == ["input_ids"]


class NoneLine(nn.Module):
    """Fails on a line that found an argument to be None."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.layer(x) * lengths.view(-1, 1)


def test_an_argument_that_was_none_on_the_failing_line_is_added() -> None:
    assert "lengths" in found(NoneLine()).kwargs


class Batch(nn.Module):
    """Takes a dict, and says in a KeyError what is missing in it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(32, 8)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.embed(batch["input_ids"]) * batch["attention_mask"].unsqueeze(-1)


def test_a_batch_is_a_dict_with_the_keys_that_are_asked_for() -> None:
    assert set(found(Batch()).kwargs["batch"]) == {"input_ids", "attention_mask"}


class Length(nn.Module):
    """Takes series of one length only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 24:
            raise ValueError(f"Input sequence length ({x.shape[1]}) does not match the model configuration (24).")
        return self.layer(x)


def test_a_number_in_the_error_becomes_the_size() -> None:
    (value,) = found(Length()).kwargs.values()
    assert tuple(value.shape) == (2, 24, 4)


class Windows(nn.Module):
    """Cuts an image into windows; a table of patches belongs to one size."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.places = nn.Parameter(torch.zeros((side // 4) ** 2, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x).flatten(2).transpose(1, 2) + self.places


def test_an_image_takes_the_side_that_a_table_of_patches_has() -> None:
    (value,) = found(Windows(40)).kwargs.values()
    assert tuple(value.shape) == (2, 3, 40, 40)


class Alone(nn.Module):
    """Packs everything into one row."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] != 1:
            raise ValueError("batches must be packed")
        return self.layer(x)


def test_a_model_of_one_row_gets_one() -> None:
    inputs = found(Alone())
    (value,) = inputs.kwargs.values()
    assert value.shape[0] == 1


class Deciding(nn.Module):
    """Values decide: fake tensors cannot say whether these inputs run."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 2)

    def forward(self, x: Tensor, shapes: Tensor) -> Tensor:
        """
        Args:
            x (`torch.FloatTensor` of shape `(batch_size, 8)`):
            shapes (`torch.FloatTensor` of shape `(batch_size, 2)`):
        """
        y = self.layer(x)
        if y.sum() > 1e9:
            return y
        height, _width = shapes[0].tolist()
        return y * height


def test_where_values_decide_a_real_try_confirms() -> None:
    assert tuple(found(Deciding()).kwargs["shapes"].shape) == (2, 2)


class Remembering(nn.Module):
    """Keeps a table in a cache that all models of the class share."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    @staticmethod
    @lru_cache(maxsize=4)
    def table(width: int) -> Tensor:
        return torch.arange(width).float()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.table(x.shape[-1])


def test_no_fake_tensor_stays_in_a_cache() -> None:
    model = Remembering()
    freezelint.audit(model)
    assert torch.allclose(model(torch.zeros(1, 4)), model.layer.bias + torch.arange(4.0), atol=1e-6)


def test_a_model_that_always_raises_is_told_in_one_line() -> None:
    class Broken(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("nothing suits me")

    with pytest.raises(Exception, match=r"no example inputs found.*nothing suits me"):
        example_inputs(Built(Broken(4, 4)))


class Towers(nn.Module):
    """As a model of transformers is: its config names the token that stands for a part of an image."""

    main_input_name = "input_ids"

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(image_token_id=7, image_size=32, vocab_size=32)
        self.embed, self.patches = nn.Embedding(32, 8), nn.Conv2d(3, 8, 16, 16)

    def forward(self, input_ids: Tensor | None = None, pixel_values: Tensor | None = None) -> Tensor:
        embedded = self.embed(input_ids)
        if pixel_values is None:
            return embedded
        features = self.patches(pixel_values).flatten(2).transpose(1, 2)
        mask = (input_ids == self.config.image_token_id).unsqueeze(-1)
        if mask.sum() * features.shape[-1] != features.numel():
            count = features.shape[0] * features.shape[1]
            raise ValueError(f"Image features and image tokens do not match, tokens: {mask.sum()}, features: {count}")
        return embedded.masked_scatter(mask, features)


def test_the_text_holds_a_token_for_each_part_of_an_image() -> None:
    inputs = found(Towers())
    assert int((inputs.kwargs["input_ids"] == 7).sum()) == 8
    assert tuple(inputs.kwargs["pixel_values"].shape) == (2, 3, 32, 32)


class Large(nn.Module):
    """Refuses small images, and says no number."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 16, 16)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] < 500:
            raise ValueError("Image size is too small to be scaled")
        return self.embed(x)


def test_larger_images_are_tried_where_they_are_too_small() -> None:
    (value,) = found(Large()).kwargs.values()
    assert value.shape[-1] == value.shape[-2] >= 500


class Series(nn.Module):
    """A series is as long as the context and its lags; its sizes have names in the config."""

    main_input_name = "past_values"

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(context_length=24, lags_sequence=[1, 3], num_time_features=2, input_size=5)
        self.layer = nn.Linear(7, 4)

    def forward(self, past_values: Tensor, past_time_features: Tensor) -> Tensor:
        """
        Args:
            past_values (`torch.FloatTensor` of shape `(batch_size, sequence_length)` or
                `(batch_size, sequence_length, input_size)`): the series.
            past_time_features (`torch.FloatTensor` of shape `(batch_size, sequence_length, num_features)`): dates.
        """
        assert past_values.shape[1] == 27
        return self.layer(torch.cat([past_values, past_time_features], dim=-1))


def test_a_series_is_as_long_as_context_and_lags() -> None:
    shapes = {name: tuple(value.shape) for name, value in found(Series()).kwargs.items()}
    assert shapes == {"past_values": (2, 27, 5), "past_time_features": (2, 27, 2)}


class Mixed(nn.Module):
    """Takes an image beside steps, a switch and boxes: each argument by its own name or annotation."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.steps = nn.Conv2d(3, 8, 4), nn.Embedding(4, 8)

    def forward(self, x: Tensor, timesteps: Tensor, double: bool, targets: list[dict[str, Tensor]]) -> Tensor:
        boxes = torch.stack([target["boxes"][0] for target in targets])
        features = self.embed(x).mean((2, 3)) + self.steps(timesteps)
        return features * (2 if double else 1) + boxes.sum()


def test_each_argument_is_what_its_name_or_annotation_says() -> None:
    given = found(Mixed()).kwargs
    assert given["x"].dim() == 4
    assert tuple(given["timesteps"].shape) == (2,)
    assert given["double"] is True
    assert [set(target) for target in given["targets"]] == [{"boxes", "labels"}] * 2
