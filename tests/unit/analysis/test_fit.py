"""How a run came out: each state by construction."""

import math

import numpy as np
import pytest

from core.analysis.runs import Measured, fit_of_run, is_constant, settled_fraction, until
from core.fit import Fit, Signs, fit_of, last_rows
from tests.unit.analysis.builders import a_run

LEARNED = Signs(finite=True, constant=False, ever_both=True, accuracy_base=1.0, accuracy_other=0.99)


@pytest.mark.parametrize(
    ("signs", "decays", "fit"),
    [
        (LEARNED, False, Fit.FIT),
        (LEARNED, True, Fit.FIT),
        (LEARNED._replace(accuracy_other=0.9899), False, Fit.UNDER_FIT),
        (LEARNED._replace(accuracy_base=None), False, Fit.UNDER_FIT),
        (LEARNED._replace(constant=True), False, Fit.COLLAPSED),
        (LEARNED._replace(constant=True, ever_both=False), False, Fit.NOT_STARTED),
        (LEARNED._replace(constant=True), True, Fit.UNDER_FIT),
        (LEARNED._replace(constant=True, ever_both=False), True, Fit.UNDER_FIT),
        (LEARNED._replace(finite=False), False, Fit.NOT_FINITE),
        (LEARNED._replace(finite=False, constant=True), True, Fit.NOT_FINITE),
    ],
)
def test_the_states_by_their_signs(signs: Signs, decays: bool, fit: Fit) -> None:
    assert fit_of(signs, decays, drops=False) is fit


@pytest.mark.parametrize(
    ("signs", "fit"),
    [
        (LEARNED, Fit.FIT),
        (LEARNED._replace(accuracy_other=0.9899), Fit.UNCLEAR),
        (LEARNED._replace(accuracy_other=0.495), Fit.UNCLEAR),
        (LEARNED._replace(accuracy_other=0.494), Fit.UNDER_FIT),
        (LEARNED._replace(accuracy_base=0.0), Fit.UNDER_FIT),
        (LEARNED._replace(accuracy_base=None), Fit.UNDER_FIT),
        (LEARNED._replace(accuracy_base=0.9, constant=True), Fit.COLLAPSED),
        (LEARNED._replace(accuracy_base=0.9, constant=True, ever_both=False), Fit.NOT_STARTED),
        (LEARNED._replace(accuracy_base=0.9, finite=False), Fit.NOT_FINITE),
    ],
)
def test_with_dropout_training_does_not_tell_what_the_whole_network_gets_right(signs: Signs, fit: Fit) -> None:
    assert fit_of(signs, decays=False, drops=True) is fit


def test_under_weight_decay_too_what_dropout_hides_is_unclear_and_a_constant_is_not() -> None:
    assert fit_of(LEARNED._replace(accuracy_base=0.9), decays=True, drops=True) is Fit.UNCLEAR
    assert fit_of(LEARNED._replace(accuracy_base=0.9, constant=True), decays=True, drops=True) is Fit.UNDER_FIT


def test_claims_are_averaged_over_fifty_rows_and_of_a_short_curve_over_its_last_quarter() -> None:
    assert [last_rows(rows) for rows in (1, 3, 4, 8, 100, 200, 1000)] == [1, 1, 1, 2, 25, 50, 50]


def test_a_run_without_rows_has_no_state_yet() -> None:
    assert fit_of_run(a_run(in_domain=[])) is None


def test_a_constant_since_the_first_row_has_not_started_and_one_that_became_so_has_collapsed() -> None:
    assert fit_of_run(a_run(in_domain=[1.0, 1.0])) is Fit.NOT_STARTED
    assert fit_of_run(a_run(in_domain=[0.0, 0.0])) is Fit.NOT_STARTED
    assert fit_of_run(a_run(in_domain=[0.5, 1.0])) is Fit.COLLAPSED
    assert fit_of_run(a_run(in_domain=[1.0, 0.0])) is Fit.NOT_STARTED  # it never told two images apart
    assert fit_of_run(a_run(in_domain=[1.0, 1.0], decays=True)) is Fit.UNDER_FIT


def test_a_constant_is_one_over_all_test_sets() -> None:
    """All of one set as base and none of the other is the best that can be, where these are the two classes."""
    assert fit_of_run(a_run(in_domain=[1.0], out_of_domain=[0.0])) is Fit.FIT
    assert fit_of_run(a_run(in_domain=[1.0], out_of_domain=[0.999])) is Fit.FIT
    assert fit_of_run(a_run(in_domain=[1.0], n=(45, 0))) is Fit.NOT_STARTED
    assert fit_of_run(a_run(in_domain=[0.5], n=(0, 0))) is Fit.FIT  # nothing is tested: accuracy alone tells


def test_what_is_not_finite_is_no_constant() -> None:
    """Counted, a logit that is not a number is class 0."""
    run = a_run(in_domain=[0.5, math.nan], accuracy=(1.0, math.nan), finite=False)
    assert is_constant(run).tolist() == [False, False]
    assert fit_of_run(run) is Fit.NOT_FINITE


def test_training_accuracy_is_that_of_the_last_rows() -> None:
    run = a_run(in_domain=[0.5] * 100)
    late = np.where(np.arange(100) < 75, 0.5, 1.0)
    assert fit_of_run(run._replace(accuracy_base=late)) is Fit.FIT
    assert fit_of_run(run._replace(accuracy_base=late[::-1].copy())) is Fit.UNDER_FIT


def test_the_settled_fraction_is_the_mean_of_the_last_rows_that_are_finite() -> None:
    assert settled_fraction(Measured(np.array([0, 0, 0, 0, 0, 0, 4.0, 6.0]), 10)) == 0.5
    assert settled_fraction(Measured(np.array([math.nan]), 10)) is None
    assert settled_fraction(Measured(np.array([]), 10)) is None
    assert settled_fraction(Measured(np.array([0.0]), 0)) is None


def test_a_run_as_it_was_at_an_epoch() -> None:
    run = a_run(in_domain=[0.1, 0.2, 0.3], epoch=[10, 20, 25])
    assert until(run, 20).epoch.tolist() == until(run, 24).epoch.tolist() == [10, 20]
    assert until(run, 24).in_domain.base.tolist() == [200, 400]
    assert len(until(run, 9).epoch) == len(until(run, 9).accuracy_base) == 0
