"""Leases and the fence: who may write, and what becomes of an experiment whose worker is gone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, text

from core.states import Ask, ErrorKind, State, Wish
from core.store import attempts, leases, wishes
from core.store.errors import ClaimLost
from core.store.experiments import ExperimentError
from core.store.leases import Claim
from core.store.session import Store
from tests.unit.store.builders import (
    ENDED,
    MINUTE,
    a_worker,
    all_rows,
    cancelled,
    claimed,
    event_kinds,
    expired,
    recorded,
    released,
    result,
    seen_now,
    submitted,
)

WRITES: dict[str, Callable[[Connection, Claim], object]] = {
    "renew": lambda tx, claim: leases.renew(tx, claim, MINUTE),
    "record": lambda tx, claim: attempts.record(tx, claim, result(2)),
    "finish": lambda tx, claim: attempts.finish(tx, claim, result(3), State.SUCCEEDED, None),
    "release": lambda tx, claim: leases.release(tx, claim),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_worker_whose_experiment_was_taken_over_writes_nothing(store: Store, write: str) -> None:
    submitted(store)
    stale = claimed(store, lease_ms=ENDED)
    recorded(store, stale, result(1))
    expired(store)
    current = claimed(store)
    before = all_rows(store)
    with pytest.raises(ClaimLost), store.writing() as tx:
        WRITES[write](tx, stale)
    assert all_rows(store) == before
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
                leases.expire(tx, 5)
            case "finished":
                attempts.finish(tx, claim, None, State.FAILED, ExperimentError(ErrorKind.INTERNAL, "ours"))
            case "cancelled":
                wishes.ask(tx, claim.experiment_id, Ask.CANCEL)
                assert leases.release(tx, claim) is State.CANCELLED
            case "released":
                leases.release(tx, claim)
    before = all_rows(store)
    with pytest.raises(ClaimLost), store.writing() as tx:
        WRITES[write](tx, claim)
    assert all_rows(store) == before


def test_a_heartbeat_moves_the_lease_and_nothing_that_a_user_sees(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store, lease_ms=1000)
    before = seen_now(store, experiment_id)
    with store.writing() as tx:
        assert leases.renew(tx, claim, MINUTE) is None
    after = seen_now(store, experiment_id)
    assert after.revision == before.revision
    assert after.lease_until_ms is not None
    assert before.lease_until_ms is not None
    assert after.lease_until_ms > before.lease_until_ms


def test_a_heartbeat_and_a_row_tell_the_wish(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    assert recorded(store, claim, result(1)) is None
    cancelled(store, experiment_id)
    assert recorded(store, claim, result(2)) is Wish.CANCEL
    with store.writing() as tx:
        assert leases.renew(tx, claim, MINUTE) is Wish.CANCEL


def test_a_worker_that_leaves_gives_its_experiment_back_to_its_old_place(store: Store) -> None:
    first, second = submitted(store), submitted(store)
    before = seen_now(store, first)
    assert released(store, claimed(store)) is State.QUEUED
    after = seen_now(store, first)
    assert (after.rank, after.failures, after.attempt, after.worker_id) == (before.rank, 0, 1, None)
    assert [claimed(store).experiment_id for _ in range(2)] == [first, second]
    assert seen_now(store, first).attempt == 2


@pytest.mark.parametrize(("wish", "state"), [("cancel", State.CANCELLED), ("pause", State.PAUSED)])
@pytest.mark.parametrize("way", ["release", "expire"])
def test_a_pending_wish_comes_true_however_the_worker_goes(store: Store, wish: str, state: State, way: str) -> None:
    experiment_id = submitted(store)
    claim = claimed(store, lease_ms=ENDED)
    with store.writing() as tx:
        tx.execute(text("UPDATE experiments SET requested = :wish"), {"wish": wish})
        match way:
            case "release":
                assert leases.release(tx, claim) is state
            case "expire":
                assert leases.expire(tx, 1) == 1
    experiment = seen_now(store, experiment_id)
    assert (experiment.state, experiment.requested, experiment.failures) == (state, None, 0)
    assert (experiment.ended_ms is not None) == (state is State.CANCELLED)


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
    assert event_kinds(store, lost)[-1] == "lease_lost"
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
