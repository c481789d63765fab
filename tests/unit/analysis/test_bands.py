"""Bands over seeds: never out of [0, 1], never of no width."""

import numpy as np
import pytest
from scipy import stats

from core.analysis.bands import bands_at_end, bands_over_epochs
from tests.unit.analysis.builders import N_IN, a_run, numbered


def test_a_band_is_scipys_interval_of_the_logits_mapped_back() -> None:
    fractions = [0.9, 0.96, 0.99]
    (band,) = bands_at_end(numbered([a_run("4:1", s, [f] * 8) for s, f in enumerate(fractions)]), "in_domain").values()
    logits = np.log(fractions) - np.log1p(-np.array(fractions))
    bounds = stats.t.interval(0.95, 2, logits.mean(), stats.sem(logits))
    expected = 1 / (1 + np.exp(-np.array([logits.mean(), *bounds])))
    assert band[:3] == pytest.approx(expected, abs=1e-12)
    assert (band.n, band.all_equal) == (3, False)


def test_the_band_of_fractions_of_0_and_1_stays_between_them() -> None:
    (band,) = bands_at_end(
        numbered([a_run("4:1", 0, [0.0] * 4, [0.5] * 4), a_run("4:1", 1, [1.0] * 4)]), "in_domain"
    ).values()
    assert band.low is not None
    assert band.high is not None
    assert 0 <= band.low < band.estimate < band.high <= 1


def test_where_all_seeds_are_equal_it_says_so_and_one_seed_has_no_band() -> None:
    runs = [a_run("4:1", 0, [1.0] * 4), a_run("4:1", 1, [1.0] * 4), a_run("1:4", 0, [0.3] * 4)]
    bands = bands_at_end(numbered(runs), "in_domain")
    assert bands["4:1"] == (1.0, None, None, 2, True)
    assert bands["1:4"] == (0.3, None, None, 1, False)


def test_over_epochs_a_weight_goes_as_far_as_its_shortest_seed() -> None:
    runs = numbered([a_run("4:1", 0, [0.5, 0.6, 0.7]), a_run("4:1", 1, [0.5, 0.65]), a_run("1:4", 0, [0.1, 0.2, 0.3])])
    bands = bands_over_epochs(runs, "in_domain")
    assert list(bands) == ["4:1", "1:4"]
    assert bands["4:1"].epoch == [1, 2]
    assert bands["4:1"].all_equal == [True, False]
    assert bands["4:1"].low[0] is None
    assert bands["4:1"].estimate[0] == 0.5
    assert bands["1:4"].estimate == pytest.approx([0.1, 0.2, 0.3])
    assert bands["1:4"].high == [None] * 3


def test_a_run_that_is_half_an_image_from_another_is_equal_to_it() -> None:
    """Both clipped to the same logit: no width, and so no band."""
    zero = a_run("4:1", 0, [0.0] * 8, [0.5] * 8)
    nearly = a_run("4:1", 1, [0.0] * 7 + [0.5 / N_IN], [0.5] * 8)
    (band,) = bands_at_end(numbered([zero, nearly]), "in_domain").values()
    assert (band.low, band.high, band.all_equal) == (None, None, True)


def test_without_anything_measured_there_is_no_band() -> None:
    assert bands_at_end([], "in_domain") == bands_over_epochs([], "in_domain") == {}
    assert bands_at_end([a_run(n=(0, 0))], "in_domain") == {}
