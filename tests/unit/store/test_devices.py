"""On what an experiment may train: whoever may take it takes it, in its order, and nobody else."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from core.results import EpochResult
from core.states import Ask, DeviceType, State
from core.store import attempts, claims, experiments, extensions, leases, sweeps, wishes, workers
from core.store.checkpoints import Saved
from core.store.errors import WrongDevice
from core.store.leases import Claim
from core.store.moves import move
from core.store.outlook import outlook
from core.store.session import Store
from tests.unit.store.builders import MINUTE, result, spec

ANY, CPU, GPU = DeviceType
H100 = "NVIDIA H100"
TF32: dict[str, Any] = {"precision": "tf32"}
NO_GPU = "no worker with a GPU is alive, and it may train on nothing else: `ballast worker --devices all` starts some"
NO_CPU = "no worker on a CPU is alive, and it may train on nothing else: `ballast worker --devices cpu` starts some"


def submitted_for(store: Store, device: DeviceType, owner: str = "local", priority: int = 0, **fields: Any) -> int:
    with store.writing(owner) as tx:
        return experiments.submit(tx, spec(**fields), priority, device).id


def a_worker_on(store: Store, kind: str) -> int:
    with store.writing() as tx:
        return workers.register(tx, "here", 1, "cpu" if kind == "cpu" else "cuda:0", kind)


def claimed_on(store: Store, kind: str, worker_id: int | None = None) -> Claim | None:
    worker_id = worker_id or a_worker_on(store, kind)
    with store.writing("worker") as tx:
        return claims.claim(tx, worker_id, MINUTE, kind)


def taken_on(store: Store, kind: str) -> int | None:
    claim = claimed_on(store, kind)
    return None if claim is None else claim.experiment_id


def device_of(store: Store, experiment_id: int) -> DeviceType:
    with store.reading() as tx:
        return experiments.get(tx, experiment_id).device


def why(store: Store, *ids: int) -> list[str | None]:
    with store.reading() as tx:
        return [each.waiting_because for each in outlook(tx, [experiments.get(tx, each) for each in ids])]


def test_each_worker_takes_what_it_may_and_leaves_the_rest(store: Store) -> None:
    of_gpu, of_cpu, of_any = (submitted_for(store, device) for device in (GPU, CPU, ANY))
    assert taken_on(store, "cpu") == of_cpu
    assert taken_on(store, "cpu") == of_any
    assert taken_on(store, "cpu") is None
    assert taken_on(store, H100) == of_gpu
    assert taken_on(store, H100) is None


def test_what_no_cpu_computes_is_for_a_gpu_and_refused_for_a_cpu(store: Store) -> None:
    assert device_of(store, submitted_for(store, ANY, **TF32)) is GPU
    assert device_of(store, submitted_for(store, GPU, **TF32)) is GPU
    with pytest.raises(WrongDevice, match="no CPU computes in tf32"):
        submitted_for(store, CPU, **TF32)
    with pytest.raises(WrongDevice), store.writing() as tx:
        sweeps.submit(tx, [], [spec(), spec(**TF32)], device=CPU)


def test_a_retry_keeps_the_device(store: Store) -> None:
    experiment_id = submitted_for(store, GPU)
    for what in (Ask.CANCEL, Ask.RETRY):
        with store.writing() as tx:
            wishes.ask(tx, experiment_id, what)
    assert device_of(store, experiment_id) is GPU


def test_a_sweep_grows_for_the_device_that_it_was_submitted_for_unless_another_is_said(store: Store) -> None:
    with store.writing() as tx:
        sweep_id = sweeps.submit(tx, [], [spec()], device=GPU)
        sweeps.grow(tx, sweep_id, [], [], [spec(), spec(seed=1)])
        sweeps.grow(tx, sweep_id, [], [], [spec(), spec(seed=1), spec(seed=2)], device=CPU)
        assert sweeps.get(tx, sweep_id).device is GPU
        assert [each.device for each in experiments.members(tx, sweep_id, 9)] == [GPU, GPU, CPU]


def finished(store: Store, claim: Claim, last: EpochResult) -> None:
    with store.writing() as tx:
        saved = Saved(3, 0, 48, f"{claim.experiment_id}/3", "c" * 64, "{}", "cpu")
        attempts.record(tx, claim, result(1))
        attempts.record(tx, claim, result(2))
        attempts.finish(tx, claim, last, State.SUCCEEDED, saved=saved)


def test_what_goes_on_keeps_the_device_of_what_it_goes_on_from_unless_another_is_said(store: Store) -> None:
    with store.writing() as tx:
        sweep_id = sweeps.submit(tx, [], [spec()], device=CPU)
        sweeps.grow(tx, sweep_id, [], [], [spec(), spec(**TF32)], device=GPU)
    for kind in ("cpu", H100):
        claim = claimed_on(store, kind)
        assert claim is not None
        finished(store, claim, result(3))
    with store.writing() as tx:
        first, second = experiments.members(tx, sweep_id, 9)
        assert extensions.extend(tx, first.id, 6).device is CPU
        assert extensions.extend(tx, first.id, 7, device=GPU).device is GPU
        longer, _ = extensions.extend_sweep(tx, sweep_id, 8)
        assert [each.device for each in experiments.members(tx, longer, 9)] == [CPU, GPU]
        assert sweeps.get(tx, longer).device is CPU
        with pytest.raises(WrongDevice):
            extensions.extend(tx, second.id, 9, device=CPU)


def test_a_place_counts_only_what_is_before_it_where_it_may_go(store: Store) -> None:
    of_gpu = [submitted_for(store, GPU, seed=seed) for seed in range(3)]
    of_any, of_cpu = submitted_for(store, ANY), submitted_for(store, CPU)
    a_worker_on(store, H100)
    assert why(store, of_gpu[2], of_any, of_cpu) == ["2 before it in the queue", "3 before it in the queue", NO_CPU]
    a_worker_on(store, "cpu")
    assert why(store, of_gpu[2], of_any, of_cpu) == [
        "2 before it in the queue",
        "it is the next in the queue",
        "1 before it in the queue",
    ]
    with store.writing() as tx:
        tx.execute(text("UPDATE workers SET state = 'gone' WHERE kind != 'cpu'"))
    assert why(store, of_gpu[0], of_any) == [NO_GPU, "it is the next in the queue"]


def test_its_turn_comes_when_one_that_may_take_it_is_free(store: Store) -> None:
    """Three epochs each: a minute on the CPU, and on the GPU too."""
    held = {kind: submitted_for(store, device) for kind, device in (("cpu", CPU), (H100, GPU))}
    for kind in held:
        claim = claimed_on(store, kind)
        assert claim is not None
        with store.writing() as tx:
            attempts.record(tx, claim, result(1 if kind == "cpu" else 2), epoch_seconds=600.0)
    queued = [submitted_for(store, device) for device in (GPU, GPU, CPU, ANY)]
    assert why(store, *queued) == [
        "it is the next in the queue, and its turn comes in about 10 min",
        "1 before it in the queue, and its turn comes in about 40 min",
        "it is the next in the queue, and its turn comes in about 20 min",
        "1 before it in the queue, and its turn comes in about 50 min",
    ]


def test_a_sweep_counts_only_the_workers_that_may_train_it(store: Store) -> None:
    with store.writing() as tx:
        sweep_id = sweeps.submit(tx, [], [spec(seed=seed) for seed in range(3)], device=GPU)

    def seen() -> sweeps.Sweep:
        with store.reading() as tx:
            return sweeps.get(tx, sweep_id)

    for _ in range(3):
        cpu = a_worker_on(store, "cpu")
    assert seen().waiting_because == NO_GPU
    gpu = a_worker_on(store, H100)
    assert seen().waiting_because == "it is the next in the queue"
    claim = claimed_on(store, H100, gpu)
    assert claim is not None
    with store.writing() as tx:
        attempts.record(tx, claim, result(1), epoch_seconds=10.0)
    assert seen().eta_seconds == 80.0
    assert cpu
    with store.writing() as tx:
        leases.release(tx, claim)
        tx.execute(text("UPDATE workers SET state = 'gone' WHERE kind != 'cpu'"))
    assert (seen().waiting_because, seen().eta_seconds) == (NO_GPU, None)


@dataclass
class Model:
    """Of the queue: what is in it, and who has how many running."""

    queued: list[tuple[int, str, DeviceType, int]] = field(default_factory=list)  # id, owner, device, priority
    running: dict[int, str] = field(default_factory=dict)

    def admitted(self, slot: DeviceType) -> list[tuple[int, str, DeviceType, int]]:
        return [each for each in self.queued if each[2] in (ANY, slot)]


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("submit"),
            st.sampled_from(["alice", "bob", "carol"]),
            st.sampled_from(list(DeviceType)),
            st.integers(-1, 1),
            st.booleans(),
        ),
        st.tuples(st.just("claim"), st.sampled_from(["cpu", H100])),
        st.tuples(st.just("end"), st.integers(0, 9)),
    ),
    min_size=5,
    max_size=30,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_is_mixed_nobody_takes_what_it_may_not_nor_idles_and_the_oldest_is_first(
    store: Store, steps: list[tuple[Any, ...]]
) -> None:
    with store.writing() as tx:
        for table in ("events", "experiments", "workers", "owners"):
            tx.execute(text(f"DELETE FROM {table}"))
    on = {kind: a_worker_on(store, kind) for kind in ("cpu", H100)}
    model = Model()
    held: list[Claim] = []
    for step in steps:
        match step:
            case ("submit", owner, device, priority, tf32):
                of_a_gpu = tf32 and device is not CPU
                new = submitted_for(store, device, owner, priority, **(TF32 if of_a_gpu else {}))
                model.queued.append((new, owner, GPU if of_a_gpu else device, priority))
            case ("claim", kind):
                slot = CPU if kind == "cpu" else GPU
                claim = claimed_on(store, kind, on[kind])
                assert (claim is None) == (not model.admitted(slot))
                if claim is None:
                    continue
                held.append(claim)
                check_claim(model, slot, claim)
            case ("end", place) if place < len(held):
                claim = held.pop(place)
                del model.running[claim.experiment_id]
                with store.writing("worker") as tx:
                    move(tx, claim.experiment_id, claim.attempt, State.RUNNING, State.SUCCEEDED)


def check_claim(model: Model, slot: DeviceType, claim: Claim) -> None:
    admitted = model.admitted(slot)
    taken = next(each for each in admitted if each[0] == claim.experiment_id)
    _, owner, device, priority = taken
    owners = {each[1] for each in admitted}
    counts = {each: list(model.running.values()).count(each) for each in owners}
    assert counts[owner] == min(counts.values())
    alike = [each[0] for each in admitted if each[1:] == (owner, device, priority)]
    assert claim.experiment_id == min(alike)
    assert priority == max(each[3] for each in admitted if each[1] == owner)
    model.queued.remove(taken)
    model.running[claim.experiment_id] = owner
