"""When a run came to rest, by hand."""

from core.analysis.settling import settling_epochs
from tests.unit.analysis.builders import a_run, numbered


def settled(*fractions: float, epoch: list[int] | None = None) -> int | None:
    (settling,) = settling_epochs([a_run(in_domain=fractions, epoch=epoch)], "in_domain")
    return settling.epoch


def test_the_last_epoch_that_is_further_than_0_05_from_the_end() -> None:
    assert settled(1.0, 0.8, 0.56, 0.54, 0.5, 0.5, 0.5, 0.5) == 3  # the last two are the end
    assert settled(1.0, 0.5, 0.5, 0.5, 0.56, 0.5, 0.5, 0.5) == 5  # a relapse counts
    assert settled(1.0, 0.5, 0.5, 0.5, epoch=[10, 20, 30, 40]) == 10


def test_who_never_was_away_settled_at_once() -> None:
    assert settled(0.5, 0.54, 0.5, 0.5) == settled(0.5) == 0


def test_the_end_is_a_median_that_a_spike_does_not_move() -> None:
    assert settled(*[0.9] * 20, *[0.5] * 160, *[0.5] * 20) == 20
    assert settled(*[0.46] * 150, *[0.5] * 26, *[0.545] * 24) == 0  # the mean of the end is 0.52
    assert settled(*[0.5] * 9, 0.9, 0.5, 0.5) is None  # the first of the last three
    assert settled(*[0.9] * 20, *[0.5] * 150, 1.0, *[0.5] * 29) is None  # among the last: it may come again


def test_each_run_says_how_far_it_has_come_and_one_that_diverged_is_not_asked() -> None:
    runs = [a_run("1:4", 0, [0.5] * 4), a_run("4:1", 1, [0.9, 0.5, 0.5, 0.5]), a_run(finite=False), a_run(in_domain=[])]
    assert settling_epochs(numbered(runs), "out_of_domain") == [(2, "4:1", 1, 1, 4), (1, "1:4", 0, 0, 4)]
