"""How an experiment came out, as the store asks its rows, and the rows of a whole sweep: as statistics see them."""

import math
import random
from typing import Any

import pytest

from core.analysis.runs import fit_of_run, run_of_counts
from core.fit import Fit
from core.results import Predictions
from core.states import ErrorKind, State
from core.store import attempts, experiments, runs, sweeps
from core.store.experiments import ExperimentError
from core.store.fits import fits
from core.store.session import Store
from tests.unit.store.builders import claimed, recorded, result, spec, submitted

DIVERGED = ExperimentError(ErrorKind.DIVERGED, "the training loss became nan")
LEARNED = {"train_correct_base": 50, "train_correct_other": 50}
ALL_BASE = {"base_in_domain": 200, "base_out_of_domain": 800}
ALL_OTHER = {"base_in_domain": 0, "base_out_of_domain": 0}


def trained(store: Store, *rows: dict[str, int | float], **of_spec: Any) -> int:
    experiment_id = submitted(store, **{"epochs": 99, **of_spec})
    claim = claimed(store)
    for nth, fields in enumerate(rows, 1):
        recorded(store, claim, result(nth, loss=(), **fields))
    return experiment_id


def fit(store: Store, experiment_id: int) -> Fit | None:
    with store.reading() as tx:
        return fits(tx, [experiments.get(tx, experiment_id)])[0]


@pytest.mark.parametrize(
    ("rows", "decay", "expected"),
    [
        ([], 0, None),
        ([{}], 0, Fit.UNDER_FIT),  # 40 of 50 right
        ([LEARNED], 0, Fit.FIT),
        ([{}, {}, {}, LEARNED], 0, Fit.FIT),  # the last quarter counts
        ([LEARNED, LEARNED, LEARNED, {}], 0, Fit.UNDER_FIT),
        ([ALL_BASE], 0, Fit.NOT_STARTED),
        ([ALL_OTHER, ALL_BASE], 0, Fit.NOT_STARTED),
        ([LEARNED, ALL_BASE], 0, Fit.COLLAPSED),
        ([LEARNED, ALL_BASE], 0.01, Fit.UNDER_FIT),  # its minimiser may be a constant
        ([{"base_in_domain": 200, "base_out_of_domain": 799, **LEARNED}], 0, Fit.FIT),
        ([{"train_n_base": 0, "train_correct_base": 0, "train_correct_other": 50}], 0, Fit.UNDER_FIT),
    ],
)
def test_an_experiment_says_how_it_came_out(
    store: Store, rows: list[dict[str, int | float]], decay: float, expected: Fit | None
) -> None:
    assert fit(store, trained(store, *rows, optimizer={"weight_decay": decay})) is expected


def test_with_dropout_below_99_percent_in_training_is_unclear(store: Store) -> None:
    dropout = {"model": {"name": "cnn", "dropout": 0.5}}
    assert fit(store, trained(store, {}, **dropout)) is Fit.UNCLEAR  # 40 of 50 right
    assert fit(store, trained(store, LEARNED, **dropout)) is Fit.FIT
    assert fit(store, trained(store, {"train_correct_base": 24}, **dropout)) is Fit.UNDER_FIT


def test_what_diverged_is_not_finite_whatever_it_said_before(store: Store) -> None:
    experiment_id = submitted(store, epochs=9)
    claim = claimed(store)
    recorded(store, claim, result(1, loss=(), **LEARNED))
    with store.writing() as tx:
        attempts.finish(tx, claim, result(2, loss=(), train_loss=math.nan), State.FAILED, DIVERGED)
    assert fit(store, experiment_id) is Fit.NOT_FINITE


def test_each_of_a_page_says_its_own(store: Store) -> None:
    ids = [trained(store, LEARNED), trained(store), trained(store, ALL_BASE), trained(store, {})]
    with store.reading() as tx:
        found = [experiments.get(tx, each) for each in ids]
        assert fits(tx, found) == [Fit.FIT, None, Fit.NOT_STARTED, Fit.UNDER_FIT]
        assert fits(tx, []) == []


def test_the_store_and_the_statistics_say_the_same(store: Store) -> None:
    chance = random.Random(7)
    specs = [
        spec(
            epochs=99,
            seed=seed,
            eval_every=chance.choice([1, 3]),
            optimizer={"weight_decay": chance.choice([0.0, 0.1])},
            model={"name": "cnn", "dropout": chance.choice([0.0, 0.5])},
        )
        for seed in range(60)
    ]
    with store.writing() as tx:
        sweep_id = sweeps.submit(tx, [], specs)
    for each in specs:
        claim = claimed(store)
        for nth in range(1, 1 + chance.randrange(9)):
            recorded(store, claim, result(nth * each.eval_every, loss=(), **_any_row(chance)))
    with store.reading() as tx:
        members = experiments.members(tx, sweep_id, 99)
        counts = runs.counts_of_sweep(tx, sweep_id, 99)
        seen = [
            run_of_counts(each.id, each.spec, counts.get(each.id, ()), finite=each.diverged_at is None, ended=False)
            for each in members
        ]
        assert [run.epoch[-1] if len(run.epoch) else 0 for run in seen] == [each.epochs_done for each in members]
        assert fits(tx, members) == [fit_of_run(run) for run in seen]
        assert set(fits(tx, members)) == {None, *Fit} - {Fit.NOT_FINITE}
        assert list(runs.counts_of_sweep(tx, sweep_id, 3)) == [each.id for each in members[:3] if each.id in counts]


def _any_row(chance: random.Random) -> dict[str, int]:
    """Often of one class alone, often learned."""
    base = chance.choice([0, 100, 100, 200, 200])
    return {
        "base_in_domain": base,
        "base_out_of_domain": 4 * base,
        "train_correct_base": chance.choice([40, 50, 50, 50]),
        "train_correct_other": 50,
    }


def test_the_last_predictions_are_of_the_last_epoch_that_all_have_kept(store: Store) -> None:
    kept = Predictions(b"1", b"2")

    def with_predictions(*epochs: int) -> int:
        experiment_id = submitted(store, epochs=99)
        claim = claimed(store)
        for epoch in epochs:
            recorded(store, claim, result(epoch, loss=(), predictions=kept))
        return experiment_id

    first, second, none = with_predictions(1, 2, 4), with_predictions(1, 2), with_predictions()
    with store.reading() as tx:
        assert runs.last_predictions(tx, [first, second]) == (2, {first: kept, second: kept})
        assert runs.last_predictions(tx, [first]) == (4, {first: kept})
        assert runs.last_predictions(tx, [first, none]) == (None, {})
        assert runs.last_predictions(tx, []) == (None, {})
