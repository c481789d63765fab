"""Whether bf16 changes a curve more than a seed does: on real MNIST and CIFAR-10, five seeds and five weights each.

python -m tests.benchmarks.precisions --mnist FOLDER --cifar10 ARCHIVE

FOLDER holds MNIST/raw, ARCHIVE the images as {train,test}/<class>/*.jpg. A band is the mean over seeds with its 95 %
interval by Student's t; bands of fp32 and bf16 are compared at every row after the third. Written to results/ as JSON
and as a table. Some fifteen minutes on two idle cores, a process each.
"""

import argparse
import functools
import itertools
import json
import tarfile
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import t

from core.results import EpochResult
from core.spec import AnyDataset, Spec
from core.training import Data, Member, load, train

RESULTS = Path(__file__).parent / "results"
PROCESSES = 2
SEEDS = range(5)
WEIGHTS = ("256:1", "16:1", "1:1", "1:16", "1:256")
PRECISIONS = ("fp32", "bf16")
FROM_ROW = 4
LEVEL = 0.95

DATASETS: dict[str, dict[str, object]] = {
    "MNIST": {"name": "mnist"},
    "CIFAR-10": {"name": "image_folder", "folder": "cifar10", "base_class": "dog", "other_class": "cat"},
}
# With the images a class, and the epochs, in which they learn something and which fit into a quarter of an hour.
MODELS: dict[str, tuple[dict[str, object], int, int]] = {
    "cnn 16": ({"name": "cnn", "width": 16}, 500, 20),
    "resnet 8": ({"name": "resnet", "width": 8}, 200, 16),
}
QUANTITIES = ("base fraction in-domain", "base fraction out-of-domain", "training loss")
_EVALUATED = 300  # of each test set


class Run(NamedTuple):
    dataset: str
    model: str
    weight: str
    precision: str
    seed: int

    @property
    def spec(self) -> Spec:
        model, per_class, epochs = MODELS[self.model]
        limits = {"train_per_class": per_class, "eval_limit": _EVALUATED}
        return Spec.model_validate(
            {
                "dataset": {**DATASETS[self.dataset], **limits},
                "model": model,
                "importance_weight": self.weight,
                "epochs": epochs,
                "precision": self.precision,
                "seed": self.seed,
            }
        )


Curve = list[tuple[float, ...]]  # QUANTITIES by row


class Comparison(NamedTuple):
    """Bands of one quantity of one experiment, in both precisions."""

    overlap: list[bool]  # by row, from FROM_ROW
    fp32: list[tuple[float, float]]  # mean and half the width of the interval, by row from the first
    bf16: list[tuple[float, float]]


def curve_of(run: Run, data_dir: Path) -> Curve:
    torch.set_num_threads(1)
    rows = [row for _, row in train([Member(run.spec)], _data(run.spec.dataset, data_dir))]
    return [_quantities(row) for row in rows if isinstance(row, EpochResult)]


@functools.cache
def _data(dataset: AnyDataset, data_dir: Path) -> Data:
    return load(dataset, data_dir, data_dir / "locks")


def _quantities(row: EpochResult) -> tuple[float, ...]:
    return (
        row.base_in_domain / row.n_in_domain,
        row.base_out_of_domain / row.n_out_of_domain,
        row.train_loss,
    )


def compared(fp32: Sequence[Sequence[float]], bf16: Sequence[Sequence[float]]) -> Comparison:
    """Of values [seed][row]; those of one that diverged may be fewer, and the rows that all have are compared."""
    rows = min(map(len, [*fp32, *bf16]))
    one, other = ([_band([values[row] for values in seeds]) for row in range(rows)] for seeds in (fp32, bf16))
    pairs = zip(one[FROM_ROW - 1 :], other[FROM_ROW - 1 :], strict=True)
    return Comparison([abs(a - b) <= half_a + half_b for (a, half_a), (b, half_b) in pairs], one, other)


def _band(values: Sequence[float]) -> tuple[float, float]:
    half = t.ppf((1 + LEVEL) / 2, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return float(np.mean(values)), float(half)


def table(comparisons: dict[tuple[str, str, str], list[Comparison]]) -> str:
    """Markdown: of each quantity, at how many rows the bands overlap, and the bands of the last row."""
    lines = [f"| data | network | weight | {' | '.join(QUANTITIES)} |", "|---|---|---|---|---|---|"]
    for key, quantities in comparisons.items():
        lines.append(f"| {' | '.join((*key, *map(_cell, quantities)))} |")
    return "\n".join(lines) + "\n"


def _cell(of: Comparison) -> str:
    last = " and ".join(f"{mean:.3f} ± {half:.3f}" for mean, half in (of.fp32[-1], of.bf16[-1]))
    return f"{sum(of.overlap)} of {len(of.overlap)}: {last}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.precisions", description=__doc__)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path, required=True)
    options = parser.parse_args()
    runs = [Run(*each) for each in itertools.product(DATASETS, MODELS, WEIGHTS, PRECISIONS, SEEDS)]
    with tempfile.TemporaryDirectory() as folder:
        data_dir = _unpacked(Path(folder), options.mnist, options.cifar10)
        with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
            curves = {}
            for run, curve in zip(runs, pool.map(functools.partial(curve_of, data_dir=data_dir), runs), strict=True):
                curves[run] = curve
                print(f"{len(curves)}/{len(runs)}  {' '.join(map(str, run))}", flush=True)
    _write(curves)


def _unpacked(data_dir: Path, mnist: Path, cifar10: Path) -> Path:
    (data_dir / "locks").mkdir()
    (data_dir / "MNIST").symlink_to((mnist / "MNIST").resolve())
    with tarfile.open(cifar10) as archive:
        archive.extractall(data_dir / "folders" / "cifar10", filter="data")
    return data_dir


def _write(curves: dict[Run, Curve]) -> None:
    comparisons = {}
    for dataset, model, weight in itertools.product(DATASETS, MODELS, WEIGHTS):
        seeds = {
            precision: [curves[Run(dataset, model, weight, precision, seed)] for seed in SEEDS]
            for precision in PRECISIONS
        }
        comparisons[dataset, model, weight] = [
            compared(*([[row[nth] for row in curve] for curve in seeds[precision]] for precision in PRECISIONS))
            for nth in range(len(QUANTITIES))
        ]
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "precisions"
    file.with_suffix(".md").write_text(table(comparisons))
    file.with_suffix(".json").write_text(json.dumps(_as_json(comparisons), indent=1) + "\n")
    print(table(comparisons))


def _as_json(comparisons: dict[tuple[str, str, str], list[Comparison]]) -> dict[str, Any]:
    return {
        "torch": torch.__version__,
        "level": LEVEL,
        "seeds": len(SEEDS),
        "from_row": FROM_ROW,
        "bands": [
            {
                **dict(zip(("dataset", "model", "weight"), key, strict=True)),
                **{name: of._asdict() for name, of in zip(QUANTITIES, quantities, strict=True)},
            }
            for key, quantities in comparisons.items()
        ],
    }


if __name__ == "__main__":
    main()
