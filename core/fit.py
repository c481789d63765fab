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
    UNCLEAR = "unclear"  # with dropout on, in training, it does not: what it gets right without, nobody has measured
    COLLAPSED = "collapsed"  # it once told the classes apart, and now predicts one class for every image
    NOT_STARTED = "not_started"  # it has predicted one and the same class for every image since its first row
    NOT_FINITE = "not_finite"  # its loss or its logits are no longer finite: what it predicts is no prediction


FIT_IN_WORDS: dict[Fit | None, str] = {
    Fit.FIT: "fit",
    Fit.UNDER_FIT: "under-fit",
    Fit.UNCLEAR: "unclear",
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


def fit_of(signs: Signs, decays: bool, drops: bool) -> Fit:
    """`decays`: it has weight decay. The minimiser of its loss may then be a constant, which so is no accident but an
    under-fit. `drops`: it has dropout, and its training accuracy is that of networks with masks on. About half of them
    at least get an image right that the whole network does, so the whole may have learned a class of which masks get no
    more than half of 99 % right, and cannot have learned one of which they get less."""
    if not signs.finite:
        return Fit.NOT_FINITE
    if signs.constant and not decays:
        return Fit.COLLAPSED if signs.ever_both else Fit.NOT_STARTED
    least = min(signs.accuracy_base or 0.0, signs.accuracy_other or 0.0)
    if signs.constant or least < (LEARNED / 2 if drops else LEARNED):
        return Fit.UNDER_FIT
    return Fit.FIT if least >= LEARNED else Fit.UNCLEAR


def last_rows(rows: int) -> int:
    """Over how many of the last rows of `rows` claims are averaged: 50, and of a short curve its last quarter."""
    return max(1, min(LAST_EVALUATED, rows // 4))
