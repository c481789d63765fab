"""Means over seeds and their intervals: Student's t, the only interval here, for with three to five seeds a normal
quantile or a bootstrap covers 75 to 85 % where 95 are meant. And the logit, on which fractions are compared.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
_EQUAL = 1e-12  # numbers that differ by less differ by rounding


class Estimate(NamedTuple):
    """A mean over seeds. Its interval is None with one seed, and where all seeds gave the same number: an interval of
    no width would say that there is nothing left to know."""

    estimate: float
    low: float | None
    high: float | None
    n: int  # seeds
    seeds: list[float]  # what each gave, in the order of the seeds

    @property
    def all_equal(self) -> bool:
        return self.n > 1 and self.low is None


class Difference(NamedTuple):
    """Of the means of two sets of seeds, first less second; the interval as in `Estimate`."""

    estimate: float
    low: float | None
    high: float | None
    n_first: int
    n_second: int


class Interval(NamedTuple):
    """[columns] each; nan where there is no interval."""

    mean: Floats
    low: Floats
    high: Floats


def t_interval(values: Floats) -> Interval:
    """Of each column of `values` [seeds, columns]: mean ± t(n - 1; 0.975) · s / √n, s² = Σ(v - mean)² / (n - 1)."""
    n = len(values)
    mean = values[0] + (values - values[0]).mean(axis=0)  # of equal numbers, that number
    if n < 2:
        return Interval(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    half = t_quantile(n - 1) * values.std(axis=0, ddof=1) / math.sqrt(n)
    half[np.ptp(values, axis=0) <= _EQUAL * np.maximum(1, np.abs(mean))] = np.nan
    return Interval(mean, mean - half, mean + half)


def estimate_over(seeds: Sequence[float], lowest: float = -math.inf, highest: float = math.inf) -> Estimate | None:
    """None over no seeds. Of what cannot lie outside `lowest` and `highest`, nor does the interval."""
    if not seeds:
        return None
    mean, low, high = (number_or_none(column[0]) for column in t_interval(np.array(seeds)[:, None]))
    assert mean is not None
    if low is not None and high is not None:
        low, high = max(low, lowest), min(high, highest)
    return Estimate(mean, low, high, len(seeds), list(seeds))


def difference(first: Estimate, second: Estimate) -> Difference:
    """First less second, with Welch's interval: the two need not scatter alike. With a = s₁²/n₁ and b = s₂²/n₂ it is
    ± t(ν; 0.975) · √(a + b), where ν = (a + b)² / (a² / (n₁ - 1) + b² / (n₂ - 1))."""
    estimate, sizes = first.estimate - second.estimate, (first.n, second.n)
    if min(sizes) < 2 or (first.all_equal and second.all_equal):
        return Difference(estimate, None, None, *sizes)
    a, b = (float(np.var(each.seeds, ddof=1)) / each.n for each in (first, second))
    total = a + b
    freedom = 1 / ((a / total) ** 2 / (first.n - 1) + (b / total) ** 2 / (second.n - 1))
    half = t_quantile(freedom) * math.sqrt(total)
    return Difference(estimate, estimate - half, estimate + half, *sizes)


def t_quantile(freedom: float) -> float:
    """The 0.975 quantile of Student's t."""
    from scipy.special import stdtrit  # a quarter of a second that the API's start does without

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def logit(fraction: Floats, n: int | NDArray[np.int64]) -> Floats:
    """log(f / (1 - f)), f clipped at half an image of `n`: the logit of 0 is not finite."""
    shortest = 1 / (2 * np.asarray(n, np.float64))
    clipped = np.clip(fraction, shortest, 1 - shortest)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def is_clipped(fraction: Floats, n: int | NDArray[np.int64]) -> NDArray[np.bool_]:
    shortest = 1 / (2 * np.asarray(n, np.float64))
    return np.logical_or(fraction < shortest, fraction > 1 - shortest)


def fraction_of(logits: Floats) -> Floats:
    """1 / (1 + e^-x), the way back."""
    return np.asarray(1 / (1 + np.exp(-logits)))


def number_or_none(value: float) -> float | None:
    """What JSON can say."""
    return float(value) if math.isfinite(value) else None


def numbers_or_none(column: Floats) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in column.tolist()]
