"""The four networks of core/training/README.md, "The protocol", as plain modules. Their parameters' names are what a
checkpoint holds.

Each takes inputs [batch, *input shape] to logits [batch, 2]; those with convolutions take images of 32×32 alone. None
draws a random number: initial weights and dropout masks come from core.training.seeding.
"""

from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor, nn

from core import spec
from core.training.precision import layers_in
from core.training.seeding import initialise

OUTPUTS = 2


class Network(nn.Module):
    output: nn.Linear  # the last layer

    def rectified(self) -> list[nn.Module]:
        """The layers that ReLU is applied to, or that end with it. A unit is dead where it is never above 0: before a
        ReLU or after it, before the pool of a `cnn` or after it, that is the same."""
        raise NotImplementedError


def build(model: spec.AnyModel, input_shape: tuple[int, ...], seed: int, precision: spec.Precision = "fp32") -> Network:
    """The network that `model` describes, for examples of `input_shape`, with the initial weights of `seed`: float32,
    on the CPU, in the memory format that trains fastest (core/training/README.md, "Memory format"). Its logits are
    float32 in every precision."""
    with torch.device("meta"):  # so that constructing draws nothing from the process's generator
        network = _construct(model, input_shape, precision)
    network.to_empty(device="cpu")
    initialise(network, seed)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.data = layer.weight.data.t().contiguous().t()
    return network


def memory_format(model: spec.AnyModel) -> str:
    """Where the numbers of a network lie in memory: it decides in which order they are summed, and so bits."""
    return "channels_last, dense transposed" if isinstance(model, spec.Cnn | spec.ResNet) else "dense transposed"


def _construct(model: spec.AnyModel, input_shape: tuple[int, ...], precision: spec.Precision) -> Network:
    match model:
        case spec.Cnn():
            return Cnn(input_shape[0], model.width, precision)
        case spec.ResNet():
            return ResNet(input_shape[0], model.width, model.batch_norm, precision)
        case spec.Mlp():
            return Mlp(prod(input_shape), model.hidden)
        case spec.Linear():
            return Linear(prod(input_shape))


class Dropout(NamedTuple):
    units: int  # of all layers that drop, in their order
    p: float  # the probability that one is dropped


def dropout(model: spec.AnyModel) -> Dropout | None:
    """What `forward` expects to be dropped in training; None: nothing, and it takes no `keep`."""
    if isinstance(model, spec.Cnn) and model.dropout:
        return Dropout((8 + 2) * model.width, model.dropout)
    return None


class Cnn(Network):
    def __init__(self, channels: int, width: int, precision: spec.Precision) -> None:
        super().__init__()
        self.precision = precision
        self.conv1 = nn.Conv2d(channels, width, 3)
        self.conv2 = nn.Conv2d(width, width, 3)
        self.conv3 = nn.Conv2d(width, 2 * width, 3)
        self.conv4 = nn.Conv2d(2 * width, 2 * width, 3)
        self.conv5 = nn.Conv2d(2 * width, 2 * width, 3)
        self.dense1 = nn.Linear(4 * 4 * 2 * width, 8 * width)
        self.dense2 = nn.Linear(8 * width, 2 * width)
        self.output = nn.Linear(2 * width, OUTPUTS)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """`keep` [batch, units of dropout] multiplies the two dense layers: 0 where a unit is dropped, 1 / (1 - p)
        where it is kept. None in evaluation and without dropout."""
        with layers_in(self.precision, images.device):
            features = self._features(images.contiguous(memory_format=torch.channels_last), keep)
        return self.output(features.to(self.output.weight.dtype))  # type: ignore[no-any-return]

    def _features(self, x: Tensor, keep: Tensor | None) -> Tensor:
        # ReLU after the pool has the same bits as before it, forward and backward, on a quarter of the numbers.
        x = F.max_pool2d(self.conv2(self.conv1(x).relu_()), 2).relu_()
        x = F.max_pool2d(self.conv5(self.conv4(self.conv3(x).relu_()).relu_()), 2).relu_().flatten(1)
        x = F.relu(self.dense1(x))
        if keep is None:
            return F.relu(self.dense2(x))
        units = self.dense1.out_features
        x = F.relu(self.dense2(x * keep[:, :units]))
        return x * keep[:, units:]

    def rectified(self) -> list[nn.Module]:
        return [self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.dense1, self.dense2]


class ResNet(Network):
    def __init__(self, channels: int, width: int, batch_norm: bool, precision: spec.Precision) -> None:
        super().__init__()
        self.precision = precision
        self.conv = nn.Conv2d(channels, width, 5, padding=1)
        self.norm = _norm(width, batch_norm)
        self.blocks = nn.Sequential(
            _Block(width, width, 1, batch_norm),
            _Block(width, width, 1, batch_norm),
            _Block(width, 2 * width, 2, batch_norm),
            _Block(2 * width, 2 * width, 1, batch_norm),
            _Block(2 * width, 4 * width, 2, batch_norm),
            _Block(4 * width, 4 * width, 1, batch_norm),
        )
        self.dense = nn.Linear(4 * width, 8 * width)
        self.output = nn.Linear(8 * width, OUTPUTS)

    def forward(self, images: Tensor) -> Tensor:
        with layers_in(self.precision, images.device):
            x = images.contiguous(memory_format=torch.channels_last)
            x = self.blocks(F.relu(self.norm(self.conv(x))))
            features = F.relu(self.dense(x.mean((2, 3))))
        return self.output(features.to(self.output.weight.dtype))  # type: ignore[no-any-return]

    def rectified(self) -> list[nn.Module]:
        within = [layer for block in self.blocks for layer in (block.get_submodule("norm1"), block)]
        return [self.norm, *within, self.dense]


class _Block(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1)
        self.norm1 = _norm(filters, batch_norm)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1)
        self.norm2 = _norm(filters, batch_norm)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            convolution = nn.Conv2d(channels, filters, 3, stride, padding=1)
            self.shortcut = nn.Sequential(convolution, _norm(filters, batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


def _norm(filters: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(filters) if batch_norm else nn.Identity()


class Mlp(Network):
    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, hidden)
        self.output = nn.Linear(hidden, OUTPUTS)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.output(F.relu(self.hidden(inputs.flatten(1))))  # type: ignore[no-any-return]

    def rectified(self) -> list[nn.Module]:
        return [self.hidden]


class Linear(Network):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.output = nn.Linear(features, OUTPUTS)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.output(inputs.flatten(1))  # type: ignore[no-any-return]

    def rectified(self) -> list[nn.Module]:
        return []
