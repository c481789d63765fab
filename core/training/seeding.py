"""Every random number of training: a pure function of (purpose, seed, epoch), drawn on the CPU, equal on every device.

No generator of the process is read or moved, so experiments cannot disturb each other and a checkpoint holds no
generator state (core/training/README.md, "Randomness").
"""

import math
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor, nn

_EVEN = 0.5  # the dropout of the paper: raw random bits are its masks


class Purpose(IntEnum):
    """What a seed is drawn for. Numbers are frozen: changing one changes every curve."""

    INITIAL_WEIGHTS = 0
    PERMUTATION = 1
    DROPOUT = 2
    SUBSET = 3
    LABEL_NOISE = 4
    TEST_POINTS = 5
    RESAMPLING = 6
    NOISE = 8


def seed_of(purpose: Purpose, seed: int, epoch: int) -> int:
    """32 bits for one purpose, seed and epoch. All three always: torch's CPU generators use only the low 32 bits of a
    seed, so arithmetic such as `seed + epoch` would let neighbours share draws."""
    return int(np.random.SeedSequence([purpose, seed, epoch]).generate_state(1, np.uint32)[0])


def permutation(seed: int, epoch: int, n: int) -> Tensor:
    """The order in which epoch `epoch` (from 1) meets the training set: int64 [n], on the CPU."""
    return torch.randperm(n, generator=_generator(Purpose.PERMUTATION, seed, epoch))


def subset_order(dataset_seed: int, output: int, n: int) -> Tensor:
    """The order in which a subset takes the n images of the class at output index `output`: int64 [n], on the CPU."""
    return torch.randperm(n, generator=_generator(Purpose.SUBSET, dataset_seed, output))


def label_noise_order(dataset_seed: int, n: int) -> Tensor:
    """The order in which label noise turns the n training labels over: int64 [n], on the CPU."""
    return torch.randperm(n, generator=_generator(Purpose.LABEL_NOISE, dataset_seed, 0))


def resampling_order(dataset_seed: int, output: int, n: int) -> Tensor:
    """The order in which `drop` keeps the n training examples of output index `output`: int64 [n], on the CPU."""
    return torch.randperm(n, generator=_generator(Purpose.RESAMPLING, dataset_seed, output))


def initialise(model: nn.Module, seed: int) -> None:
    """Draw PyTorch's default initial weights into a float32 model on the CPU, layer by layer in the order of
    `model.modules()`: what constructing it under `torch.manual_seed(seed_of(INITIAL_WEIGHTS, seed, 0))` gives."""
    generator = _generator(Purpose.INITIAL_WEIGHTS, seed, 0)
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            _initialise_layer(layer, generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()  # constants


def _initialise_layer(layer: nn.Linear | nn.Conv2d, generator: torch.Generator) -> None:
    fan_in = layer.weight[0].numel()
    nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -(fan_in**-0.5), fan_in**-0.5, generator=generator)


def dropout_bits(seed: int, epoch: int, steps: int, batch: int, units: int, p: float) -> Tensor:
    """Which units an epoch keeps, each with probability 1 - p: uint8 [steps, batch, ⌈units / 8⌉] on the CPU, lowest bit
    first; unpack with `keep_mask`."""
    source = np.random.PCG64(seed_of(Purpose.DROPOUT, seed, epoch))
    row = -(-units // 8)
    if p == _EVEN:
        return torch.from_numpy(_raw_bytes(source, steps * batch * row).reshape(steps, batch, row))
    packed = np.empty((steps, batch, row), np.uint8)
    threshold = min(round(p * 2**32), 2**32 - 1)
    for step in range(steps):
        words = _raw_bytes(source, 4 * batch * units).view("<u4").reshape(batch, units)
        packed[step] = np.packbits(words >= threshold, axis=1, bitorder="little")
    return torch.from_numpy(packed)


def noise(n: int, shape: tuple[int, ...]) -> Tensor:
    """`n` images of uniform noise: uint8 [n, *shape] on the CPU, the same for every experiment."""
    source = np.random.PCG64(seed_of(Purpose.NOISE, 0, 0))
    return torch.from_numpy(_raw_bytes(source, n * math.prod(shape)).reshape(n, *shape))


def keep_mask(bits: Tensor, units: int) -> Tensor:
    """Unpack one step of `dropout_bits`: uint8 [batch, ⌈units / 8⌉] to bool [batch, units], on the device of `bits`."""
    shifts = torch.arange(8, dtype=torch.uint8, device=bits.device)
    return ((bits.unsqueeze(-1) >> shifts) & 1).flatten(1)[:, :units].bool()


def _raw_bytes(source: np.random.PCG64, n: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return source.random_raw(-(-n // 8)).astype("<u8", copy=False).view(np.uint8)[:n]


def _generator(purpose: Purpose, seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(purpose, seed, epoch))
