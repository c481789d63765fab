"""Claims, leases and the fence: who may write, and what becomes of an experiment whose worker is gone."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain

import pytest
from sqlalchemy import Connection, text

from core.states import MOVES, Ask, ErrorKind, State, Wish, clause
from core.store import claims, curves, events, experiments, wishes
from core.store.claims import Claim
from core.store.errors import ClaimLost, NotAllowed
from core.store.experiments import ExperimentError
from core.store.session import Store
from tests.unit.store.builders import (
    ENDED,
    MINUTE,
    a_worker,
    cancelled,
    claimed,
    expired,
    result,
    seen_now,
    spec,
    submitted,
)

WRITES: dict[str, Callable[[Connection, Claim], object]] = {
    "renew": lambda tx, claim: claims.renew(tx, claim, MINUTE),
    "record": lambda tx, claim: claims.record(tx, claim, result(2)),
    "finish": lambda tx, claim: claims.finish(tx, claim, result(3), State.SUCCEEDED, None),
    "release": lambda tx, claim: claims.release(tx, claim),
}


def written(store: Store, claim: Claim, row: object) -> Wish | None:
    with store.writing() as tx:
        return claims.record(tx, claim, row)  # type: ignore[arg-type]


def released(store: Store, claim: Claim) -> State:
    with store.writing() as tx:
        return claims.release(tx, claim)


def kinds(store: Store, experiment_id: int) -> list[str]:
    with store.reading() as tx:
        return [event.kind for event in events.read(tx, experiment_id)]


def everything(store: Store) -> list[object]:
    with store.reading() as tx:
        return [tx.execute(text(f"SELECT * FROM {table}")).all() for table in ("experiments", "curve_rows", "events")]


# --- the queue


def test_the_queue_is_claimed_in_order_of_submission(store: Store) -> None:
    ids = [submitted(store) for _ in range(5)]
    assert [claimed(store).experiment_id for _ in ids] == ids


def test_a_point_of_priority_is_worth_an_hour_of_waiting(store: Store) -> None:
    plain, urgent, idle = submitted(store), submitted(store, priority=1), submitted(store, priority=-1)
    with store.writing() as tx:  # the one of low priority has waited for two hours
        tx.execute(text(f"UPDATE experiments SET rank = rank - 2 * 3600000 WHERE id = {idle}"))
    assert [claimed(store).experiment_id for _ in range(3)] == sorted(
        [plain, urgent, idle], key=lambda one: seen_now(store, one).rank
    )
    assert [seen_now(store, one).state for one in (plain, urgent, idle)] == [State.RUNNING] * 3


def test_a_claim_of_an_empty_queue_is_none(store: Store) -> None:
    worker_id = a_worker(store)
    with store.writing() as tx:
        assert claims.claim(tx, worker_id, MINUTE) is None


def test_a_claim_tells_its_worker_all_it_needs(store: Store) -> None:
    experiment_id = submitted(store, seed=5)
    worker_id = a_worker(store)
    claim = claimed(store, worker_id=worker_id)
    assert (claim.experiment_id, claim.attempt, claim.worker_id) == (experiment_id, 1, worker_id)
    assert claim.spec.seed == 5
    experiment = seen_now(store, experiment_id)
    assert claim.folder == f"{experiment_id}-{experiment.created_ms}"
    assert (experiment.state, experiment.attempt, experiment.worker_id) == (State.RUNNING, 1, worker_id)
    assert experiment.started_ms is not None
    assert experiment.lease_until_ms is not None
    assert MINUTE - 1000 <= experiment.lease_until_ms - experiment.started_ms <= MINUTE


def test_sixteen_threads_claim_each_of_100_experiments_exactly_once(store: Store) -> None:
    ids = [submitted(store) for _ in range(100)]
    worker_ids = [a_worker(store, pid=pid) for pid in range(16)]
    ready = threading.Barrier(16)

    def drain(worker_id: int) -> list[int]:
        ready.wait()
        mine = []
        while True:
            with store.writing() as tx:
                claim = claims.claim(tx, worker_id, MINUTE)
            if claim is None:
                return mine
            assert claim.attempt == 1
            mine.append(claim.experiment_id)

    with ThreadPoolExecutor(16) as pool:
        taken = list(pool.map(drain, worker_ids))
    assert all(mine == sorted(mine) for mine in taken)
    assert sorted(chain(*taken)) == ids


def test_a_spec_that_this_worker_cannot_read_fails_and_does_not_stop_the_queue(store: Store) -> None:
    strange, plain = submitted(store), submitted(store)
    with store.writing() as tx:
        tx.execute(text('UPDATE experiments SET spec = \'{"of": "tomorrow"}\' WHERE id = :id'), {"id": strange})
    assert claimed(store).experiment_id == plain
    error = seen_now(store, strange).error
    assert error is not None
    assert "too old" in error.message


# --- the fence


@pytest.mark.parametrize("write", WRITES)
def test_a_worker_whose_experiment_was_taken_over_writes_nothing(store: Store, write: str) -> None:
    submitted(store)
    stale = claimed(store, lease_ms=ENDED)
    written(store, stale, result(1))
    expired(store)
    current = claimed(store)
    before = everything(store)
    with pytest.raises(ClaimLost), store.writing() as tx:
        WRITES[write](tx, stale)
    assert everything(store) == before
    with store.writing() as tx:
        WRITES[write](tx, current)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("ending", ["expired", "finished", "cancelled", "released"])
def test_a_worker_that_holds_nothing_any_more_writes_nothing(store: Store, write: str, ending: str) -> None:
    submitted(store)
    claim = claimed(store, lease_ms=ENDED)
    with store.writing() as tx:
        match ending:
            case "expired":
                claims.expire(tx, 5)
            case "finished":
                claims.finish(tx, claim, None, State.FAILED, ExperimentError(ErrorKind.INTERNAL, "ours"))
            case "cancelled":
                wishes.ask(tx, claim.experiment_id, Ask.CANCEL)
                assert claims.release(tx, claim) is State.CANCELLED
            case "released":
                claims.release(tx, claim)
    before = everything(store)
    with pytest.raises(ClaimLost), store.writing() as tx:
        WRITES[write](tx, claim)
    assert everything(store) == before


def test_a_heartbeat_moves_the_lease_and_nothing_that_a_user_sees(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store, lease_ms=1000)
    before = seen_now(store, experiment_id)
    with store.writing() as tx:
        assert claims.renew(tx, claim, MINUTE) is None
    after = seen_now(store, experiment_id)
    assert after.revision == before.revision
    assert after.lease_until_ms is not None
    assert before.lease_until_ms is not None
    assert after.lease_until_ms > before.lease_until_ms


def test_a_heartbeat_and_a_row_tell_the_wish(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    assert written(store, claim, result(1)) is None
    cancelled(store, experiment_id)
    assert written(store, claim, result(2)) is Wish.CANCEL
    with store.writing() as tx:
        assert claims.renew(tx, claim, MINUTE) is Wish.CANCEL


# --- rows and ends


def test_a_row_is_a_visible_step_forward(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    before = seen_now(store, experiment_id).revision
    written(store, claim, result(2))
    after = seen_now(store, experiment_id)
    assert (after.epochs_done, after.revision) == (2, before + 1)
    written(store, claim, result(1))
    assert seen_now(store, experiment_id).epochs_done == 2


def test_the_same_row_again_is_harmless(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    for seconds in (1.0, 2.0):
        written(store, claim, result(1, seconds=seconds))
    with store.reading() as tx:
        head, rows = curves.read(tx, experiment_id)
    assert rows == [result(1, seconds=1.0)]
    assert head.replay_mismatch_from is None


def test_a_row_that_differs_from_the_one_that_stands_is_recorded_and_not_written(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    for epoch in (1, 2, 3):
        written(store, claim, result(epoch))
    released(store, claim)
    again = claimed(store)
    written(store, again, result(1))
    for epoch in (2, 3):
        written(store, again, result(epoch, base_in_domain=7))
    with store.reading() as tx:
        head, rows = curves.read(tx, experiment_id)
    assert rows == [result(1), result(2), result(3)]
    assert head.replay_mismatch_from == 2
    assert kinds(store, experiment_id).count("replay_mismatch") == 1


def test_an_earlier_mismatch_replaces_a_later_one(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    for epoch in (1, 2):
        written(store, claim, result(epoch))
    for epoch in (2, 1):
        written(store, claim, result(epoch, train_loss=9.0))
    assert seen_now(store, experiment_id).replay_mismatch_from == 1


def test_the_last_row_and_the_end_come_together(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    with store.writing() as tx:
        claims.finish(tx, claim, result(3), State.SUCCEEDED, None)
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
    before = everything(store)
    with suppress(ZeroDivisionError), store.writing() as tx:
        claims.finish(tx, claim, result(3), State.SUCCEEDED, None)
        raise ZeroDivisionError
    assert everything(store) == before
    assert seen_now(store, experiment_id).state is State.RUNNING


def test_a_diverged_experiment_fails_at_the_epoch_of_its_row(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    error = ExperimentError(ErrorKind.DIVERGED, "the loss is nan in epoch 2")
    with store.writing() as tx:
        claims.finish(tx, claim, result(2, train_loss=float("nan")), State.FAILED, error)
    experiment = seen_now(store, experiment_id)
    assert (experiment.state, experiment.diverged_at, experiment.error) == (State.FAILED, 2, error)


def test_a_failure_without_a_row_keeps_its_sentence_and_traceback_whatever_is_in_them(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    with store.writing() as tx:
        error = ExperimentError(ErrorKind.BAD_DATA, "cat\udcff\0.png is no image", "Traceback\0")
        claims.finish(tx, claim, None, State.FAILED, error)
    kept = seen_now(store, experiment_id).error
    assert kept == ExperimentError(ErrorKind.BAD_DATA, "cat?\ufffd.png is no image", "Traceback\ufffd")


def test_an_experiment_that_finishes_first_stays_succeeded(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    cancelled(store, experiment_id)
    with store.writing() as tx:
        claims.finish(tx, claim, result(3), State.SUCCEEDED, None)
    experiment = seen_now(store, experiment_id)
    assert (experiment.state, experiment.requested) == (State.SUCCEEDED, None)


def test_a_worker_that_leaves_gives_its_experiment_back_to_its_old_place(store: Store) -> None:
    first, second = submitted(store), submitted(store)
    before = seen_now(store, first)
    assert released(store, claimed(store)) is State.QUEUED
    after = seen_now(store, first)
    assert (after.rank, after.failures, after.attempt, after.worker_id) == (before.rank, 0, 1, None)
    assert [claimed(store).experiment_id for _ in range(2)] == [first, second]
    assert seen_now(store, first).attempt == 2


def test_a_second_claim_keeps_the_time_of_the_first_start(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    started = seen_now(store, experiment_id).started_ms
    released(store, claim)
    claimed(store)
    assert seen_now(store, experiment_id).started_ms == started


@pytest.mark.parametrize(("wish", "state"), [("cancel", State.CANCELLED), ("pause", State.PAUSED)])
@pytest.mark.parametrize("way", ["release", "expire"])
def test_a_pending_wish_comes_true_however_the_worker_goes(store: Store, wish: str, state: State, way: str) -> None:
    experiment_id = submitted(store)
    claim = claimed(store, lease_ms=ENDED)
    with store.writing() as tx:
        tx.execute(text("UPDATE experiments SET requested = :wish"), {"wish": wish})
        match way:
            case "release":
                assert claims.release(tx, claim) is state
            case "expire":
                assert claims.expire(tx, 1) == 1
    experiment = seen_now(store, experiment_id)
    assert (experiment.state, experiment.requested, experiment.failures) == (state, None, 0)
    assert (experiment.ended_ms is not None) == (state is State.CANCELLED)


# --- leases


def test_leases_of_many_are_taken_back_by_the_hundred(store: Store) -> None:
    """A pass that took as long as an outage would be taken for one, and rolled back for ever."""
    worker_id = a_worker(store)
    for seed in range(101):
        submitted(store, seed=seed)
        claimed(store, worker_id=worker_id, lease_ms=ENDED)
    assert [expired(store), expired(store), expired(store)] == [100, 1, 0]


def test_a_lease_that_lasts_is_left_alone(store: Store) -> None:
    submitted(store)
    claimed(store)
    assert expired(store) == 0


def test_a_lost_experiment_goes_to_the_back_of_the_queue(store: Store) -> None:
    lost, other = submitted(store), submitted(store)
    claimed(store, lease_ms=ENDED)
    assert expired(store) == 1
    experiment = seen_now(store, lost)
    assert (experiment.state, experiment.failures, experiment.worker_id) == (State.QUEUED, 1, None)
    assert kinds(store, lost)[-1] == "lease_lost"
    assert [claimed(store).experiment_id for _ in range(2)] == [other, lost]
    assert expired(store) == 0


def test_a_lost_experiment_keeps_its_priority(store: Store) -> None:
    lost, _plain = submitted(store, priority=5), submitted(store)
    claimed(store, lease_ms=ENDED)
    expired(store)
    assert claimed(store).experiment_id == lost


def test_an_experiment_that_kills_every_worker_ends_as_lost_and_tells_its_history(store: Store) -> None:
    experiment_id = submitted(store)
    for attempt in range(1, 4):
        claimed(store, lease_ms=ENDED, worker_id=a_worker(store, pid=attempt))
        expired(store, max_failures=3)
    experiment = seen_now(store, experiment_id)
    assert (experiment.state, experiment.failures, experiment.attempt) == (State.FAILED, 3, 3)
    assert experiment.error is not None
    assert experiment.error.kind is ErrorKind.LOST
    assert "lost 3 times" in experiment.error.message
    assert "gpu1:3" in experiment.error.message
    assert experiment.ended_ms is not None


def test_two_reconcilers_at_once_count_one_failure(store: Store) -> None:
    ids = [submitted(store) for _ in range(20)]
    for _ in ids:
        claimed(store, lease_ms=ENDED)
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: expired(store), range(4))) == 20
    assert {seen_now(store, one).failures for one in ids} == {1}


def test_every_row_of_the_table_of_states_and_no_other_can_be_moved(store: Store) -> None:
    experiment_id = submitted(store)
    for origin in State:
        for to in State:
            if to in MOVES[origin]:
                continue
            with pytest.raises(NotAllowed, match=clause(origin)), store.writing() as tx:
                experiments.move(tx, experiment_id, 0, origin, to)


def test_a_move_from_a_state_that_has_passed_is_refused(store: Store) -> None:
    experiment_id = submitted(store)
    cancelled(store, experiment_id)
    with pytest.raises(ClaimLost), store.writing() as tx:
        experiments.move(tx, experiment_id, 0, State.QUEUED, State.PAUSED)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # it is Python that could break
def test_a_queue_full_of_what_only_a_newer_worker_knows_is_passed_over(store: Store) -> None:
    with store.writing() as tx:
        ids = [experiments.submit(tx, spec()).id for _ in range(1200)]
        tx.execute(text(f"""UPDATE experiments SET spec = '{{"unknown": 1}}' WHERE id < {ids[-1]}"""))
    assert claimed(store).experiment_id == ids[-1]
    refused = seen_now(store, ids[0])
    assert refused.state is State.FAILED
    assert refused.error is not None
    assert "upgrade Ballast on its host" in refused.error.message
