"""What one thread of this machine computes at most, and what an epoch of each subject has to compute, as JSON.

python -m tests.benchmarks.training.rates

A process of its own, since it sets torch's threads. GFLOP/s count a multiplication and an addition as two.
"""

import json
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from core.training import models
from tests.benchmarks.training.subjects import ALL, Subject

_SIDE = 1024  # of the matrices
_BATCH, _BEFORE, _AFTER, _PIXELS = 16, 64, 128, 14  # the paper's middle convolution
_REPEATS = 15
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    torch.set_num_threads(1)
    rates = {
        precision: {"matrix": _matrix(dtype), "convolution": _convolution(dtype)} for precision, dtype in _TYPES.items()
    }
    print(json.dumps({"gflop_per_second": rates, "gflop_per_epoch": {each.name: _of_epoch(each) for each in ALL}}))


def _matrix(dtype: torch.dtype) -> float:
    one, other = torch.randn(_SIDE, _SIDE, dtype=dtype), torch.randn(_SIDE, _SIDE, dtype=dtype)
    return _rate(lambda: one @ other, 2 * _SIDE**3)


def _convolution(dtype: torch.dtype) -> float:
    images = torch.randn(_BATCH, _BEFORE, _PIXELS, _PIXELS, dtype=dtype).to(memory_format=torch.channels_last)
    kernel = torch.randn(_AFTER, _BEFORE, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
    return _rate(lambda: F.conv2d(images, kernel), 2 * _BATCH * _AFTER * _BEFORE * 9 * (_PIXELS - 2) ** 2)


@torch.inference_mode()
def _rate(compute: Callable[[], Tensor], flop: int) -> float:
    took = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        for _ in range(10):
            compute()
        took.append((time.perf_counter() - began) / 10)
    return flop / median(took) / 1e9


def _of_epoch(subject: Subject) -> float:
    """Trained and evaluated, as counted on the network."""
    spec = subject.spec("fp32")
    assert spec.batch_size is not None
    model = models.build(spec.model, (3, 32, 32), seed=0)
    images = torch.randn(spec.batch_size, 3, 32, 32)
    with FlopCounterMode(display=False) as step:
        model(images).sum().backward()
    with FlopCounterMode(display=False) as evaluation, torch.no_grad():
        model(images)
    steps, evaluated = subject.images // spec.batch_size, sum(subject.tests) / spec.batch_size
    return (steps * step.get_total_flops() + evaluated * evaluation.get_total_flops()) / 1e9


if __name__ == "__main__":
    main()
