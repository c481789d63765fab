"""Is bf16 the same experiment as fp32? Real images, small networks, five weights, five seeds, in both precisions:
whether the bands over seeds of base fractions and training loss overlap at every row after the third.

python -m tests.benchmarks.precisions --cats-and-dogs ARCHIVE [--json FILE]

MNIST comes from BALLAST_DATA_DIR; ARCHIVE is a .tar.gz of JPEG files in {train,test}/<class>/, with cat and dog. Half
an hour on two cores. A band is the mean of five seeds and its 95 % interval (Student's t).
"""

import argparse
import json
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import torch

from core.settings import load_settings
from core.spec import Spec
from core.training import Member, load, train

WEIGHTS = ("256:1", "16:1", "1:1", "1:16", "1:256")
SEEDS = range(5)
PRECISIONS = ("fp32", "bf16")
SKIPPED = 3  # rows: on the plateau from which a network starts, all bands are points
T_975 = 2.776  # Student's t with 4 degrees of freedom

MNIST = {"name": "mnist", "train_per_class": 300, "eval_limit": 500}
ANIMALS = {
    "name": "image_folder",
    "folder": "cats-and-dogs",
    "base_class": "dog",
    "other_class": "cat",
    "train_per_class": 400,
    "eval_limit": 500,
}
CNN = {"name": "cnn", "width": 16}
RESNET = {"name": "resnet", "width": 8}
CASES: dict[str, dict[str, Any]] = {
    "cnn 16, MNIST": {"dataset": MNIST, "model": CNN, "epochs": 20},
    "resnet 8, MNIST": {"dataset": MNIST, "model": RESNET, "epochs": 10},
    "cnn 16, CIFAR-10 as JPEG": {"dataset": ANIMALS, "model": CNN, "epochs": 24},
    "resnet 8, CIFAR-10 as JPEG": {"dataset": ANIMALS, "model": RESNET, "epochs": 12},
}
MEASURED = ("base fraction in-domain", "base fraction out-of-domain", "training loss")

Curve = list[tuple[float, float, float]]  # of each row what MEASURED names


class Run(NamedTuple):
    case: str
    weight: str
    precision: str
    seed: int


class Band(NamedTuple):
    low: float
    high: float

    def overlaps(self, other: "Band") -> bool:
        return self.low <= other.high and other.low <= self.high


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.precisions", description=__doc__)
    parser.add_argument("--cats-and-dogs", type=Path, required=True, metavar="ARCHIVE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the curves, to be looked at again")
    options = parser.parse_args()
    runs = [Run(*each) for each in product(CASES, WEIGHTS, PRECISIONS, SEEDS)]
    with tempfile.TemporaryDirectory() as folder:
        data_dir = _data_dir(Path(folder), options.cats_and_dogs)
        with ProcessPoolExecutor(initializer=torch.set_num_threads, initargs=(1,)) as pool:
            curves = dict(zip(runs, pool.map(_curve, runs, [data_dir] * len(runs)), strict=True))
    if options.json:
        options.json.write_text(json.dumps([[*run, curve] for run, curve in curves.items()]))
    for line in _table(curves):
        print(line)


def _data_dir(folder: Path, archive: Path) -> Path:
    """One that holds both."""
    (folder / "MNIST").symlink_to(load_settings().data_dir / "MNIST")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "folders" / "cats-and-dogs", filter="data")
    return folder


def _curve(run: Run, data_dir: Path) -> Curve:
    fields = {"importance_weight": run.weight, "seed": run.seed, "precision": run.precision}
    spec = Spec.model_validate(CASES[run.case] | fields)
    data = load(spec.dataset, data_dir, data_dir / "locks")
    rows = [row for _, row in train([Member(spec)], data)]
    return [
        (row.base_in_domain / row.n_in_domain, row.base_out_of_domain / row.n_out_of_domain, row.train_loss)
        for row in rows
    ]


def _table(curves: dict[Run, Curve]) -> Iterator[str]:
    """Of the last row the means over seeds, fp32 and bf16; and of all rows after the third, of all three measures, how
    many bands overlap."""
    yield "| network, images | weight | in-domain, fp32 / bf16 | out-of-domain | training loss | bands that overlap |"
    yield "|---|---|---|---|---|---|"
    for case, weight in product(CASES, WEIGHTS):
        wide, narrow = ([curves[Run(case, weight, precision, seed)] for seed in SEEDS] for precision in PRECISIONS)
        pairs = list(zip(_bands(wide), _bands(narrow), strict=True))[SKIPPED:]
        overlaps = [one.overlaps(other) for rows in pairs for one, other in zip(*rows, strict=True)]
        ends = [f"{_mean_at_end(wide, at):.3f} / {_mean_at_end(narrow, at):.3f}" for at in range(len(MEASURED))]
        yield f"| {case} | {weight} | {' | '.join(ends)} | {sum(overlaps)} of {len(overlaps)} |"


def _bands(curves: Sequence[Curve]) -> list[list[Band]]:
    """Of each row, of each measure."""
    return [[_band(values) for values in zip(*rows, strict=True)] for rows in zip(*curves, strict=True)]


def _band(values: Sequence[float]) -> Band:
    middle, half = mean(values), T_975 * stdev(values) / sqrt(len(values))
    return Band(middle - half, middle + half)


def _mean_at_end(curves: Sequence[Curve], measure: int) -> float:
    return mean(curve[-1][measure] for curve in curves)


if __name__ == "__main__":
    main()
