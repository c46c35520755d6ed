"""The networks of the sample project: small enough for a laptop, shaped like the ones people fine-tune."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AutoEncoder(nn.Module):
    """Images in, images of the same size out."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(channels, hidden, 3, stride=2, padding=1), nn.ReLU())
        self.decoder = nn.ConvTranspose2d(hidden, channels, 4, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.encoder(images))


class Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.shortcut = nn.Conv2d(inside, outside, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


class ResNet(nn.Module):
    """Images in, one feature vector each out."""

    def __init__(self, channels: int, width: int, stages: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        widths = [width * 2**stage for stage in range(stages)]
        self.stages = nn.Sequential(
            *(Block(a, b, 1 if a == b else 2) for a, b in zip([width, *widths], widths, strict=False))
        )
        self.features = widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        return self.stages(torch.relu(self.norm(self.stem(images)))).mean((2, 3))


class Layer(nn.Module):
    """One post-norm transformer layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (self.split(part(x)) for part in (self.query, self.key, self.value))
        attended = nn.functional.scaled_dot_product_attention(queries, keys, values)
        x = self.norm1(x + self.output(attended.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.down(nn.functional.gelu(self.up(x))))

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Roberta(nn.Module):
    """Token ids in, class scores out; the defaults of `roberta_base` are the published model's."""

    def __init__(self, vocabulary: int, width: int, heads: int, layers: int, length: int, classes: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.dense = nn.Linear(width, width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, input_ids: Tensor) -> Tensor:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.norm(self.words(input_ids) + self.positions(places))
        for layer in self.layers:
            x = layer(x)
        return self.classifier(torch.tanh(self.dense(x[:, 0])))


def small_roberta() -> Roberta:
    return Roberta(vocabulary=1000, width=64, heads=4, layers=3, length=32, classes=2)


def roberta_base() -> Roberta:
    return Roberta(vocabulary=50265, width=768, heads=12, layers=12, length=514, classes=2)


def pretrained_resnet(channels: int, width: int, stages: int) -> ResNet:
    """A ResNet with the weights of a checkpoint; drawn from a seed of its own here, so that nothing is downloaded."""
    network = ResNet(channels, width, stages)
    generator = torch.Generator().manual_seed(18)
    state = network.state_dict()
    drawn = {
        name: torch.randn(value.shape, generator=generator) / 8 for name, value in state.items() if value.ndim == 4
    }
    network.load_state_dict({**state, **drawn})
    return network
