"""What is counted: of what there is, of what has been, and nothing of the dead."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, text

from core.states import DeviceType, ErrorKind, State, WorkerState
from core.store import attempts, experiments, metrics, tallies, workers
from core.store.errors import ClaimLost
from core.store.experiments import ExperimentError
from core.store.leases import Claim
from core.store.metrics import Facts, Gpu, Load, Queue
from core.store.session import Store
from core.store.slots import Slots
from core.store.tallies import Count, Tally
from core.store.workers import GpuUse
from core.tokens import WORKER
from tests.unit.store.builders import a_worker, cancelled, claimed, expired, recorded, released, result, spec, submitted

FULL = GpuUse(60_000, 81_559, 97)


def facts(store: Store) -> Facts:
    with store.reading() as tx:
        return metrics.facts(tx)


def queue(store: Store) -> Queue:
    with store.reading() as tx:
        return metrics.queue(tx)


def totals(store: Store) -> dict[tuple[Tally, ErrorKind | None], int]:
    with store.reading() as tx:
        return tallies.totals(tx)


def failed(store: Store, kind: ErrorKind) -> None:
    claim = claimed(store)
    with store.writing(WORKER) as tx:
        attempts.finish(tx, claim, None, State.FAILED, ExperimentError(kind, "it is so"))


def test_the_queue_by_owner_and_device(store: Store) -> None:
    for owner, device, count in (("bob", DeviceType.GPU, 2), ("alice", DeviceType.ANY, 3)):
        with store.writing(owner) as tx:
            for seed in range(count):
                experiments.submit(tx, spec(seed=seed), device=device)
    claimed(store)
    with store.writing() as tx:
        tx.execute(text("UPDATE experiments SET requeued_ms = requeued_ms - 3600000 WHERE device = 'gpu'"))
        tx.execute(text("UPDATE experiments SET state = 'paused' WHERE id = (SELECT max(id) FROM experiments)"))
    seen = queue(store)
    assert (seen.paused, seen.slots) == (1, Slots(1, 0))
    alice, bob = seen.loads
    assert (alice.owner, alice.device, alice.queued, alice.running) == ("alice", DeviceType.ANY, 1, 1)
    assert (bob.owner, bob.device, bob.queued, bob.running) == ("bob", DeviceType.GPU, 2, 0)
    assert alice.oldest_seconds is not None
    assert 0 <= alice.oldest_seconds < 60
    assert bob.oldest_seconds is not None
    assert 3600 <= bob.oldest_seconds < 3660
    assert metrics.oldest(seen.loads) == bob.oldest_seconds
    assert metrics.oldest([Load("a", DeviceType.ANY, 0, 1, None)]) is None


def test_workers_are_counted_while_they_are_alive(store: Store) -> None:
    ids = [a_worker(store, pid=pid) for pid in range(4)]
    with store.writing() as tx:
        workers.report(tx, ids[0], WorkerState.BUSY, None)
        workers.report(tx, ids[1], WorkerState.GONE, None)
        tx.execute(text(f"UPDATE workers SET seen_ms = seen_ms - 61000 WHERE id = {ids[2]}"))
    assert facts(store).workers == {(WorkerState.BUSY, "cpu"): 1, (WorkerState.IDLE, "cpu"): 1}


def test_a_gpu_is_as_the_last_of_its_workers_has_seen_it_and_goes_with_them(store: Store) -> None:
    with store.writing() as tx:
        first, second = (workers.register(tx, "h", pid, "cuda:0", "NVIDIA H100") for pid in (1, 2))
        workers.report_gpu(tx, first, GpuUse(1, 2, 3))
        workers.report_gpu(tx, second, FULL)
        tx.execute(text(f"UPDATE workers SET seen_ms = seen_ms - 1000 WHERE id = {first}"))
    assert facts(store).gpus == [Gpu("h", "cuda:0", FULL)]
    with store.reading() as tx:
        assert [each.gpu for each in workers.all_workers(tx, 9)] == [FULL, GpuUse(1, 2, 3)]
    with store.writing() as tx:
        workers.report_gpu(tx, first, None)
        workers.report(tx, second, WorkerState.GONE, None)
    assert facts(store).gpus == []


def test_the_epoch_of_what_runs_is_the_median(store: Store) -> None:
    for seed, seconds in enumerate((1.0, 2.0, 30.0)):
        submitted(store, seed=seed)
        claim = claimed(store)
        with store.writing(WORKER) as tx:
            attempts.record(tx, claim, result(1), seconds)
    assert facts(store).epoch_seconds == {"cpu": 2.0}


def test_epochs_and_images_are_those_of_the_rows_that_are_recorded(store: Store) -> None:
    submitted(store, epochs=7, eval_every=3)
    claim = claimed(store)
    for epoch in (3, 6):
        recorded(store, claim, result(epoch))
    assert totals(store) == {(Tally.EPOCHS, None): 6, (Tally.IMAGES, None): 600}
    with store.writing(WORKER) as tx:
        attempts.finish(tx, claim, result(7), State.SUCCEEDED)
    assert totals(store) == {(Tally.EPOCHS, None): 7, (Tally.IMAGES, None): 700}


def test_failures_are_counted_by_kind_and_lost_leases_too(store: Store) -> None:
    for _ in range(3):
        submitted(store)
    failed(store, ErrorKind.DIVERGED)
    failed(store, ErrorKind.DIVERGED)
    claimed(store, lease_ms=-1)
    expired(store)
    claimed(store, lease_ms=-1)
    expired(store, max_failures=2)
    assert totals(store) == {
        (Tally.FAILURES, ErrorKind.DIVERGED): 2,
        (Tally.FAILURES, ErrorKind.LOST): 1,
        (Tally.LEASES_LOST, None): 2,
    }


def test_a_spec_that_a_worker_cannot_read_is_a_failure(store: Store) -> None:
    submitted(store)
    submitted(store)
    with store.writing() as tx:
        tx.execute(text("""UPDATE experiments SET spec = '{"of": "tomorrow"}' WHERE id = 1"""))
    claimed(store)
    assert totals(store) == {(Tally.FAILURES, ErrorKind.INTERNAL): 1}


def test_a_write_that_is_refused_counts_nothing_of_what_it_would_have_written(store: Store) -> None:
    submitted(store)
    claim = claimed(store)
    released(store, claim)
    with pytest.raises(ClaimLost):
        recorded(store, claim, result(1))
    assert totals(store) == {}


def test_nothing_falls_when_experiments_are_deleted(store: Store) -> None:
    experiment_id = submitted(store)
    recorded(store, claimed(store, lease_ms=-1), result(1))
    expired(store)
    before = totals(store)
    assert len(before) == 3
    cancelled(store, experiment_id)
    with store.writing() as tx:
        experiments.remove(tx, experiment_id)
    assert totals(store) == before


def test_many_that_count_at_once_wait_for_nobody_and_lose_nothing(store: Store) -> None:
    """Epochs of eight workers, while their leases are taken back too."""
    for seed in range(8):
        submitted(store, seed=seed, epochs=100)
    held = [claimed(store) for _ in range(8)]
    lost = [submitted(store, seed=seed) for seed in range(8, 12)]
    for claim in held[:4]:  # of the same workers: what a reconciler counts is theirs
        claimed(store, worker_id=claim.worker_id, lease_ms=-1)
    ready = threading.Barrier(9)

    def train(claim: Claim) -> None:
        ready.wait()
        for epoch in range(1, 21):
            recorded(store, claim, result(epoch))

    def reconcile(_: object) -> None:
        ready.wait()
        assert expired(store) == len(lost)

    with ThreadPoolExecutor(9) as pool:
        done = [pool.submit(train, claim) for claim in held] + [pool.submit(reconcile, None)]
        for each in done:
            each.result()
    assert totals(store) == {(Tally.EPOCHS, None): 160, (Tally.IMAGES, None): 16_000, (Tally.LEASES_LOST, None): 4}


def test_what_only_a_newer_ballast_counts_is_left_out(store: Store) -> None:
    with store.writing() as tx:
        tallies.add(tx, [Count(1, Tally.EPOCHS, 2), Count(2, Tally.EPOCHS, 3)])
        tx.execute(text("INSERT INTO tallies VALUES (1, 'streams', '', 7), (1, 'failures', 'odd', 7)"))
    assert totals(store) == {(Tally.EPOCHS, None): 5}


def test_a_scrape_asks_a_few_statements_however_much_there_is(store: Store) -> None:
    for seed in range(20):
        submitted(store, seed=seed)
    asked: list[str] = []
    with store.reading() as tx:
        event.listen(tx, "before_cursor_execute", lambda _c, _cursor, statement, *_: asked.append(statement))
        metrics.facts(tx)
    assert len(asked) == 6
