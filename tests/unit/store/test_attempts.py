"""What an attempt writes: rows, once; replays, compared; the end, together with the last row."""

from contextlib import suppress

from core.states import ErrorKind, State
from core.store import attempts, curves, experiments
from core.store.experiments import ExperimentError
from core.store.session import Store
from tests.unit.store.builders import (
    DIAGNOSTICS,
    all_rows,
    cancelled,
    claimed,
    event_kinds,
    recorded,
    released,
    result,
    seen_now,
    submitted,
)


def test_a_row_is_a_visible_step_forward(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    before = seen_now(store, experiment_id).revision
    recorded(store, claim, result(2))
    after = seen_now(store, experiment_id)
    assert (after.epochs_done, after.revision) == (2, before + 1)
    recorded(store, claim, result(1))
    assert seen_now(store, experiment_id).epochs_done == 2


def test_the_same_row_again_is_harmless(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    for seconds in (1.0, 2.0):
        recorded(store, claim, result(1, seconds=seconds))
    with store.reading() as tx:
        head, rows = curves.read(tx, experiment_id)
    assert rows == [result(1, seconds=1.0)]
    assert head.replay_mismatch_from is None


def test_a_row_that_differs_from_the_one_that_stands_is_recorded_and_not_written(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    for epoch in (1, 2, 3):
        recorded(store, claim, result(epoch))
    released(store, claim)
    again = claimed(store)
    recorded(store, again, result(1))
    for epoch in (2, 3):
        recorded(store, again, result(epoch, base_in_domain=7))
    with store.reading() as tx:
        head, rows = curves.read(tx, experiment_id)
    assert rows == [result(1), result(2), result(3)]
    assert head.replay_mismatch_from == 2
    assert event_kinds(store, experiment_id).count("replay_mismatch") == 1


def test_a_replay_is_compared_in_its_diagnostics_too_and_nan_is_the_same_as_nan(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    for _ in range(2):
        recorded(store, claim, result(1, diagnostics=DIAGNOSTICS))
        assert seen_now(store, experiment_id).replay_mismatch_from is None
    recorded(store, claim, result(1, diagnostics=DIAGNOSTICS._replace(bias_difference=0.0)))  # it is -0.0
    assert seen_now(store, experiment_id).replay_mismatch_from == 1


def test_an_earlier_mismatch_replaces_a_later_one(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    for epoch in (1, 2):
        recorded(store, claim, result(epoch))
    for epoch in (2, 1):
        recorded(store, claim, result(epoch, train_loss=9.0))
    assert seen_now(store, experiment_id).replay_mismatch_from == 1


def test_the_last_row_and_the_end_come_together(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    with store.writing() as tx:
        attempts.finish(tx, claim, result(3), State.SUCCEEDED, None)
    with store.reading() as tx:
        experiment = experiments.get(tx, experiment_id)
        head, rows = curves.read(tx, experiment_id)
    assert (experiment.state, experiment.epochs_done, head.complete) == (State.SUCCEEDED, 3, True)
    assert rows == [result(3)]
    assert experiment.ended_ms is not None
    assert (experiment.lease_until_ms, experiment.diverged_at) == (None, None)


def test_an_end_that_is_rolled_back_leaves_neither_row_nor_state(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    before = all_rows(store)
    with suppress(ZeroDivisionError), store.writing() as tx:
        attempts.finish(tx, claim, result(3), State.SUCCEEDED, None)
        raise ZeroDivisionError
    assert all_rows(store) == before
    assert seen_now(store, experiment_id).state is State.RUNNING


def test_a_diverged_experiment_fails_at_the_epoch_of_its_row(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    error = ExperimentError(ErrorKind.DIVERGED, "the loss is nan in epoch 2")
    with store.writing() as tx:
        attempts.finish(tx, claim, result(2, train_loss=float("nan")), State.FAILED, error)
    experiment = seen_now(store, experiment_id)
    assert (experiment.state, experiment.diverged_at, experiment.error) == (State.FAILED, 2, error)


def test_a_failure_without_a_row_keeps_its_sentence_and_traceback_whatever_is_in_them(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    with store.writing() as tx:
        error = ExperimentError(ErrorKind.BAD_DATA, "cat\udcff\0.png is no image", "Traceback\0")
        attempts.finish(tx, claim, None, State.FAILED, error)
    kept = seen_now(store, experiment_id).error
    assert kept == ExperimentError(ErrorKind.BAD_DATA, "cat?\ufffd.png is no image", "Traceback\ufffd")


def test_an_experiment_that_finishes_first_stays_succeeded(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    cancelled(store, experiment_id)
    with store.writing() as tx:
        attempts.finish(tx, claim, result(3), State.SUCCEEDED, None)
    experiment = seen_now(store, experiment_id)
    assert (experiment.state, experiment.requested) == (State.SUCCEEDED, None)
