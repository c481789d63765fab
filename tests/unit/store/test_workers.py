"""Workers: registered, seen, marked dead; and whose a SQLite file is."""

import pytest
from sqlalchemy import text

from core.states import WorkerState
from core.store import schema, workers
from core.store.errors import OtherHost
from core.store.session import Store
from tests.unit.store.builders import a_worker

AT_ONCE = -1  # silent for less than no time


def states(store: Store) -> dict[int, WorkerState]:
    with store.reading() as tx:
        return {worker.id: worker.state for worker in workers.all_workers(tx, 500)}


def marked_dead(store: Store, silent_ms: int) -> list[int]:
    with store.writing() as tx:
        return workers.mark_dead(tx, silent_ms)


def says(store: Store, worker_id: int, state: WorkerState, experiment_id: int | None = None) -> None:
    with store.writing() as tx:
        workers.report(tx, worker_id, state, experiment_id)


def test_a_new_worker_is_idle_and_seen(store: Store) -> None:
    worker_id = a_worker(store, "gpu1", 42)
    with store.reading() as tx:
        (worker,) = workers.all_workers(tx, 10)
    assert (worker.id, worker.host, worker.pid, worker.device) == (worker_id, "gpu1", 42, "cpu")
    assert (worker.state, worker.experiment_id) == (WorkerState.IDLE, None)
    assert worker.started_ms == worker.seen_ms > 1_700_000_000_000


def test_a_worker_says_on_what_kind_of_device_it_trains(store: Store) -> None:
    with store.writing() as tx:
        workers.register(tx, "gpu1", 42, "cuda:3", "NVIDIA H100 80GB HBM3")
    with store.reading() as tx:
        (worker,) = workers.all_workers(tx, 10)
    assert (worker.device, worker.device_kind) == ("cuda:3", "NVIDIA H100 80GB HBM3")


def test_a_worker_says_what_it_does(store: Store) -> None:
    worker_id = a_worker(store)
    says(store, worker_id, WorkerState.BUSY, 7)
    with store.reading() as tx:
        (worker,) = workers.all_workers(tx, 10)
    assert (worker.state, worker.experiment_id) == (WorkerState.BUSY, 7)


def test_a_silent_worker_is_marked_dead_once_and_lives_again_when_it_is_seen(store: Store) -> None:
    worker_id = a_worker(store)
    says(store, worker_id, WorkerState.BUSY, 7)
    assert marked_dead(store, 60_000) == []
    assert marked_dead(store, AT_ONCE) == [worker_id]
    assert marked_dead(store, AT_ONCE) == []
    assert states(store) == {worker_id: WorkerState.DEAD}
    says(store, worker_id, WorkerState.IDLE)
    assert states(store) == {worker_id: WorkerState.IDLE}


def test_a_worker_that_left_in_order_is_not_dead(store: Store) -> None:
    worker_id = a_worker(store)
    says(store, worker_id, WorkerState.GONE)
    assert marked_dead(store, AT_ONCE) == []
    assert states(store) == {worker_id: WorkerState.GONE}


def test_those_alive_are_listed_first_and_then_the_newest(store: Store) -> None:
    first, gone, busy, newest = (a_worker(store, pid=pid) for pid in range(4))
    says(store, gone, WorkerState.GONE)
    says(store, busy, WorkerState.BUSY, 1)
    assert list(states(store)) == [newest, busy, first, gone]
    with store.reading() as tx:
        assert [worker.id for worker in workers.all_workers(tx, 2)] == [newest, busy]


@pytest.fixture
def file(store: Store) -> Store:
    if store.dialect != "sqlite":
        pytest.skip("PostgreSQL belongs to all hosts")
    return store


def adopt(store: Store, machine: str) -> None:
    with store.writing() as tx:
        schema.adopt(tx, machine, f"host of {machine}")


def test_a_file_belongs_to_the_machine_that_first_opens_it(file: Store) -> None:
    adopt(file, "a")
    adopt(file, "a")
    a_worker(file)
    adopt(file, "a")
    with pytest.raises(OtherHost, match=r"host of a.*PostgreSQL"):
        adopt(file, "b")


def test_a_file_that_was_copied_to_another_machine_is_adopted_by_it(file: Store) -> None:
    adopt(file, "a")
    gone = a_worker(file, "a", 1)
    a_worker(file, "a", 2)
    says(file, gone, WorkerState.GONE)
    with file.writing() as tx:
        tx.execute(text("UPDATE workers SET seen_ms = seen_ms - 61000 WHERE pid = 2"))
    adopt(file, "b")
    a_worker(file, "b", 1)
    with pytest.raises(OtherHost, match="host of b"):
        adopt(file, "a")


def test_a_postgresql_belongs_to_all_hosts(store: Store) -> None:
    if store.dialect == "sqlite":
        pytest.skip("SQLite is for one host")
    a_worker(store)
    adopt(store, "a")
    adopt(store, "b")
