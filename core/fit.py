"""How a network came out, by signs that its curve gives: has it learned, or is it a constant? The store asks of one
experiment, core/analysis of every run of a sweep; neither sign needs more than a few rows. No numpy.
"""

from enum import StrEnum
from typing import NamedTuple

LAST_EVALUATED = 50  # claims are averaged over these (core/training/README.md, "Statistics and claims")
LEARNED = 0.99  # of a class's training images: below, it still separates nothing, and a weight may move the boundary


class Fit(StrEnum):
    FIT = "fit"  # it has learned both classes: what it says of the test sets is a measurement
    UNDER_FIT = "under_fit"  # it gets fewer than 99 % of a class right in training: the effect need not have faded yet
    COLLAPSED = "collapsed"  # it once told the classes apart, and now predicts one class for every image
    NOT_STARTED = "not_started"  # it has predicted one and the same class for every image since its first row
    NOT_FINITE = "not_finite"  # its loss or its logits are no longer finite: what it predicts is no prediction


FIT_IN_WORDS: dict[Fit | None, str] = {
    Fit.FIT: "fit",
    Fit.UNDER_FIT: "under-fit",
    Fit.COLLAPSED: "collapsed",
    Fit.NOT_STARTED: "not started",
    Fit.NOT_FINITE: "not finite",
    None: "without rows",
}


class Signs(NamedTuple):
    finite: bool  # has not diverged
    constant: bool  # at its last row every image of every test set is predicted as one class
    ever_both: bool  # some row was not constant
    accuracy_base: float | None  # in training, of the base class, over the last rows; None: not measured
    accuracy_other: float | None


def fit_of(signs: Signs, decays: bool) -> Fit:
    """`decays`: it has weight decay. The minimiser of its loss may then be a constant, which so is no accident but an
    under-fit."""
    if not signs.finite:
        return Fit.NOT_FINITE
    if signs.constant and not decays:
        return Fit.COLLAPSED if signs.ever_both else Fit.NOT_STARTED
    accuracies = (signs.accuracy_base, signs.accuracy_other)
    learned = all(accuracy is not None and accuracy >= LEARNED for accuracy in accuracies)
    return Fit.FIT if learned and not signs.constant else Fit.UNDER_FIT


def last_rows(rows: int) -> int:
    """Over how many of the last rows of `rows` claims are averaged: 50, and of a short curve its last quarter."""
    return max(1, min(LAST_EVALUATED, rows // 4))
