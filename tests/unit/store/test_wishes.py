"""Every wish in every state, alone and for a whole sweep, on both databases; and wishes that race."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import func, select, update

from core.states import ENDED, MOVES, Ask, ErrorKind, State, Wish, clause
from core.store import attempts, claims, events, experiments, leases, sweeps, wishes
from core.store.errors import NotAllowed, NotFound
from core.store.experiments import Experiment, ExperimentError
from core.store.session import Store
from core.store.tables import experiments as table
from core.sweeps import SweepRequest, grids_and_specs
from tests.unit.store.builders import MINUTE, a_worker, claimed, result, seen_now, spec, submitted

REFUSED = None
SITUATIONS: dict[str, tuple[State, Wish | None]] = {
    "queued": (State.QUEUED, None),
    "running": (State.RUNNING, None),
    "pausing": (State.RUNNING, Wish.PAUSE),
    "cancelling": (State.RUNNING, Wish.CANCEL),
    "paused": (State.PAUSED, None),
    "succeeded": (State.SUCCEEDED, None),
    "failed": (State.FAILED, None),
    "diverged": (State.FAILED, None),
    "cancelled": (State.CANCELLED, None),
}
# api/README.md, "States", once more: what each wish makes of each situation.
OUTCOMES: dict[Ask, dict[str, str | None]] = {
    Ask.CANCEL: {
        "queued": "cancelled",
        "running": "cancelling",
        "pausing": "cancelling",
        "cancelling": "cancelling",
        "paused": "cancelled",
        "succeeded": REFUSED,
        "failed": REFUSED,
        "diverged": REFUSED,
        "cancelled": "cancelled",
    },
    Ask.PAUSE: {
        "queued": "paused",
        "running": "pausing",
        "pausing": "pausing",
        "cancelling": REFUSED,
        "paused": "paused",
        "succeeded": REFUSED,
        "failed": REFUSED,
        "diverged": REFUSED,
        "cancelled": REFUSED,
    },
    Ask.RESUME: {
        "queued": "queued",
        "running": "running",
        "pausing": "running",
        "cancelling": REFUSED,
        "paused": "queued",
        "succeeded": REFUSED,
        "failed": REFUSED,
        "diverged": REFUSED,
        "cancelled": REFUSED,
    },
    Ask.RETRY: {
        "queued": "queued",
        "running": "running",
        "pausing": "pausing",
        "cancelling": REFUSED,
        "paused": REFUSED,
        "succeeded": REFUSED,
        "failed": "queued",
        "diverged": REFUSED,
        "cancelled": "queued",
    },
}


def asked(store: Store, experiment_id: int, what: Ask) -> Experiment:
    with store.writing() as tx:
        return wishes.ask(tx, experiment_id, what)


def brought_to(store: Store, situation: str) -> int:
    """An experiment that got there by the moves of the contract."""
    experiment_id = submitted(store)
    if situation in ("paused", "cancelled"):
        asked(store, experiment_id, Ask.PAUSE if situation == "paused" else Ask.CANCEL)
    elif situation != "queued":
        claim = claimed(store)
        with store.writing() as tx:
            match situation:
                case "pausing" | "cancelling":
                    wishes.ask(tx, experiment_id, Ask.PAUSE if situation == "pausing" else Ask.CANCEL)
                case "succeeded":
                    attempts.finish(tx, claim, result(3), State.SUCCEEDED)
                case "failed" | "diverged":
                    kind = ErrorKind.DIVERGED if situation == "diverged" else ErrorKind.BAD_DATA
                    attempts.finish(tx, claim, None, State.FAILED, ExperimentError(kind, "so it was"))
    return experiment_id


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("what", Ask)
def test_every_wish_in_every_state(store: Store, what: Ask, situation: str) -> None:
    experiment_id = brought_to(store, situation)
    before = seen_now(store, experiment_id)
    assert (before.state, before.requested) == SITUATIONS[situation]
    outcome = OUTCOMES[what][situation]
    if outcome is REFUSED:
        with pytest.raises(NotAllowed, match=f"experiment {experiment_id} {clause(before.state)}( already)?: "):
            asked(store, experiment_id, what)
        assert seen_now(store, experiment_id) == before
        return
    after = asked(store, experiment_id, what)
    assert (after.state, after.requested) == SITUATIONS[outcome]
    assert after == before if outcome == situation else after.revision > before.revision
    with store.reading() as tx:
        history = events.read(tx, experiment_id)
    asked(store, experiment_id, what)  # the same again
    with store.reading() as tx:
        assert events.read(tx, experiment_id) == history
    assert seen_now(store, experiment_id) == after


def test_retry_forgets_the_failure_and_goes_behind_those_that_wait(store: Store) -> None:
    failed = brought_to(store, "failed")
    waiting = submitted(store)
    again = asked(store, failed, Ask.RETRY)
    assert (again.error, again.ended_ms, again.failures, again.attempt) == (None, None, 0, 1)
    assert [claimed(store).experiment_id for _ in range(2)] == [waiting, failed]
    assert seen_now(store, failed).attempt == 2


def test_resume_keeps_the_old_place(store: Store) -> None:
    first, second = submitted(store), submitted(store)
    asked(store, first, Ask.PAUSE)
    assert asked(store, first, Ask.RESUME).state is State.QUEUED
    assert [claimed(store).experiment_id for _ in range(2)] == [first, second]


def test_a_pause_is_obeyed_by_the_worker_that_lets_go(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    asked(store, experiment_id, Ask.PAUSE)
    with store.writing() as tx:
        assert attempts.record(tx, claim, result(1)) is Wish.PAUSE
        assert leases.release(tx, claim) is State.PAUSED
    assert seen_now(store, experiment_id).requested is None


@pytest.mark.parametrize("situation", SITUATIONS)
def test_only_what_has_ended_can_be_deleted_and_then_all_of_it_is_gone(store: Store, situation: str) -> None:
    experiment_id = brought_to(store, situation)
    if SITUATIONS[situation][0] not in ENDED:
        with store.writing() as tx, pytest.raises(NotAllowed, match="cancel it first"):
            experiments.remove(tx, experiment_id)
        return
    with store.writing() as tx:
        experiments.remove(tx, experiment_id)
    with store.writing() as tx, pytest.raises(NotFound):
        experiments.remove(tx, experiment_id)
    with store.reading() as tx:
        assert events.read(tx, experiment_id) == []
    assert submitted(store) > experiment_id  # never given again


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_priority_can_be_changed_while_it_waits(store: Store, situation: str) -> None:
    experiment_id = brought_to(store, situation)
    before = seen_now(store, experiment_id)
    if before.state in (State.QUEUED, State.PAUSED):
        with store.writing() as tx:
            after = experiments.set_priority(tx, experiment_id, 7)
        assert (after.priority, after.rank) == (7, before.rank - 7 * 3_600_000)
    else:
        with store.writing() as tx, pytest.raises(NotAllowed):
            experiments.set_priority(tx, experiment_id, 7)


@pytest.mark.parametrize("what", Ask)
def test_a_sweep_passes_the_wish_to_every_member_that_can_have_it(store: Store, what: Ask) -> None:
    by_situation = {situation: brought_to(store, situation) for situation in reversed(SITUATIONS)}
    stranger = submitted(store)
    with store.writing() as tx:
        sweep_id = sweeps.submit(tx, *grids_and_specs(SweepRequest(base=spec(seed=9).model_dump())))
        tx.execute(update(table).where(table.c.id.in_(by_situation.values())).values(sweep_id=sweep_id))
        sweep = sweeps.ask(tx, sweep_id, what)
    for situation, experiment_id in by_situation.items():
        now = seen_now(store, experiment_id)
        assert (now.state, now.requested) == SITUATIONS[OUTCOMES[what][situation] or situation], situation
    assert seen_now(store, stranger).state is State.QUEUED
    with store.reading() as tx:
        states = tx.execute(select(table.c.state, func.count()).where(table.c.sweep_id == sweep_id).group_by("state"))
        assert {state: n for state, n in sweep.counts.items() if n} == {State(state): n for state, n in states}


def test_wishes_of_a_sweep_race_with_claims_and_leave_a_true_history(store: Store) -> None:
    """Whoever is first wins, row by row; every event is a move of the contract, from where the last one led."""
    with store.writing() as tx:
        sweep_id = sweeps.submit(
            tx, *grids_and_specs(SweepRequest(base=spec().model_dump(), axes={"seed": list(range(60))}))
        )
    workers = [a_worker(store, pid=pid) for pid in range(2)]
    errors: list[BaseException] = []

    def claims_all(worker_id: int) -> Callable[[], None]:
        def work() -> None:
            for _ in range(25):
                with store.writing() as tx:
                    claim = claims.claim(tx, worker_id, MINUTE)
                if claim is not None:
                    with store.writing() as tx:
                        leases.release(tx, claim)

        return work

    def wishes_all() -> None:
        for what in (Ask.PAUSE, Ask.RESUME, Ask.CANCEL, Ask.RETRY, Ask.PAUSE, Ask.CANCEL):
            with store.writing() as tx:
                sweeps.ask(tx, sweep_id, what)

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)

        return run

    threads = [threading.Thread(target=guarded(work)) for work in (*map(claims_all, workers), wishes_all)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with store.reading() as tx:
        for member in experiments.members(tx, sweep_id, 100):
            at: State | None = None
            for event in events.read(tx, member.id):
                if event.to_state is not None:
                    assert event.from_state == at
                    assert at is None or event.to_state in MOVES[at]
                    at = event.to_state
            assert at == member.state
