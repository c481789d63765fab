"""The document's own figures as data: what these statistics say of them is what can be read there, and no more."""

import pytest

from core.analysis.effect import FADED, Effect, Verdict, effect_at_end
from core.analysis.runs import Run, Which, fit_runs
from tests.unit.analysis.builders import a_group, published


def slopes(runs: list[Run]) -> tuple[float, float]:
    """In-domain, out-of-domain."""
    effects = [effect_at_end(runs, which) for which in ("in_domain", "out_of_domain")]
    return tuple(effect.slope.estimate for effect in effects if effect.slope)  # type: ignore[return-value]


def bend(effect: Effect) -> float:
    assert effect.bend
    return effect.bend.estimate


@pytest.mark.parametrize(
    ("figure", "expected"),
    [(1, (-0.003, 0.009)), (5, (0.000, 0.020)), (6, (0.032, 0.049)), (7, (0.000, 0.058)), (8, (0.628, 0.737))],
)
def test_the_slopes_of_the_published_final_fractions(figure: int, expected: tuple[float, float]) -> None:
    assert slopes(published(figure)) == pytest.approx(expected, abs=0.0005)


def test_figure_1_has_no_slope_but_a_bend() -> None:
    inside, outside = (effect_at_end(published(1), which) for which in ("in_domain", "out_of_domain"))
    assert abs(slopes(published(1))[0]) < FADED
    assert abs(slopes(published(1))[1]) < FADED
    assert bend(outside) == pytest.approx(0.067, abs=0.0005)
    assert bend(outside) > FADED
    assert (inside.rank.weight, outside.rank.weight) == pytest.approx((-0.23, 0.18), abs=0.005)
    assert (inside.rank.abs_weight, outside.rank.abs_weight) == pytest.approx((0.53, 0.89), abs=0.005)


def test_figure_6_has_a_slope_and_is_perfectly_ordered() -> None:
    effect = effect_at_end(published(6), "in_domain")
    assert min(slopes(published(6))) > FADED > abs(bend(effect))
    assert effect.rank.weight == 1
    assert effect.spread == pytest.approx(0.126)


def test_figure_7_has_none_at_all_in_domain() -> None:
    effect = effect_at_end(published(7), "in_domain")
    assert (slopes(published(7))[0], bend(effect), effect.spread) == (0, 0, 0)
    assert (effect.rank, effect.variance_share) == ((None, None), None)


def test_figure_8_has_a_slope_with_its_collapsed_runs_and_none_without() -> None:
    runs = published(8)
    fit = fit_runs(runs)
    assert slopes(fit) == pytest.approx((0.012, 0.005), abs=0.0005)
    assert max(slopes(fit)) < FADED < min(slopes(runs))
    every, learned = effect_at_end(runs, "in_domain"), effect_at_end(fit, "in_domain")
    assert (every.clipped, every.spread) == (3, 1.0)
    assert (learned.clipped, learned.spread) == (0, pytest.approx(0.064))
    assert (every.verdict, every.reason) == (
        Verdict.UNDECIDED,
        "3 of 9 runs predict one class for every image: with them a slope says how large the test set is",
    )


def test_one_seed_as_they_have_gives_no_interval_and_no_verdict() -> None:
    for figure in (1, 5, 6, 7):
        effect = effect_at_end(published(figure), "in_domain")
        assert effect.slope
        assert (effect.slope.low, effect.slope.high, effect.slope.n) == (None, None, 1)
        assert (effect.verdict, effect.reason) == (Verdict.UNDECIDED, "one seed gives no interval")


@pytest.mark.parametrize(
    ("figure", "which", "verdict"),
    [
        (1, "out_of_domain", Verdict.NOT_FADED),  # by its bend
        (6, "in_domain", Verdict.NOT_FADED),
        (6, "out_of_domain", Verdict.NOT_FADED),
        (7, "in_domain", Verdict.FADED),
        (7, "out_of_domain", Verdict.NOT_FADED),
    ],
)
def test_what_five_seeds_about_these_fractions_would_decide(figure: int, which: Which, verdict: Verdict) -> None:
    fractions = {
        run.importance_weight: float(run.measured(which).base[-1] / run.measured(which).n) for run in published(figure)
    }
    assert effect_at_end(a_group(fractions, seeds=5), which).verdict is verdict
