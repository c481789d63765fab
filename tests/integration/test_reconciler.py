"""Heartbeat, reconciler and loop, called by hand on real stores: who holds a lease, who loses it, who must stop."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from core.settings import Settings
from core.states import State, Wish, WorkerState
from core.store import workers
from core.store.files import Files
from core.store.leases import Claim
from core.store.session import Store
from tests.integration.hosts import settings_of
from tests.servers import wait_until
from tests.unit.store.builders import ENDED, a_worker, cancelled, claimed, expired, seen_now, submitted
from worker.heartbeat import Heartbeat
from worker.held import Held
from worker.leave import Leave
from worker.loop import Loop
from worker.reconciler import Reconciler
from worker.runner import Runner
from worker.threads import every

LEASE = 3.0
BEAT = 0.5


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return settings_of(tmp_path / "home", database_url=database_url, heartbeat_seconds=BEAT, lease_seconds=LEASE)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Passes:
    """A reconciler whose clock the test moves."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._clock = Clock()
        self._reconciler = Reconciler(store, settings, self._clock)

    def after(self, seconds: float) -> None:
        """One pass, so much later."""
        self._clock.now += seconds
        self._reconciler.reconcile()

    def every_beat_for(self, seconds: float) -> None:
        for _ in range(round(seconds / BEAT)):
            self.after(BEAT)


def lost(store: Store) -> Claim:
    """A claim whose lease has ended."""
    submitted(store)
    return claimed(store, lease_ms=ENDED)


def state(store: Store, claim: Claim) -> State:
    return seen_now(store, claim.experiment_id).state


def the_worker(store: Store) -> workers.Worker:
    with store.reading() as tx:
        (worker,) = workers.all_workers(tx, 2)
    return worker


# --- the reconciler


def test_a_lease_that_has_ended_is_taken_back(store: Store, settings: Settings) -> None:
    passes = Passes(store, settings)
    passes.every_beat_for(LEASE)
    claim = lost(store)
    passes.after(BEAT)
    assert state(store, claim) is State.QUEUED
    assert seen_now(store, claim.experiment_id).failures == 1


def test_a_new_process_waits_for_one_lease(store: Store, settings: Settings) -> None:
    claim = lost(store)
    passes = Passes(store, settings)
    passes.every_beat_for(LEASE - BEAT)
    assert state(store, claim) is State.RUNNING
    passes.after(BEAT)
    assert state(store, claim) is State.QUEUED


def test_after_a_gap_it_waits_for_one_lease(store: Store, settings: Settings) -> None:
    passes = Passes(store, settings)
    passes.every_beat_for(2 * LEASE)
    claim = lost(store)
    passes.after(60)
    passes.every_beat_for(LEASE - BEAT)
    assert state(store, claim) is State.RUNNING
    passes.after(BEAT)
    assert state(store, claim) is State.QUEUED


@pytest.mark.parametrize(("beat", "lease"), [(5, 20), (0.5, 3), (5, 8), (1, 60)])
def test_every_gap_that_could_cost_a_living_worker_its_lease_is_noticed(
    beat: float, lease: float, store: Store, settings: Settings
) -> None:
    """It renewed a beat before the gap, and renews a beat after it."""
    settings = settings.model_copy(update={"heartbeat_seconds": beat, "lease_seconds": lease})
    clock = Clock()
    reconciler = Reconciler(store, settings, clock)
    for _ in range(round(lease / beat) + 2):  # the patience of a new process is over
        clock.now += beat
        reconciler.reconcile()
    clock.now += max(lease - 2 * beat, 2 * beat) + 0.1
    claim = lost(store)
    reconciler.reconcile()
    assert state(store, claim) is State.RUNNING


@pytest.mark.parametrize(("beat", "lease"), [(5, 20), (5, 8), (5, 5)])
def test_ordinary_passes_are_no_gaps(beat: float, lease: float, store: Store, settings: Settings) -> None:
    settings = settings.model_copy(update={"heartbeat_seconds": beat, "lease_seconds": lease})
    clock = Clock()
    reconciler = Reconciler(store, settings, clock)
    claim = lost(store)
    for _ in range(6):
        clock.now += beat + 0.5
        reconciler.reconcile()
    assert state(store, claim) is State.QUEUED


