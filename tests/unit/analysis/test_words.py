"""Numbers as people read them."""

import pytest

from core.analysis.intervals import Difference, Estimate
from core.analysis.verdicts import in_words
from core.analysis.words import bounds, with_interval


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0.131, 0.123, 0.139), "0.131 (0.123 to 0.139)"),
        ((0.0079, 0.00771, 0.00812), "0.0079 (0.0077 to 0.0081)"),
        ((0.0, -0.0002, 0.0002), "0.0000 (-0.0002 to 0.0002)"),
        ((-0.0002, -0.004, 0.003), "0.000 (-0.004 to 0.003)"),
    ],
)
def test_an_interval_has_as_many_decimals_as_show_its_width(numbers: tuple[float, float, float], words: str) -> None:
    assert with_interval(*numbers) == words


def test_bounds_that_no_decimals_tell_apart_are_not_waited_for() -> None:
    assert bounds(0.5, 0.5 + 1e-16) == ("0." + "5".ljust(15, "0"),) * 2


def test_why_there_is_no_interval_is_said() -> None:
    assert in_words(None) == "not known"
    assert in_words(Estimate(0.5, None, None, 1, [0.5])) == "0.500 (one seed)"
    assert in_words(Estimate(0.5, None, None, 3, [0.5] * 3)) == "0.500 (the same for 3 seeds)"
    assert in_words(Difference(0.5, None, None, 1, 3)) == "0.500 (without an interval)"
    assert in_words(Estimate(9.6, 8.2, 11.4, 3, [8, 9, 11]), decimals=0) == "10 (8 to 11)"
