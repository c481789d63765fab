"""Slope, bend, spread, rank, variance share and verdict: against scipy, by hand, and by construction."""

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from core.analysis.effect import Verdict, effect_at_end, effect_over_epochs, variance_share
from core.analysis.intervals import SHARE, difference, estimate_over, logit, t_interval
from core.analysis.runs import Left, Run, fit_runs
from core.fit import Fit
from tests.unit.analysis.builders import CIFAR10_WEIGHTS, MNIST_WEIGHTS, N_IN, N_OUT, a_group, a_run, numbered

OCTAVES = np.array([8, 4, 0, -4, -8.0])


def about(slope: float, bend: float = 0.0, weights: tuple[str, ...] = MNIST_WEIGHTS) -> dict[str, float]:
    """Fractions with this slope and bend on the logit."""
    octaves = {weight: math.log2(float(weight.split(":")[0]) / float(weight.split(":")[1])) for weight in weights}
    return {weight: 1 / (1 + math.exp(-(slope * x + bend * abs(x)))) for weight, x in octaves.items()}


def random_runs(seeds: int = 5, rows: int = 40) -> list[Run]:
    random = np.random.default_rng(7)
    return numbered(
        [
            a_run(weight, seed, random.uniform(0.3, 0.7, rows), random.uniform(0.2, 0.5, rows))
            for weight in MNIST_WEIGHTS
            for seed in range(seeds)
        ]
    )


def test_slope_and_bend_are_those_of_polyfit_and_the_interval_that_of_scipy() -> None:
    effect = effect_at_end(random_runs(), "in_domain")
    means = np.array([run.in_domain.base[-10:].mean() / N_IN for run in random_runs()]).reshape(5, 5)
    logits = np.log(means / (1 - means))
    for estimate, x in ((effect.slope, OCTAVES), (effect.bend, np.abs(OCTAVES))):
        slopes = [np.polyfit(x, logits[:, seed], 1)[0] for seed in range(5)]
        low, high = stats.t.interval(0.95, 4, np.mean(slopes), stats.sem(slopes))
        assert estimate
        assert estimate.seeds == pytest.approx(slopes, abs=1e-12)
        assert estimate[:3] == pytest.approx((np.mean(slopes), low, high), abs=1e-12)
    assert (effect.epoch, effect.rows, effect.runs) == (40, 10, 25)


def test_spread_rank_and_variance_share_of_three_weights_by_hand() -> None:
    fractions = {("4:1", 0): 0.6, ("4:1", 1): 0.8, ("1:1", 0): 0.4, ("1:1", 1): 0.4, ("1:4", 0): 0.5, ("1:4", 1): 0.5}
    runs = numbered([a_run(*key, in_domain=[fraction] * 20) for key, fraction in fractions.items()])
    effect = effect_at_end(runs, "in_domain")
    assert effect.spread == pytest.approx(0.7 - 0.4)
    assert effect.rank.weight == pytest.approx(0.5)  # ranks 3, 1, 2 against 3, 2, 1
    assert effect.rank.abs_weight == pytest.approx(stats.spearmanr([2, 0, 2], [0.7, 0.4, 0.5]).statistic)
    own = [np.log([0.6 / 0.4, 0.8 / 0.2]), np.log([0.4 / 0.6] * 2), np.log([1.0, 1.0])]
    between = 2 * np.var([each.mean() for each in own], ddof=1)
    within = sum(np.var(each, ddof=1) for each in own) / 3
    assert effect.variance_share == pytest.approx((between - within) / (between + within))
    assert stats.f_oneway(*own).statistic == pytest.approx(between / within)


def test_the_variance_share_is_one_where_seeds_agree_and_none_where_weights_do() -> None:
    weights = ["4:1", "4:1", "1:4", "1:4"]
    assert variance_share(weights, np.array([1.0, 1.0, 2.0, 2.0])) == 1
    assert variance_share(weights, np.array([1.0, 2.0, 2.0, 1.0])) == 0
    assert variance_share(weights, np.array([1.0, 1.0, 1.0, 1.0])) is None
    assert variance_share(["4:1", "1:4"], np.array([1.0, 2.0])) is None
    assert variance_share(["4:1", "4:1"], np.array([1.0, 2.0])) is None


