"""Where the base fraction of a weight lies, by its seeds: Student's t on the logit, mapped back, so that a band never
leaves [0, 1] and is wider towards its middle. For tables at the end, for figures over epochs.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.analysis.intervals import fraction_of, logit, number_or_none, numbers_or_none, t_interval
from core.analysis.runs import Floats, Run, Which, common_epochs, fractions_at, measuring, settled_fractions


class Band(NamedTuple):
    """Of the fractions of one weight. No interval with one seed, and none where all seeds say the same: `all_equal`."""

    estimate: float  # the fraction whose logit is the mean of the seeds' logits
    low: float | None
    high: float | None
    n: int  # seeds
    all_equal: bool  # of two seeds or more


class BandOverEpochs(NamedTuple):
    """Columns alike in length."""

    epoch: list[int]
    estimate: list[float | None]
    low: list[float | None]
    high: list[float | None]
    n: int  # seeds
    all_equal: list[bool]


def bands_at_end(runs: Collection[Run], which: Which) -> dict[str, Band]:
    """By weight, of the means over the last rows up to the last epoch that all runs have evaluated."""
    used = measuring(runs, which)
    epochs = common_epochs(used)
    if not len(epochs):
        return {}
    bands = {}
    for weight, seeds in _by_weight(used).items():
        settled = settled_fractions(seeds, which, int(epochs[-1]))
        estimate, low, high, equal = _band(settled[:, None], seeds, which)
        bounds = (number_or_none(low[0]), number_or_none(high[0]))
        bands[weight] = Band(float(estimate[0]), *bounds, len(seeds), bool(equal[0]))
    return bands


def bands_over_epochs(runs: Collection[Run], which: Which) -> dict[str, BandOverEpochs]:
    """By weight, at each epoch that all seeds of the weight have evaluated."""
    bands = {}
    for weight, seeds in _by_weight(measuring(runs, which)).items():
        epochs = common_epochs(seeds)
        if len(epochs):
            *columns, equal = _band(fractions_at(seeds, which, epochs), seeds, which)
            estimate, low, high = (numbers_or_none(column) for column in columns)
            bands[weight] = BandOverEpochs(epochs.tolist(), estimate, low, high, len(seeds), equal.tolist())
    return bands


def _band(fractions: Floats, seeds: Sequence[Run], which: Which) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Of `fractions` [seeds, columns]: estimate, low, high, and whether all are equal. Where there is no interval the
    estimate is not of what was clipped for the logit: of nothing but 1 it is 1."""
    sizes = np.array([[run.measured(which).n] for run in seeds])
    interval = t_interval(logit(fractions, sizes))
    alone = np.isnan(interval.low)
    estimate = np.where(alone, fractions.mean(axis=0), fraction_of(interval.mean))
    return estimate, fraction_of(interval.low), fraction_of(interval.high), np.logical_and(alone, len(seeds) > 1)


def _by_weight(runs: Sequence[Run]) -> dict[str, list[Run]]:
    weights: dict[str, list[Run]] = {}
    for run in runs:
        weights.setdefault(run.importance_weight, []).append(run)
    return weights
