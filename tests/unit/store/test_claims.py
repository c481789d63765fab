"""The queue: who is next, and nobody twice."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest
from sqlalchemy import text

from core.states import State
from core.store import claims, experiments, sweeps, workers
from core.store.outlook import outlook
from core.store.session import Store
from tests.unit.store.builders import MINUTE, a_worker, claimed, released, seen_now, spec, submitted


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

    def claim_all(worker_id: int) -> list[int]:
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
        taken = list(pool.map(claim_all, worker_ids))
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


TF32: dict[str, Any] = {"precision": "tf32"}
NO_GPU = "no worker with a GPU is alive, and it may train on nothing else: `ballast worker --devices all` starts some"


def claimed_on(store: Store, worker_id: int, device_kind: str) -> int | None:
    with store.writing() as tx:
        claim = claims.claim(tx, worker_id, MINUTE, device_kind)
    return None if claim is None else claim.experiment_id


def on_gpu(store: Store) -> int:
    with store.writing() as tx:
        return workers.register(tx, "gpu1", 43, "cuda:0", "NVIDIA H100")


def waits_for(store: Store, experiment_id: int) -> str | None:
    with store.reading() as tx:
        return outlook(tx, [experiments.get(tx, experiment_id)])[0].waiting_because


def test_a_cpu_passes_over_what_only_a_gpu_computes_and_leaves_it_queued(store: Store) -> None:
    cpu, gpu = a_worker(store), on_gpu(store)
    first, plain, bf16, second = (submitted(store, **fields) for fields in (TF32, {}, {"precision": "bf16"}, TF32))
    assert claimed_on(store, cpu, "cpu") == plain
    assert claimed_on(store, gpu, "NVIDIA H100") == first
    assert claimed_on(store, cpu, "cpu") == bf16
    assert claimed_on(store, cpu, "cpu") is None
    waiting = seen_now(store, second)
    assert (waiting.state, waiting.attempt, waiting.error) == (State.QUEUED, 0, None)
    assert claimed_on(store, gpu, "NVIDIA H100") == second


def test_a_gpu_takes_the_head_of_the_queue_whatever_it_is(store: Store) -> None:
    gpu, ids = on_gpu(store), [submitted(store), submitted(store, **TF32)]
    assert [claimed_on(store, gpu, "NVIDIA H100") for _ in ids] == ids


def test_a_name_that_looks_like_a_precision_is_only_a_name(store: Store) -> None:
    named = submitted(store, name='"precision":"tf32"')
    assert claimed_on(store, a_worker(store), "cpu") == named


def test_why_what_needs_a_gpu_waits(store: Store) -> None:
    of_a_gpu, plain = submitted(store, **TF32), submitted(store)
    assert waits_for(store, of_a_gpu) == "no worker is alive: start one with `ballast worker`, unless one is starting"
    a_worker(store)
    assert waits_for(store, of_a_gpu) == NO_GPU
    assert waits_for(store, plain) == "it is the next in the queue"  # for a CPU
    on_gpu(store)
    assert waits_for(store, of_a_gpu) == "it is the next in the queue"


def test_a_sweep_that_needs_a_gpu_says_so(store: Store) -> None:
    a_worker(store)
    with store.writing() as tx:
        sweep_id = sweeps.submit(tx, [], [spec(**TF32), spec(seed=1, **TF32)])
        assert sweeps.get(tx, sweep_id).waiting_because == NO_GPU


def test_a_second_claim_keeps_the_time_of_the_first_start(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    started = seen_now(store, experiment_id).started_ms
    released(store, claim)
    claimed(store)
    assert seen_now(store, experiment_id).started_ms == started


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
