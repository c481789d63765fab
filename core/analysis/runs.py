"""What statistics are computed of: the runs of a group as columns of numbers, how each came out, and which of them have
measured what. No formula of a statistic.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.curve import COUNTS
from core.fit import Fit, Signs, fit_of, last_rows
from core.spec import ImportanceWeight

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Which = Literal["in_domain", "out_of_domain"]

IN_WORDS: dict[Which, str] = {"in_domain": "in-domain", "out_of_domain": "out-of-domain"}


class Measured(NamedTuple):
    """What a run said of a test set."""

    base: Floats  # [rows], images predicted as base; nan where a logit was not finite
    n: int  # images of the test set; 0: there is no such set


class Run(NamedTuple):
    """An experiment as statistics see it; columns alike in length, perhaps without rows yet."""

    id: int
    importance_weight: str
    seed: int
    epoch: Ints  # [rows], ascending
    in_domain: Measured
    out_of_domain: Measured
    accuracy_base: Floats  # [rows], in training, of each class, with dropout on; nan where it is not finite
    accuracy_other: Floats
    epochs: int  # that it is to train
    finite: bool  # has not diverged
    ended: bool  # no row comes any more, unless it is retried
    decays: bool  # has weight decay
    drops: bool  # has dropout

    def measured(self, which: Which) -> Measured:
        return self.in_domain if which == "in_domain" else self.out_of_domain


class Left(NamedTuple):
    """A run that a statistic leaves out; `fit` is None where it has no rows yet."""

    id: int
    fit: Fit | None
    behind_at: int | None = None  # the epoch that it has come to, where it is left out for being behind the others


def run_of_counts(id: int, spec: Mapping[str, Any], counts: Sequence[int], *, finite: bool, ended: bool) -> Run:
    """Of an experiment's rows as `core.curve.COUNTS`, one row after the other; `spec` with every field filled."""
    columns = dict(zip(COUNTS, np.array(counts, np.float64).reshape(-1, len(COUNTS)).T, strict=True))

    def measured(which: Which) -> Measured:
        n = columns[f"n_{which}"]
        base = np.where(columns[f"finite_{which}"] < n, np.nan, columns[f"base_{which}"])
        return Measured(base, int(n[0]) if len(n) else 0)

    def accuracy(of_class: str) -> Floats:
        with np.errstate(invalid="ignore"):
            return np.asarray(columns[f"train_correct_{of_class}"] / columns[f"train_n_{of_class}"])

    return Run(
        id=id,
        importance_weight=spec["importance_weight"],
        seed=spec["seed"],
        epoch=columns["epoch"].astype(np.int64),
        in_domain=measured("in_domain"),
        out_of_domain=measured("out_of_domain"),
        accuracy_base=accuracy("base"),
        accuracy_other=accuracy("other"),
        epochs=spec["epochs"],
        finite=finite,
        ended=ended,
        decays=spec["optimizer"]["weight_decay"] > 0,
        drops=spec["model"].get("dropout", 0) > 0,
    )


def fit_of_run(run: Run) -> Fit | None:
    """How a run came out, as far as it has come; None without rows."""
    if not len(run.epoch):
        return None
    constant = is_constant(run)
    signs = Signs(run.finite, bool(constant[-1]), not constant.all(), *settled_accuracies(run))
    return fit_of(signs, run.decays, run.drops)


def settled_accuracies(run: Run) -> tuple[float | None, float | None]:
    """In training, of the base class and of the other, means of the last rows; None where nothing was measured."""
    return _mean_of_last(run.accuracy_base), _mean_of_last(run.accuracy_other)


def is_constant(run: Run) -> NDArray[np.bool_]:
    """[rows]: whether every image of every test set was predicted as one class. Not where a logit was not finite, nor
    without any test set: nothing is known there."""
    base, n = _of_all_sets(run)
    return np.asarray((n > 0) & ((base == 0) | (base == n)))


def _of_all_sets(run: Run) -> tuple[Floats, int]:
    sets = [measured for measured in (run.in_domain, run.out_of_domain) if measured.n]
    return sum((measured.base for measured in sets), np.zeros(len(run.epoch))), sum(measured.n for measured in sets)


