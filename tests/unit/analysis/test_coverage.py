"""How often the interval of a slope covers the truth, over sweeps whose truth is known: 95 % is meant."""

import numpy as np
import pytest

from core.analysis.effect import effect_at_end
from core.analysis.runs import Run, fit_runs, octaves
from tests.unit.analysis.builders import MNIST_WEIGHTS, N_OUT, a_run, numbered

SWEEPS = 2000
SLOPE = 0.01  # logits per octave; from seed to seed it varies by half of that


def a_sweep(random: np.random.Generator, seeds: int) -> list[Run]:
    """Each seed with a slope and a middle of its own, each run with a deviation of its own, each image drawn."""
    runs = []
    for seed in range(seeds):
        slope, middle = random.normal(SLOPE, SLOPE / 2), random.normal(-0.5, 0.1)
        for weight in MNIST_WEIGHTS:
            base = 1 / (1 + np.exp(-(middle + slope * octaves(weight) + random.normal(0, 0.03))))
            runs.append(a_run(weight, seed, 0.5, random.binomial(N_OUT, base) / N_OUT, epoch=[1000]))
    return numbered(runs)


def coverage(sweeps: list[list[Run]]) -> float:
    slopes = [effect_at_end(runs, "out_of_domain").slope for runs in sweeps]
    return float(np.mean([slope is not None and slope.low <= SLOPE <= slope.high for slope in slopes]))  # type: ignore[operator]


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_of_the_slope_covers_the_truth_in_95_of_100_sweeps(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    assert 0.93 <= coverage([a_sweep(random, seeds) for _ in range(SWEEPS)]) <= 0.97


def test_it_does_so_without_the_collapsed_runs_and_would_not_with_them() -> None:
    random = np.random.default_rng(0)
    sweeps = []
    for _ in range(400):
        runs = a_sweep(random, 5)
        at = int(random.integers(len(runs)))
        constant = float(octaves(runs[at].importance_weight) >= 0)
        runs[at] = a_run(runs[at].importance_weight, runs[at].seed, [0.5, constant], id=runs[at].id, epoch=[1, 1000])
        sweeps.append(runs)
    assert 0.92 <= coverage([fit_runs(runs) for runs in sweeps]) <= 0.98
    slopes = [effect_at_end(runs, "out_of_domain").slope for runs in sweeps]
    assert np.mean([slope is not None and abs(slope.estimate - SLOPE) < 0.02 for slope in slopes]) < 0.5
