"""Runs that are behind: they hold nobody back, and are named."""

from collections.abc import Sequence

import numpy as np

from core.analysis.claims import claims_of
from core.analysis.effect import effect_at_end
from core.analysis.runs import Left, Run, abreast, fit_runs, until
from core.analysis.study import Member, study
from core.analysis.verdicts import Answer, Claim, Studied
from core.fit import Fit
from tests.unit.analysis.builders import MNIST_WEIGHTS, a_group, a_run, a_spec
from tests.unit.analysis.test_effect import about


def at_epochs(last: Sequence[int], epochs: int = 1000) -> list[Run]:
    """Runs with as many rows as are given, by id."""
    return [a_run("1:1", id, np.full(rows, 0.5), id=id, epochs=epochs) for id, rows in enumerate(last, start=1)]


def kept(last: Sequence[int], epochs: int = 1000) -> list[int]:
    return [int(run.epoch[-1]) if len(run.epoch) else 0 for run in abreast(at_epochs(last, epochs))]


def fourteen_and_one(at: int, slope: float = 0.1, scatter: float = 0.004, *, ended: bool = False) -> list[Run]:
    """Five weights by three seeds, all at epoch 1000 but for the last."""
    *others, last = a_group(about(slope), rows=1000, scatter=scatter, epochs=1000)
    return [*others, until(last, at)._replace(epochs=1000, ended=ended)]


def says(name: str, runs: list[Run]) -> Claim:
    (claim,) = [each for each in claims_of([Studied("", a_spec(), runs, {})]) if each.claim == name]
    return claim


def test_where_half_have_come_to_their_end_whoever_has_not_is_behind() -> None:
    assert kept([1000] * 14 + [3]) == [1000] * 14
    assert kept([1000, 1000, 999, 400]) == [1000, 1000]
    assert kept([1000, 999, 998]) == [1000, 999, 998]  # one of three
    assert kept([1000, 1000, 0]) == [1000, 1000, 0]  # without rows, it holds nobody back


def test_before_that_whoever_has_not_come_half_as_far_as_half_of_them() -> None:
    assert kept([410, 400, 420, 395]) == [410, 400, 420, 395]
    assert kept([410, 400, 420, 199]) == [410, 400, 420]
    assert kept([3, 2, 4, 1]) == [3, 2, 4]
    assert kept([1500, 1000, 1000, 1000], epochs=2000) == [
        1500,
        1000,
        1000,
        1000,
    ]  # longer ones, the first of which runs
    assert kept([900, 950, 925], epochs=1000) == [900, 950, 925]  # a whole sweep was cancelled
    assert kept([]) == []


def test_one_that_diverged_early_counts_for_nothing() -> None:
    early = [run._replace(finite=False) for run in at_epochs([5, 5, 5])]
    assert [len(run.epoch) for run in abreast([*early, *at_epochs([1000, 400])])] == [5, 5, 5, 1000]


def test_one_run_at_epoch_3_does_not_make_it_the_end_of_fourteen_at_1000() -> None:
    runs = fourteen_and_one(3)
    spec = a_spec()
    (group,) = study([Member(spec, run) for run in runs], lambda _: (None, {})).groups
    alone = [run for run in runs if run.id != 15]
    for which in ("in_domain", "out_of_domain"):
        for of in (group.of(which).fit_runs, group.of(which).all_runs):
            assert of == effect_at_end(alone, which)
            assert (of.epoch, of.rows, of.runs) == (1000, 50, 14)
        assert group.of(which).over_epochs.epoch == list(range(1, 1001))
    assert [(run.id, run.epoch) for run in group.runs if run.behind] == [(15, 3)]


def test_claims_rest_on_the_others_and_name_it() -> None:
    claim = says("C2", fourteen_and_one(3))
    assert claim.verdict is Answer.FAILS
    assert claim.left_out == [Left(15, Fit.FIT, 3)]
    assert claim.sentence.startswith("At epoch 1000, over 3 seeds: ")
    assert claim.sentence.endswith("; 1 of 15 runs left out: 1 behind (at epoch 3).")


def test_whatever_else_it_is_so_early_it_is_behind() -> None:
    (plain, *_) = a_group({"1:1": 0.5}, rows=3, epochs=1000)
    plateau = a_run("1:256", 9, [0.0, 0.0], id=98, epochs=1000)
    claim = says("C2", [*a_group(about(0.1), rows=1000), plain._replace(id=99), plateau])
    assert claim.left_out == [Left(98, Fit.NOT_STARTED, 2), Left(99, Fit.FIT, 3)]
    assert "2 of 17 runs left out: 2 behind (at epochs 2 to 3)" in claim.sentence


def test_what_was_cancelled_is_not_waited_for() -> None:
    waits = says("C2", fourteen_and_one(900, slope=0, scatter=0.03)).would_decide
    assert waits == "the end of its runs would: 1 of 15 has not come to epoch 1000"
    does_not = says("C2", fourteen_and_one(900, slope=0, scatter=0.03, ended=True)).would_decide
    assert does_not
    assert does_not.endswith("seeds would, if they scatter as these do")


def test_c1_of_runs_abreast_is_over_all_ten_early_epochs() -> None:
    early = [
        a_run(weight, seed, [0.9 if weight == "256:1" else 0.5, *[0.5] * 99], id=10 * seed + at)
        for at, weight in enumerate(MNIST_WEIGHTS)
        for seed in range(3)
    ]
    late = a_run("1:1", 9, [0.5, 0.5], id=99, epochs=100)
    assert says("C1", [*early, late]).estimate == says("C1", early).estimate == 0.04  # 0.4 in one of ten


def test_groups_that_have_not_come_to_one_epoch_are_not_set_against_each_other() -> None:
    """A slope fades: of two groups the one that has come farther has less of it."""
    fields = {"scatter": 0.001, "epochs": 1000}
    groups = [
        Studied(
            "", a_spec(model={"name": "resnet", "batch_norm": norm}), a_group(about(slope), rows=rows, **fields), {}
        )
        for norm, slope, rows in ((False, 0.1, 400), (True, 0.03, 1000))
    ]
    (claim,) = [each for each in claims_of(groups) if each.claim == "C9"]
    assert claim.verdict is Answer.UNDECIDED
    assert claim.would_decide == "the end of both would: without it they have come to epoch 400, with it to 1000"


def test_fit_runs_are_those_of_runs_abreast() -> None:
    runs = fourteen_and_one(3)
    assert [run.id for run in fit_runs(abreast(runs))] == list(range(1, 15))