def settled_fraction(measured: Measured) -> float | None:
    """The base fraction, mean of the last rows, as far as they are finite; None where nothing was measured."""
    return _mean_of_last(measured.base / measured.n) if measured.n else None


def _mean_of_last(column: Floats) -> float | None:
    last = column[-last_rows(len(column)) :]
    finite = last[np.isfinite(last)]
    return float(finite.mean()) if len(finite) else None


def octaves(importance_weight: str) -> float:
    """log2 of base / other: 8 for "256:1", 0 for "1:1", -8 for "1:256"."""
    base, other = ImportanceWeight.parse(importance_weight)
    return math.log2(base) - math.log2(other)


def fit_runs(runs: Collection[Run]) -> list[Run]:
    return [run for run in runs if fit_of_run(run) is Fit.FIT]


def abreast(runs: Collection[Run]) -> list[Run]:
    """Without those that are behind, of a group: statistics at the end are of an epoch that all have evaluated, and one
    run at epoch 3 would make that the end of fourteen at 1000. Where half of the runs with rows, or more, have come to
    their last epoch, whoever has not is behind; else whoever has not come half as far as half of them."""
    last = sorted(int(run.epoch[-1]) for run in runs if _goes_by_rows(run))
    if not last:
        return list(runs)
    most = last[len(last) // 2]
    least = most if most >= max(run.epochs for run in runs) else most / 2
    return [run for run in runs if not _goes_by_rows(run) or run.epoch[-1] >= least]


def _goes_by_rows(run: Run) -> bool:
    """One that diverged, or has no rows, enters nothing anyway."""
    return run.finite and len(run.epoch) > 0


def left_of(runs: Collection[Run], used: Collection[Run]) -> list[Left]:
    """Those of `runs` that are not in `used`, by id."""
    kept, level = ({run.id for run in some} for some in (used, abreast(runs)))
    return [
        Left(run.id, fit_of_run(run), None if run.id in level else int(run.epoch[-1]))
        for run in sorted(runs, key=lambda run: run.id)
        if run.id not in kept
    ]


def measuring(runs: Collection[Run], which: Which) -> list[Run]:
    """The runs whose base fractions of a test set are numbers in every row they have; in one order, whatever the order
    they come in. One that diverged has measured nothing: a logit that is not a number counts as class 0."""

    def measures(run: Run) -> bool:
        base, n = run.measured(which)
        return run.finite and n > 0 and len(base) > 0 and bool(np.isfinite(base).all())

    ordered = sorted(runs, key=lambda run: (-octaves(run.importance_weight), run.importance_weight, run.seed, run.id))
    return [run for run in ordered if measures(run)]


def common_epochs(runs: Sequence[Run]) -> Ints:
    """The epochs that all of `runs` have evaluated, ascending."""
    epochs = np.unique(runs[0].epoch) if runs else np.empty(0, np.int64)
    for run in runs[1:]:
        epochs = np.intersect1d(epochs, run.epoch, assume_unique=True)
    return epochs


def until(run: Run, epoch: int) -> Run:
    """The run as it was at an epoch."""
    rows = slice(0, int(np.searchsorted(run.epoch, epoch, side="right")))
    return run._replace(
        epoch=run.epoch[rows],
        in_domain=run.in_domain._replace(base=run.in_domain.base[rows]),
        out_of_domain=run.out_of_domain._replace(base=run.out_of_domain.base[rows]),
        accuracy_base=run.accuracy_base[rows],
        accuracy_other=run.accuracy_other[rows],
    )


def fractions_at(runs: Sequence[Run], which: Which, epochs: Ints) -> Floats:
    """[runs, epochs], of runs that have all evaluated them."""
    measured = [(run.measured(which), np.searchsorted(run.epoch, epochs)) for run in runs]
    return np.array([each.base[rows] / each.n for each, rows in measured])


def settled_fractions(runs: Sequence[Run], which: Which, epoch: int) -> Floats:
    """[runs], as they were at `epoch`; of runs that have measured the test set."""
    return np.array([settled_fraction(until(run, epoch).measured(which)) for run in runs], np.float64)