def test_over_epochs_each_epoch_is_what_it_would_be_alone() -> None:
    runs = random_runs(seeds=3, rows=30)
    columns = effect_over_epochs(runs, "out_of_domain")
    assert columns.epoch == list(range(1, 31))
    for row in (0, 17, 29):
        alone = [a_run(run.importance_weight, run.seed, 0.5, [run.out_of_domain.base[row] / N_OUT]) for run in runs]
        effect = effect_at_end(alone, "out_of_domain")
        assert effect.slope
        assert effect.bend
        assert (columns.slope[row], columns.slope_low[row], columns.slope_high[row]) == effect.slope[:3]
        assert (columns.bend[row], columns.bend_low[row], columns.bend_high[row]) == effect.bend[:3]
        assert columns.spread[row] == effect.spread


@pytest.mark.parametrize(
    ("slope", "bend", "verdict"),
    [
        (0.0, 0.0, Verdict.FADED),
        (0.01, -0.01, Verdict.FADED),
        (0.03, 0.0, Verdict.NOT_FADED),
        (-0.03, 0.0, Verdict.NOT_FADED),
        (0.0, 0.05, Verdict.NOT_FADED),
        (0.0199, 0.0, Verdict.UNDECIDED),
        (-0.0199, 0.0, Verdict.UNDECIDED),
    ],
)
def test_faded_not_faded_and_undecided_by_construction(slope: float, bend: float, verdict: Verdict) -> None:
    effect = effect_at_end(a_group(about(slope, bend, weights=CIFAR10_WEIGHTS), seeds=5), "in_domain")
    assert effect.verdict is verdict
    assert (effect.reason is None) is (verdict is not Verdict.UNDECIDED)


def test_a_collapsed_run_does_not_enter_what_fit_runs_say() -> None:
    runs = a_group(about(0.005), seeds=3)
    collapsed = [*runs, a_run("256:1", 3, [0.5, *[1.0] * 199], id=99)]
    assert effect_at_end(fit_runs(collapsed), "in_domain") == effect_at_end(runs, "in_domain")
    assert effect_at_end(collapsed, "in_domain").clipped == 1


def test_constants_are_no_measurement_however_well_they_agree() -> None:
    """Once a slope over constants came out as 1.036 ± 0.000."""
    constants = a_group({"256:1": 1.0, "16:1": 1.0, "1:1": 1.0, "1:16": 0.0, "1:256": 0.0}, scatter=0)
    effect = effect_at_end(constants, "in_domain")
    assert effect.slope
    assert effect.slope.estimate > 1
    assert (effect.slope.low, effect.slope.high) == (None, None)
    assert (effect.verdict, effect.clipped) == (Verdict.UNDECIDED, 15)
    assert effect.reason
    assert effect.reason.startswith("15 of 15 runs predict one class for every image")
    empty = effect_at_end(fit_runs(constants), "in_domain")
    assert (empty.slope, empty.verdict, empty.reason) == (None, Verdict.UNDECIDED, "no runs")


def test_under_weight_decay_a_constant_is_where_the_loss_leads_and_counts() -> None:
    constants = a_group({"256:1": 1.0, "16:1": 0.66, "1:16": 0.34, "1:256": 0.0}, decays=True)
    assert effect_at_end(constants, "in_domain").verdict is Verdict.NOT_FADED


def test_where_all_fractions_are_equal_one_image_decides() -> None:
    equal = dict.fromkeys(MNIST_WEIGHTS, 0.464)
    effect = effect_at_end(a_group(equal, scatter=0), "in_domain")
    assert effect.slope
    assert (effect.slope.estimate, effect.slope.low, effect.slope.high) == (0, None, None)
    assert effect.slope.all_equal
    assert (effect.verdict, effect.spread, effect.variance_share) == (Verdict.FADED, 0, None)
    assert effect.reason
    assert effect.reason.startswith("all seeds gave the same number")
    coarse = effect_at_end(a_group(dict.fromkeys(MNIST_WEIGHTS, 1 / 3), scatter=0, n=(3, 8000)), "in_domain")
    assert coarse.slope
    assert coarse.slope.estimate == 0
    assert coarse.verdict is Verdict.UNDECIDED  # an image more is a slope of 0.17


