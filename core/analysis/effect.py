"""The effect of the importance weight on the base fraction: how much of it, of what shape, and has it faded
(core/training/README.md, "Statistics and claims")? Over whatever runs it is given: the caller asks once for all runs of
a group, and once for those that are fit.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.analysis.intervals import (
    Estimate,
    Interval,
    estimate_over,
    is_clipped,
    logit,
    number_or_none,
    numbers_or_none,
    t_interval,
)
from core.analysis.runs import (
    IN_WORDS,
    Floats,
    Ints,
    Left,
    Run,
    Which,
    common_epochs,
    fit_of_run,
    fractions_at,
    left_of,
    measuring,
    octaves,
    settled_fractions,
)
from core.fit import Fit, last_rows

FADED = 0.02  # logits per octave; over the paper's 16 octaves a spread of 0.08, the least that a figure shows
MOST_SPREAD = 0.08
SLOPES_FROM = 10  # epochs; before, a clipped slope says how large the test set is
FEWEST_WEIGHTS = 3  # through two points there is always a line

_ALL_EQUAL = (
    "all seeds gave the same number, so there is no interval over seeds: what one image more would make of it stands "
    "for it"
)
_Key = TypeVar("_Key", int, str)


class Verdict(StrEnum):
    FADED = "faded"  # the intervals of slope and bend both lie inside ±0.02
    NOT_FADED = "not_faded"  # one of them lies wholly outside
    UNDECIDED = "undecided"


class Rank(NamedTuple):
    """Spearman's correlation of the means of the weights with the weight; None under three weights, and where all are
    equal."""

    weight: float | None  # with log r: 1 where a heavier base class always means more base
    abs_weight: float | None  # with |log r|: the U that the other cannot see


class Effect(NamedTuple):
    """At the end: of each run the mean of the last rows up to the last epoch that all have evaluated."""

    epoch: int | None  # that epoch
    rows: int  # over which the means are taken
    runs: int  # that enter
    slope: Estimate | None  # logits per octave of the weight
    bend: Estimate | None  # logits per octave of its distance from 1:1
    spread: float | None
    rank: Rank
    variance_share: float | None
    verdict: Verdict
    clipped: int  # runs whose fraction is that of less than half an image, or of all but that
    left_out: list[Left]  # of the runs given, those that have not measured this test set
    reason: str | None  # a sentence: why something is None, or nothing is decided


_NOTHING = Effect(None, 0, 0, None, None, None, Rank(None, None), None, Verdict.UNDECIDED, 0, [], None)


class EffectOverEpochs(NamedTuple):
    """A column each, alike in length; None where there is none."""

    epoch: list[int]
    slope: list[float | None]
    slope_low: list[float | None]
    slope_high: list[float | None]
    bend: list[float | None]
    bend_low: list[float | None]
    bend_high: list[float | None]
    spread: list[float | None]
    clipped: list[int]  # runs


def effect_at_end(runs: Collection[Run], which: Which) -> Effect:
    used = measuring(runs, which)
    left = left_of(runs, used)
    epochs = common_epochs(used)
    if not len(epochs):
        return _NOTHING._replace(left_out=left, reason=_why_nothing(runs, used, which))
    last = int(epochs[-1])
    rows, n = last_rows(len(epochs)), _sizes(used, which)
    fractions = settled_fractions(used, which, last)
    logits, clipped = logit(fractions, n), int(is_clipped(fractions, n).sum())
    means = _means_by_weight(used, fractions[:, None])
    slope, bend, reason = None, None, _why_no_slope(used, last, clipped)
    if reason is None:
        slope, bend = (_estimate(used, logits, x) for x in (_octaves(used), np.abs(_octaves(used))))
    verdict, why = _verdict(used, slope, bend, clipped, _grain(used, fractions, n))
    return Effect(
        epoch=last,
        rows=rows,
        runs=len(used),
        slope=slope,
        bend=bend,
        spread=number_or_none(_spread(means)[0]),
        rank=_rank({weight: mean[0] for weight, mean in means.items()}),
        variance_share=variance_share([run.importance_weight for run in used], logits),
        verdict=verdict,
        clipped=clipped,
        left_out=left,
        reason=reason or why,
    )


def effect_over_epochs(runs: Collection[Run], which: Which) -> EffectOverEpochs:
    """At every epoch that all have evaluated who have measured this test set: each epoch alone, no mean of many."""
    used = measuring(runs, which)
    epochs = common_epochs(used)
    if not len(epochs):
        return EffectOverEpochs([], [], [], [], [], [], [], [], [])
    fractions, n = fractions_at(used, which, epochs), _sizes(used, which)[:, None]
    clipped = is_clipped(fractions, n).sum(axis=0)
    logits, unusable = logit(fractions, n), (clipped > 0) & (epochs < SLOPES_FROM)
    slope, slope_low, slope_high = _columns(slopes_by_seed(used, logits, _octaves(used)), unusable)
    bend, bend_low, bend_high = _columns(slopes_by_seed(used, logits, np.abs(_octaves(used))), unusable)
    spread = numbers_or_none(_spread(_means_by_weight(used, fractions)))
    return EffectOverEpochs(
        *(epochs.tolist(), slope, slope_low, slope_high, bend, bend_low, bend_high, spread, clipped.tolist())
    )


def slopes_by_seed(runs: Sequence[Run], logits: Floats, x: Floats) -> dict[int, Floats]:
    """Of each seed with three weights or more, and each column of `logits` [runs, columns], the least-squares slope on
    `x` [runs]: Σ(x - x̄)(y - ȳ) / Σ(x - x̄)², [columns]."""
    slopes = {}
    for seed, rows in _rows_by(run.seed for run in runs).items():
        if _has_slope([runs[row] for row in rows]):
            centred = x[rows] - x[rows].mean()
            slopes[seed] = centred @ (logits[rows] - logits[rows[0]]) / (centred @ centred)
    return dict(sorted(slopes.items()))


def variance_share(weights: Sequence[str], logits: Floats) -> float | None:
    """Which share of the variance of `logits` [runs] lies between weights, seeds as replicates: the intraclass
    correlation (B - W) / (B + (m - 1) W), not below 0. B and W are the mean squares between and within k weights of
    m = (N - Σnᵢ² / N) / (k - 1) seeds. None under two weights, without a second seed, and where nothing varies."""
    groups = [logits[rows] for rows in _rows_by(weights).values()]
    total, k = len(logits), len(groups)
    if k < 2 or total == k or np.ptp(logits) < 1e-12:
        return None
    between = sum(len(own) * (own.mean() - logits.mean()) ** 2 for own in groups) / (k - 1)
    within = sum(float(((own - own.mean()) ** 2).sum()) for own in groups) / (total - k)
    m = (total - sum(len(own) ** 2 for own in groups) / total) / (k - 1)
    return float(max(0.0, between - within) / (between + (m - 1) * within))


def _estimate(runs: Sequence[Run], logits: Floats, x: Floats) -> Estimate | None:
    return estimate_over([float(slope[0]) for slope in slopes_by_seed(runs, logits[:, None], x).values()])


def _columns(slopes: Mapping[int, Floats], unusable: NDArray[np.bool_]) -> list[list[float | None]]:
    """Mean, low and high."""
    if not slopes:
        return [[None] * len(unusable) for _ in Interval._fields]
    interval = t_interval(np.array(list(slopes.values())))
    return [numbers_or_none(np.where(unusable, np.nan, column)) for column in interval]


def _means_by_weight(runs: Sequence[Run], fractions: Floats) -> dict[str, Floats]:
    """Over seeds, of `fractions` [runs, columns]; to twelve decimals, or rounding would rank what is equal."""
    rows_by_weight = _rows_by(run.importance_weight for run in runs)
    return {weight: fractions[rows].mean(axis=0).round(12) for weight, rows in rows_by_weight.items()}


def _spread(means: Mapping[str, Floats]) -> Floats:
    """Largest less smallest mean, a column each; nan under two weights."""
    columns = np.array(list(means.values()))
    return np.ptp(columns, axis=0).round(12) if len(columns) > 1 else np.full(columns.shape[1], np.nan)


def _rank(means: Mapping[str, float]) -> Rank:
    x, y = np.array([octaves(weight) for weight in means]), np.array(list(means.values()))
    return Rank(_spearman(x, y), _spearman(np.abs(x), y))


def _spearman(x: Floats, y: Floats) -> float | None:
    from scipy.stats import spearmanr  # half a second that the API's start does without

    if len(x) < FEWEST_WEIGHTS or not np.ptp(x) or not np.ptp(y):
        return None
    return round(float(spearmanr(x, y).statistic), 12)


def _verdict(
    runs: Sequence[Run], slope: Estimate | None, bend: Estimate | None, clipped: int, grain: float
) -> tuple[Verdict, str | None]:
    """And why nothing is decided, or by what else than the intervals."""
    if slope is None or bend is None:
        return Verdict.UNDECIDED, None
    constant = sum(fit_of_run(run) in (Fit.COLLAPSED, Fit.NOT_STARTED) for run in runs)
    if constant:
        return Verdict.UNDECIDED, (
            f"{constant} of {len(runs)} runs {'predicts' if constant == 1 else 'predict'} one class for every image: "
            f"with {'it' if constant == 1 else 'them'} a slope says how large the test set is"
        )
    if slope.n < 2:
        return Verdict.UNDECIDED, "one seed gives no interval"
    reaches = [reach(estimate, grain) for estimate in (slope, bend)]
    why = _ALL_EQUAL if slope.all_equal or bend.all_equal else None
    if any(low > FADED or high < -FADED for low, high in reaches):
        return Verdict.NOT_FADED, why
    if any(low < -FADED or high > FADED for low, high in reaches):
        return Verdict.UNDECIDED, why or "an interval reaches across ±0.02 logits per octave"
    if clipped:
        return Verdict.UNDECIDED, f"{_clipped_in_words(clipped, runs)}: what lies beyond, no slope tells"
    return Verdict.FADED, why


def reach(estimate: Estimate, grain: float) -> tuple[float, float]:
    """What an estimate of two seeds or more may be by its interval; where all seeds gave the same number, by what one
    image more or less would make of it."""
    if estimate.low is None or estimate.high is None:
        return estimate.estimate - grain, estimate.estimate + grain
    return estimate.low, estimate.high


def _grain(runs: Sequence[Run], fractions: Floats, n: Ints) -> float:
    """The slope that one image makes: the most that it moves the logit of a run, over the octaves of the weights."""
    here, image = logit(fractions, n), 1 / n
    steps = np.maximum(logit(fractions + image, n) - here, here - logit(fractions - image, n))
    width = np.ptp(np.abs(_octaves(runs)))
    return float(steps.max() / width) if width else math.inf


def _why_nothing(runs: Collection[Run], used: Collection[Run], which: Which) -> str:
    if not runs:
        return "no runs"
    if used:
        return "no epoch was evaluated by all runs"
    if not any(len(run.epoch) for run in runs):
        return "no rows yet"
    if not any(run.measured(which).n for run in runs):
        return f"no {IN_WORDS[which]} test set"
    return f"no run has measured the {IN_WORDS[which]} test set and stayed finite"


def _why_no_slope(runs: Sequence[Run], epoch: int, clipped: int) -> str | None:
    if clipped and epoch < SLOPES_FROM:
        return (
            f"{_clipped_in_words(clipped, runs)}, and before epoch {SLOPES_FROM} a slope over such would say how large "
            "the test set is"
        )
    if not any(_has_slope([run for run in runs if run.seed == seed]) for seed in {run.seed for run in runs}):
        return f"no seed has {FEWEST_WEIGHTS} weights: a line through fewer says nothing"
    return None


def _clipped_in_words(clipped: int, runs: Sequence[Run]) -> str:
    return f"{clipped} of {len(runs)} fractions {'is' if clipped == 1 else 'are'} 0 or 1"


def _has_slope(runs: Sequence[Run]) -> bool:
    return len(np.unique(_octaves(runs).round(9))) >= FEWEST_WEIGHTS  # 3:1 is 0.3:0.1, but for rounding


def _octaves(runs: Sequence[Run]) -> Floats:
    return np.array([octaves(run.importance_weight) for run in runs])


def _sizes(runs: Sequence[Run], which: Which) -> Ints:
    return np.array([run.measured(which).n for run in runs])


def _rows_by(keys: Iterable[_Key]) -> dict[_Key, list[int]]:
    rows: dict[_Key, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return rows
