"""What these tests are made of: specs, and small data sets. Few images and small widths, so that all of them take a
minute or two on one core."""

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from core.results import Command, EpochResult
from core.spec import Spec
from core.training import Data, Member, load, train
from core.training.datasets import Examples
from core.training.engine import go_on
from core.training.experiment import Experiment, TrainMetrics
from core.training.images import normalised
from tests.data import DATA


def spec_of(**fields: Any) -> Spec:
    """A short experiment: digits, mlp, 1:1, two epochs, unless said otherwise."""
    short = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "1:1", "epochs": 2}
    return Spec.model_validate(short | fields)


@functools.cache
def locks_dir() -> Path:
    return Path(tempfile.mkdtemp(prefix="ballast-locks-"))


@functools.cache
def digits() -> Data:
    return load(spec_of().dataset, Path("unused"), locks_dir())


@functools.cache
def small_mnist() -> Data:
    """200 training images of each of 0 and 1."""
    return load(spec_of(dataset={"name": "mnist"}).dataset, DATA, locks_dir())


def invented(n: int = 170, channels: int = 3, base_index: int = 1, tests: tuple[int, int] = (64, 96)) -> Data:
    """Noise, brighter for output 1, so that a network can learn it: n training images, and `tests`, in-domain and
    out-of-domain."""
    generator = torch.Generator().manual_seed(7)

    def images(labels: torch.Tensor) -> Examples:
        noise = torch.randint(0, 156, (len(labels), channels, 32, 32), generator=generator)
        return Examples((noise + 100 * labels.view(-1, 1, 1, 1)).to(torch.uint8), normalised)

    labels = (torch.arange(n) >= n // 3).long()
    in_domain = torch.arange(tests[0]) % 2
    out_of_domain = torch.randint(0, 256, (tests[1], channels, 32, 32), generator=generator, dtype=torch.uint8)
    return Data(
        train=images(labels),
        train_labels=labels,
        in_domain=images(in_domain),
        in_domain_labels=in_domain,
        out_of_domain=Examples(out_of_domain, normalised),
        base_index=base_index,
        class_sizes=(n // 3, n - n // 3),
    )


def rows_of(spec: Spec, data: Data) -> list[EpochResult]:
    return [row for _, row in train([Member(spec)], data)]


def same(one: list[EpochResult], two: list[EpochResult]) -> bool:
    return len(one) == len(two) and all(a.same_as(b) for a, b in zip(one, two, strict=True))


def in_domain_fraction(row: EpochResult) -> float:
    return row.base_in_domain / row.n_in_domain


def out_of_domain_fraction(row: EpochResult) -> float:
    return row.base_out_of_domain / row.n_out_of_domain


def an_epoch(experiment: Experiment) -> TrainMetrics:
    """Train it for one epoch."""
    assert experiment.advance(go_on) is Command.GO_ON
    metrics = experiment.end_epoch()
    assert metrics is not None
    return metrics


def command_after(calls: int, command: Command = Command.DROP) -> Any:
    """A command that comes when it has been asked for `calls` times, and stays."""

    def answers() -> Iterator[Command]:
        yield from [Command.GO_ON] * calls
        while True:
            yield command

    return functools.partial(next, answers())
