"""Whatever the runs are: no NaN, no infinity, no interval without its estimate or of no width, and no order matters."""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.analysis.bands import bands_at_end, bands_over_epochs
from core.analysis.claims import claims_of
from core.analysis.disagreement import Predicted, disagreements
from core.analysis.effect import effect_at_end, effect_over_epochs
from core.analysis.intervals import difference, estimate_over
from core.analysis.runs import IN_WORDS, Measured, Run, fit_of_run, fit_runs, octaves, settled_fraction
from core.analysis.settling import settling_epochs
from core.analysis.verdicts import Answer, Studied
from tests.unit.analysis.builders import a_spec, numbered

SPECS: list[dict[str, Any]] = [
    {"model": {"name": "cnn"}},
    {"dataset": {"name": "mnist"}, "model": {"name": "cnn"}},
    {"model": {"name": "cnn", "dropout": 0.5}},
    {"optimizer": {"weight_decay": 0.01}},
    {"model": {"name": "resnet"}},
    {"model": {"name": "resnet", "batch_norm": False}},
    {"dataset": {"name": "mnist"}, "model": {"name": "resnet"}},
]
WEIGHTS = ["256:1", "16:1", "3:1", "0.3:0.1", "1.000001:1", "1:1", "2:2", "1:16", "1:1000000"]
ORDINARY, FATES = "ordinary", ["short", "without rows", "later", "diverged", "constant", "collapsed", "under-fit"]
weights = st.sampled_from(WEIGHTS)
sizes = st.sampled_from([2000, 2000, 2000, 2000, 45, 3, 1, 0])


@st.composite
def groups(draw: st.DrawFn) -> list[Run]:
    """Weights by seeds of one spec, to the same end but for those with a fate; fractions about a middle, or about one
    that the weight moves."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, rows, decays = (draw(sizes), draw(sizes)), draw(st.sampled_from([900, 12, 4, 1])), draw(st.booleans())
    drops = draw(st.booleans())
    middle, scatter = draw(st.sampled_from([0.5, 0.5, 0.3, 0.0, 1.0])), draw(st.sampled_from([0.0, 0.001, 0.02, 0.3]))
    slope = draw(st.sampled_from([0.0, 0.0, 0.01, 0.1]))
    fates = st.sampled_from([ORDINARY] * draw(st.sampled_from([200, 20, 1])) + FATES)
    return numbered(
        [
            a_run_of(
                draw(fates), weight, seed, random, n, rows, decays, drops, middle + slope * octaves(weight), scatter
            )
            for weight in draw(st.lists(weights, min_size=draw(st.sampled_from([4, 3, 0])), max_size=6, unique=True))
            for seed in range(draw(st.integers(1, 4)))
        ]
    )


def a_run_of(
    fate: str,
    weight: str,
    seed: int,
    random: np.random.Generator,
    n: tuple[int, int],
    rows: int,
    decays: bool,
    drops: bool,
    middle: float,
    scatter: float,
) -> Run:
    epochs, rows = rows, {"short": max(1, rows // 3), "without rows": 0}.get(fate, rows)
    sets = []
    for images in n:
        fractions = np.clip(middle + random.normal(0, scatter) + random.normal(0, scatter / 4, rows), 0, 1)
        base = np.round(fractions * images)
        if fate == "constant":
            base[:] = images
        if fate == "collapsed":
            base[rows // 2 :] = images
        if fate == "diverged":
            base[-1] = math.nan
        sets.append(Measured(base, images))
    accuracy = np.full(rows, 0.5 if fate == "under-fit" else 1.0)
    epoch = np.arange(rows) + (2 if fate == "later" else 1)
    return Run(
        0, weight, seed, epoch, *sets, accuracy, accuracy, epochs, fate != "diverged", fate == "short", decays, drops
    )


def everything(runs: list[Run]) -> list[Any]:
    fit = [fit_runs(runs), runs]
    return [
        *[(effect_at_end(each, which), effect_over_epochs(each, which)) for each in fit for which in IN_WORDS],
        *[(bands_at_end(each, which), bands_over_epochs(each, which)) for each in fit for which in IN_WORDS],
        *[settling_epochs(each, which) for each in fit for which in IN_WORDS],
        *[(fit_of_run(run), settled_fraction(run.in_domain)) for run in sorted(runs, key=lambda run: run.id)],
        claims_of([Studied(str(spec), a_spec(**spec | {"epochs": 12}), runs, {}) for spec in SPECS]),
    ]


def estimates(value: Any) -> Iterator[Any]:
    """Whatever has an estimate and an interval, deep inside."""
    if hasattr(value, "estimate") and hasattr(value, "low"):
        yield value
    if isinstance(value, list | tuple):
        for each in value:
            yield from estimates(each)
    if isinstance(value, dict):
        yield from estimates(list(value.values()))


@settings(max_examples=60, deadline=None)
@given(groups(), st.randoms(use_true_random=False))
def test_every_number_is_one_and_no_order_matters(runs: list[Run], random: Any) -> None:
    found = everything(runs)
    json.dumps(found, allow_nan=False)
    shuffled = list(runs)
    random.shuffle(shuffled)
    assert everything(shuffled) == found


@settings(max_examples=60, deadline=None)
@given(groups())
def test_an_interval_has_a_width_and_contains_its_estimate(runs: list[Run]) -> None:
    for each in estimates(everything(runs)):
        assert (each.low is None) == (each.high is None)
        if isinstance(each.low, float):
            assert each.low < each.estimate < each.high
    for which in IN_WORDS:
        columns = effect_over_epochs(runs, which)
        for low, middle, high in zip(columns.slope_low, columns.slope, columns.slope_high, strict=True):
            assert low is None or low < middle < high  # type: ignore[operator]
        for band in bands_over_epochs(runs, which).values():
            for low, middle, high in zip(band.low, band.estimate, band.high, strict=True):
                assert low is None or 0 <= low < middle < high <= 1  # type: ignore[operator]


@settings(max_examples=60, deadline=None)
@given(groups())
def test_what_is_not_said_has_its_reason_and_what_is_undecided_what_would_decide_it(runs: list[Run]) -> None:
    for which in IN_WORDS:
        effect = effect_at_end(runs, which)
        assert effect.reason or (effect.slope and effect.bend and effect.verdict != "undecided")
    for claim in claims_of([Studied("", a_spec(**spec | {"epochs": 12}), runs, {}) for spec in SPECS]):
        assert claim.sentence.endswith(".")
        assert not any(word in claim.sentence for word in ("nan", "None", "inf "))
        assert bool(claim.would_decide) is (claim.verdict is Answer.UNDECIDED)


numbers = st.lists(st.floats(-10, 10), min_size=1, max_size=6)


@given(numbers, numbers)
def test_a_difference_of_any_two_is_finite(first: list[float], second: list[float]) -> None:
    estimates_of_both = [estimate_over(first), estimate_over(second)]
    apart = difference(*[each for each in estimates_of_both if each])
    json.dumps(apart, allow_nan=False)


@given(st.lists(st.tuples(weights, st.integers(0, 3), st.binary(min_size=2, max_size=2)), max_size=12))
def test_disagreement_of_any_predictions(found: list[tuple[str, int, bytes]]) -> None:
    predicted = [Predicted(weight, seed, bits, 13) for weight, seed, bits in found]
    result = disagreements(predicted)
    json.dumps(result, allow_nan=False)
    assert disagreements(predicted[::-1]) == result
    assert all(0 <= each.share.estimate <= 1 for each in result)