def test_who_was_silent_for_a_lease_is_dead_and_who_speaks_again_lives(store: Store, settings: Settings) -> None:
    passes = Passes(store, settings)
    worker_id = a_worker(store)
    with store.writing() as tx:
        tx.execute(text(f"UPDATE workers SET seen_ms = seen_ms - {round(LEASE * 1000) + 1}"))
    passes.every_beat_for(LEASE)
    assert the_worker(store).state is WorkerState.DEAD
    Heartbeat(store, settings, worker_id, Leave()).beat()
    assert the_worker(store).state is WorkerState.IDLE


# --- the heartbeat


def beating(store: Store, settings: Settings, leave: Leave | None = None) -> tuple[Heartbeat, Held]:
    """The heartbeat of a worker that holds a claim."""
    leave = leave or Leave()
    submitted(store)
    worker_id = a_worker(store)
    claim = claimed(store, worker_id=worker_id, lease_ms=ENDED)
    heartbeat = Heartbeat(store, settings, worker_id, leave)
    heartbeat.held = Held(claim, leave)
    return heartbeat, heartbeat.held


def test_a_beat_renews_the_lease_and_says_what_the_worker_does(store: Store, settings: Settings) -> None:
    heartbeat, held = beating(store, settings)
    heartbeat.beat()
    assert expired(store) == 0
    assert not held.must_stop()
    assert the_worker(store).state is WorkerState.BUSY
    assert the_worker(store).experiment_id == held.claim.experiment_id


def test_training_must_stop_when_its_user_cancels_it(store: Store, settings: Settings) -> None:
    heartbeat, held = beating(store, settings)
    cancelled(store, held.claim.experiment_id)
    heartbeat.beat()
    assert held.wish is Wish.CANCEL
    assert held.must_stop()


def test_training_must_stop_when_its_claim_is_lost(store: Store, settings: Settings) -> None:
    heartbeat, held = beating(store, settings)
    assert expired(store) == 1
    heartbeat.beat()
    heartbeat.beat()
    assert held.lost
    assert held.must_stop()


def test_training_must_stop_when_the_worker_leaves(store: Store, settings: Settings) -> None:
    leave = Leave()
    heartbeat, held = beating(store, settings, leave)
    leave.begin()
    assert held.must_stop()
    heartbeat.beat()
    assert the_worker(store).state is WorkerState.LEAVING
    heartbeat.held = None
    heartbeat.beat_now()
    assert the_worker(store).state is WorkerState.GONE


def test_a_thread_outlives_what_nobody_has_foreseen() -> None:
    calls = []

    def action() -> None:
        calls.append(threading.current_thread())
        if len(calls) < 3:
            raise KeyError("a bug")

    every(0.01, "test", action)
    wait_until(lambda: len(calls) >= 3)


# --- loop


def loop_of(store: Store, settings: Settings) -> tuple[Loop, Heartbeat]:
    leave, worker_id = Leave(), a_worker(store)
    heartbeat = Heartbeat(store, settings, worker_id, leave)
    runner = Runner(store, Files(settings.checkpoint_url), settings, "cpu", "cpu")
    return Loop(store, settings, worker_id, leave, heartbeat, runner), heartbeat


DAMAGES: dict[str, Callable[[Store], str]] = {
    "before it can claim": lambda _: "ALTER TABLE experiments RENAME TO hidden",
    "before it can write a row": lambda _: "ALTER TABLE curve_rows RENAME TO hidden",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_loop_survives_a_damaged_database_and_holds_nothing_afterwards(
    damage: str, store: Store, settings: Settings
) -> None:
    loop, heartbeat = loop_of(store, settings)
    submitted(store, dataset={"name": "digits"}, model={"name": "mlp"})
    with store.writing() as tx:
        tx.execute(text(DAMAGES[damage](store)))
    loop.run_queued()
    assert heartbeat.held is None
    assert loop.wait_until_idle(0)