def test_fractions_of_exactly_0_or_1_never_count_as_faded() -> None:
    """No constants, for in-domain both classes are predicted; yet no slope can tell what lies beyond."""
    runs = [
        run._replace(out_of_domain=run.out_of_domain._replace(base=0 * run.epoch.astype(float)))
        for run in a_group(about(0))
    ]
    effect = effect_at_end(runs, "out_of_domain")
    assert (effect.clipped, effect.verdict, effect.rank.weight) == (15, Verdict.UNDECIDED, None)
    assert effect.reason


def test_one_clipped_run_among_flat_ones_leaves_it_undecided() -> None:
    """Half an image each, and in one run a little less: flat, as far as half an image can tell."""
    ones = iter([25, 26, 27, 26, 25, 26, 25, 27, 26, 26, 27, 25, 26, 26, 24])
    runs = [
        a_run(weight, seed, [0.5] * 200, np.where(np.arange(200) % 50 < next(ones), 1 / N_OUT, 0))
        for weight in MNIST_WEIGHTS
        for seed in range(3)
    ]
    effect = effect_at_end(numbered(runs), "out_of_domain")
    assert effect.slope
    assert effect.slope.low is not None
    assert abs(effect.slope.low) < 0.02
    assert (effect.clipped, effect.verdict) == (1, Verdict.UNDECIDED)
    assert effect.reason == "1 of 15 fractions is 0 or 1: what lies beyond, no slope tells"
    flat = effect_at_end([run for run in numbered(runs) if run.id != 15], "out_of_domain")
    assert (flat.clipped, flat.verdict) == (0, Verdict.FADED)


def test_before_epoch_10_a_clipped_slope_is_not_used() -> None:
    early = numbered(
        [
            a_run(weight, seed, [1.0 if weight == "256:1" else 0.4] * 12, [0.4] * 12)
            for weight in MNIST_WEIGHTS
            for seed in range(3)
        ]
    )
    columns = effect_over_epochs(early, "in_domain")
    assert columns.slope[:9] == columns.bend_high[:9] == [None] * 9
    assert None not in columns.slope[9:]
    assert columns.clipped == [3] * 12
    assert None not in effect_over_epochs(early, "out_of_domain").slope
    young = effect_at_end([run._replace(epoch=run.epoch - 3) for run in early], "in_domain")
    assert young.slope is None
    assert young.spread == pytest.approx(0.6)
    assert young.reason
    assert "before epoch 10" in young.reason


def test_one_weight_one_seed_and_no_run_are_said_in_a_sentence() -> None:
    one_weight = effect_at_end(a_group({"1:1": 0.5}), "in_domain")
    assert (one_weight.slope, one_weight.spread, one_weight.reason) == (
        *(None, None),
        "no seed has 3 weights: a line through fewer says nothing",
    )
    one_seed = effect_at_end(a_group(about(0.1), seeds=1), "in_domain")
    assert one_seed.slope
    assert one_seed.slope.low is None
    assert one_seed.reason == "one seed gives no interval"
    assert effect_at_end([], "in_domain").reason == "no runs"
    assert effect_at_end([a_run(in_domain=[])], "in_domain").reason == "no rows yet"
    assert effect_at_end([a_run(n=(2000, 0))], "out_of_domain").reason == "no out-of-domain test set"
    assert effect_over_epochs([], "in_domain").slope == []


def test_a_seed_with_two_weights_gives_no_slope_and_the_others_do() -> None:
    runs = a_group(about(0.1), seeds=4)
    short = [run for run in runs if run.seed != 2 or run.importance_weight in ("256:1", "1:256")]
    slope = effect_at_end(short, "in_domain").slope
    assert slope
    assert slope.n == 3
    assert pytest.approx(slope.estimate, abs=0.01) == 0.1


def test_3_to_1_written_thrice_is_one_weight() -> None:
    assert effect_at_end(a_group(dict.fromkeys(("3:1", "0.3:0.1", "0.03:0.01"), 0.5)), "in_domain").slope is None


def test_at_the_end_means_the_last_epoch_that_all_have_evaluated() -> None:
    runs = random_runs(seeds=2, rows=40)
    ahead = [*runs[1:], a_run(runs[0].importance_weight, runs[0].seed, runs[0].in_domain.base[:20] / N_IN, id=1)]
    cut = [a_run(run.importance_weight, run.seed, run.in_domain.base[:20] / N_IN, id=run.id) for run in runs]
    effect = effect_at_end(ahead, "in_domain")
    assert effect == effect_at_end(cut, "in_domain")
    assert (effect.epoch, effect.rows) == (20, 5)
    assert effect_over_epochs(ahead, "in_domain").epoch == list(range(1, 21))
    apart = [runs[0], runs[1]._replace(epoch=runs[1].epoch + 40)]
    assert effect_at_end(apart, "in_domain").reason == "no epoch was evaluated by all runs"


def test_a_run_that_diverged_or_has_no_rows_is_left_out_and_named() -> None:
    runs = a_group(about(0.1))
    diverged = a_run("1:1", 3, [0.5, math.nan], id=98, finite=False)
    waiting = a_run("1:1", 4, [], id=99)
    effect = effect_at_end([diverged, *runs, waiting], "in_domain")
    assert effect.left_out == [Left(98, Fit.NOT_FINITE), Left(99, None)]
    assert effect._replace(left_out=[]) == effect_at_end(runs, "in_domain")
    assert (
        effect_at_end([diverged], "in_domain").reason == "no run has measured the in-domain test set and stayed finite"
    )


def test_the_difference_of_two_slopes_is_welchs() -> None:
    first, second = estimate_over([0.1, 0.13, 0.17, 0.11]), estimate_over([0.02, 0.01, 0.05])
    assert first
    assert second
    welch = stats.ttest_ind(first.seeds, second.seeds, equal_var=False).confidence_interval(0.95)
    apart = difference(first, second)
    assert (apart.low, apart.high) == pytest.approx((welch.low, welch.high), abs=1e-12)
    assert (apart.estimate, apart.n_first, apart.n_second) == (first.estimate - second.estimate, 4, 3)
    equal, one = estimate_over([0.1, 0.1]), estimate_over([0.3])
    assert equal
    assert one
    assert difference(equal, equal)[1:3] == difference(first, one)[1:3] == (None, None)
    assert None not in difference(first, equal)


def test_an_interval_is_cut_where_the_truth_cannot_lie_and_covers_it_as_often() -> None:
    seeds = [0.7, 0.95, 1.0]
    low, high = stats.t.interval(0.95, 2, np.mean(seeds), stats.sem(seeds))
    assert high > 1
    share = estimate_over(seeds, SHARE)
    assert share
    assert share[:4] == (pytest.approx(np.mean(seeds)), pytest.approx(low), 1, 3)
    little = estimate_over([0.0, 0.01, 0.1], SHARE)
    assert little
    assert little.low == 0
    assert estimate_over([1.0, 1.0], SHARE) == (1, None, None, 2, [1, 1])
    random = np.random.default_rng(3)
    within, cut = 0, 0
    for drawn in random.beta(9, 1, (2000, 5)):  # of mean 0.9
        own = estimate_over(drawn.tolist(), SHARE)
        assert own
        assert own.low is not None
        assert own.high is not None
        plain = t_interval(drawn[:, None])
        assert (own.low <= 0.9 <= own.high) == (plain.low[0] <= 0.9 <= plain.high[0])
        within, cut = within + (0 <= own.low <= own.estimate <= own.high <= 1), cut + (plain.high[0] > 1)
    assert within == 2000
    assert cut > 200


def test_equal_numbers_have_no_interval_though_rounding_tells_them_apart() -> None:
    third = 0.1 + 0.2
    assert np.isnan(t_interval(np.array([[0.3], [third], [0.3]])).low).all()
    assert logit(np.array([0.0, 1.0]), 3) == pytest.approx([-math.log(5), math.log(5)])


def test_importing_it_all_imports_neither_scipy_nor_matplotlib() -> None:
    program = "import sys, core.analysis.claims, core.analysis.bands; print({'scipy', 'matplotlib'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
