"""Sweeps in SQL: whole or not at all, grown, deleted, counted, with the time left."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import select, text, update

from core import sweeps as sweeps_of_specs
from core.results import Predictions
from core.spec import Spec
from core.states import ENDED, Ask, State
from core.store import attempts, claims, curves, events, experiments, leases, predictions, sweeps, wishes
from core.store.checkpoints import Saved
from core.store.clock import now_ms
from core.store.errors import ClaimLost, NotFound, NotKept, SweepChanged
from core.store.experiments import Experiment
from core.store.leases import Claim
from core.store.outlook import outlook
from core.store.session import Store
from core.store.sweeps import Sweep
from core.store.tables import experiments as table
from core.sweep_faults import BadSweep
from core.sweeps import SweepRequest, grids_and_specs
from tests.unit.store.builders import MINUTE, PROVENANCE, a_worker, claimed, result, seen_now, spec, submitted


def made(store: Store, priority: int = 0, **axes: list[Any]) -> int:
    request = SweepRequest(name="mine", base=spec().model_dump(exclude={"name"}), axes=axes)
    grids, specs = grids_and_specs(request)
    with store.writing() as tx:
        return sweeps.submit(tx, grids, specs, name="mine", priority=priority)


def grown(store: Store, sweep_id: int, **axes: list[Any]) -> int:
    """As the API does it: how many members are new."""
    while True:
        before = seen(store, sweep_id)
        larger, specs = sweeps_of_specs.larger_grids_and_specs(before.grids, axes)
        with suppress(SweepChanged), store.writing() as tx:
            n = len(experiments.members(tx, sweep_id, 20_000))
            sweeps.grow(tx, sweep_id, before.grids, larger, specs)
            return len(experiments.members(tx, sweep_id, 20_000)) - n


def seen(store: Store, sweep_id: int) -> Sweep:
    with store.reading() as tx:
        return sweeps.get(tx, sweep_id)


def members(store: Store, sweep_id: int) -> list[Experiment]:
    with store.reading() as tx:
        return experiments.members(tx, sweep_id, 20_000)


def asked(store: Store, sweep_id: int, what: Ask) -> Sweep:
    with store.writing() as tx:
        return sweeps.ask(tx, sweep_id, what)


def test_members_stand_in_order_each_with_its_events(store: Store) -> None:
    sweep_id = made(store, priority=3, importance_weight=["16:1", "1:16"], seed=[0, 1])
    found = members(store, sweep_id)
    assert [(each.position, each.importance_weight, each.spec["seed"]) for each in found] == [
        (0, "16:1", 0),
        (1, "16:1", 1),
        (2, "1:16", 0),
        (3, "1:16", 1),
    ]
    assert {(each.priority, each.state, each.name) for each in found[:1]} == {(3, State.QUEUED, "16:1, seed 0")}
    assert [claimed(store).experiment_id for _ in found] == sorted(each.id for each in found)
    with store.reading() as tx:
        assert [event.kind for event in events.read(tx, found[-1].id)] == ["submitted", "claimed"]


def test_a_warning_is_an_event_of_the_member_that_it_concerns(store: Store) -> None:
    base = spec(loss={"name": "cross_entropy", "normalization": "batch_size"}).model_dump()
    with store.writing() as tx:
        sweep_id = sweeps.submit(
            tx, *grids_and_specs(SweepRequest(base=base, axes={"importance_weight": ["1:1", "256:1", "2:1"]}))
        )
        kinds = [[event.kind for event in events.read(tx, each.id)] for each in experiments.members(tx, sweep_id, 9)]
    assert kinds == [["submitted"], ["submitted", "warning"], ["submitted"]]


@pytest.mark.slow
def test_ten_thousand_members_are_made_in_one_transaction_and_paged_in_order(store: Store) -> None:
    sweep_id = made(store, seed=list(range(10_000)))
    found = members(store, sweep_id)
    assert [each.position for each in found] == list(range(10_000)) == [each.spec["seed"] for each in found]
    assert seen(store, sweep_id).counts[State.QUEUED] == 10_000
    assert asked(store, sweep_id, Ask.CANCEL).counts[State.CANCELLED] == 10_000


def test_nothing_is_left_of_a_sweep_that_breaks_off(store: Store) -> None:
    def fail(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO events"):
            raise RuntimeError("killed")

    sql_event.listen(store._engine, "before_cursor_execute", fail)
    with pytest.raises(RuntimeError):
        made(store, seed=list(range(50)))
    sql_event.remove(store._engine, "before_cursor_execute", fail)
    with store.reading() as tx:
        for name in ("sweeps", "experiments", "events"):
            assert tx.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() == 0


def test_growth_adds_what_is_missing_and_positions_go_on(store: Store) -> None:
    sweep_id = made(store, importance_weight=["16:1", "1:16"], seed=[0])
    before = members(store, sweep_id)
    assert grown(store, sweep_id, seed=[0, 1]) == 2
    assert grown(store, sweep_id, seed=[1]) == 0
    after = members(store, sweep_id)
    assert after[:2] == before
    assert [(each.position, each.importance_weight, each.spec["seed"]) for each in after[2:]] == [
        (2, "16:1", 1),
        (3, "1:16", 1),
    ]
    assert seen(store, sweep_id).grids[0].axes == {"importance_weight": ["16:1", "1:16"], "seed": [0, 1]}


def test_a_position_is_never_given_again(store: Store) -> None:
    sweep_id = made(store, seed=[0, 1])
    (_, last) = members(store, sweep_id)
    with store.writing() as tx:
        wishes.ask(tx, last.id, Ask.CANCEL)
        experiments.remove(tx, last.id)
    grown(store, sweep_id, seed=[2])
    assert [each.position for each in members(store, sweep_id)] == [0, 2, 3]  # the deleted one is made again


def test_growth_beyond_ten_thousand_is_refused_and_leaves_the_sweep_as_it_was(store: Store) -> None:
    sweep_id = made(store, seed=[0, 1])
    with pytest.raises(BadSweep, match="make 10002 members"):
        grown(store, sweep_id, seed=list(range(10_002)))
    with pytest.raises(BadSweep, match="/axes/sede/0"):
        grown(store, sweep_id, sede=[1])
    assert seen(store, sweep_id).grids[0].axes == {"seed": [0, 1]}
    assert len(members(store, sweep_id)) == 2


def test_a_sweep_that_grows_while_it_is_cancelled_grows_before_or_after(store: Store) -> None:
    """Whoever is first: all members are cancelled, or all but those that came after."""
    for _ in range(5):
        sweep_id = made(store, seed=list(range(10)))
        threads = [
            threading.Thread(target=grown, args=(store, sweep_id), kwargs={"seed": list(range(10, 20))}),
            threading.Thread(target=asked, args=(store, sweep_id, Ask.CANCEL)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        states = [each.state for each in members(store, sweep_id)]
        assert states[:10] == [State.CANCELLED] * 10
        assert states[10:] in ([State.CANCELLED] * 10, [State.QUEUED] * 10)


def test_two_that_grow_at_once_make_each_member_once(store: Store) -> None:
    sweep_id = made(store, seed=[0])
    threads = [
        threading.Thread(target=grown, args=(store, sweep_id), kwargs={"seed": list(range(30))}) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.position for each in members(store, sweep_id)] == list(range(30))


def test_two_that_look_for_the_same_specs_in_any_order_make_one_sweep(store: Store) -> None:
    request = SweepRequest(base=spec().model_dump(exclude={"name"}), axes={"seed": [0, 1]})
    grids, specs = grids_and_specs(request)
    looked = threading.Event()

    def make(wanted: list[Spec], then: Callable[[], Any]) -> None:
        with store.writing() as tx:
            there = sweeps.newest_with_digests(tx, wanted)
            then()
            if there is None:
                sweeps.submit(tx, grids, wanted)

    other = threading.Thread(target=make, args=(specs[::-1], looked.set))
    make(specs, lambda: (other.start(), looked.wait(0.3)))  # it cannot look before this one has made it
    other.join()
    with store.reading() as tx:
        assert len(sweeps.list_newest(tx, 10)) == 1


def test_deleting_takes_the_ended_and_with_the_last_the_sweep(store: Store) -> None:
    sweep_id = made(store, seed=list(range(250)))
    asked(store, sweep_id, Ask.CANCEL)
    grown(store, sweep_id, seed=[1000])

    def removed() -> Sweep:
        while True:
            with store.writing() as tx:
                left, _ = sweeps.remove_some(tx, sweep_id)
            if not any(left.counts[state] for state in ENDED):
                return left

    assert {state: n for state, n in removed().counts.items() if n} == {State.QUEUED: 1}
    assert len(members(store, sweep_id)) == 1
    asked(store, sweep_id, Ask.CANCEL)
    assert set(removed().counts.values()) == {0}
    with pytest.raises(NotFound, match=f"there is no sweep {sweep_id}"):
        seen(store, sweep_id)
    assert made(store, seed=[1]) > sweep_id


@pytest.mark.parametrize("number", [0, -1, 7, 10**40])
def test_what_is_no_sweep_is_not_found(store: Store, number: int) -> None:
    with store.writing() as tx:
        for act in (
            lambda: sweeps.get(tx, number),
            lambda: sweeps.ask(tx, number, Ask.CANCEL),
            lambda: sweeps.grow(tx, number, [], [], []),
            lambda: sweeps.remove_some(tx, number),
        ):
            with pytest.raises(NotFound, match=f"there is no sweep {number}"):
                act()


def test_the_time_left_is_that_of_measured_epochs_shared_by_the_workers(store: Store) -> None:
    sweep_id = made(store, seed=[0, 1, 2])  # three epochs each
    assert seen(store, sweep_id).eta_seconds is None
    first, second = a_worker(store, pid=1), a_worker(store, pid=2)
    claim = claimed(store, worker_id=first)
    assert seen(store, sweep_id).eta_seconds is None  # nothing measured yet
    with store.writing() as tx:
        attempts.record(tx, claim, result(1), epoch_seconds=10.0)
    assert seen(store, sweep_id).eta_seconds == 2 * 10 + 3 * 10  # one worker has two, the other one
    assert (seen(store, sweep_id).epochs_done, seen(store, sweep_id).epochs_total) == (1, 9)
    with store.writing() as tx:
        (view,) = outlook(tx, [experiments.get(tx, claim.experiment_id)])
        assert (view.eta_seconds, view.waiting_because, view.stalled) == (20.0, None, False)
        tx.execute(text("UPDATE workers SET state = 'gone'"))
    assert seen(store, sweep_id).eta_seconds is None
    assert second


def test_one_row_is_enough_to_tell_the_time_left(store: Store) -> None:
    sweep_id = made(store, seed=[0, 1, 2], epochs=[1])
    claim = claimed(store)
    with store.writing() as tx:
        attempts.finish(tx, claim, result(1), State.SUCCEEDED, epoch_seconds=7.0)
    assert seen(store, sweep_id).eta_seconds == 14.0


def test_what_is_trained_again_takes_its_time_again(store: Store) -> None:
    sweep_id = made(store, seed=[0])  # three epochs
    claim = claimed(store, lease_ms=-1)
    with store.writing() as tx:
        attempts.record(tx, claim, result(1), epoch_seconds=10.0)
        attempts.record(tx, claim, result(2), epoch_seconds=10.0)
        leases.expire(tx, max_failures=5)
    assert seen(store, sweep_id).eta_seconds == 30.0
    again = claimed(store)
    with store.writing() as tx:
        attempts.record(tx, again, result(1), epoch_seconds=10.0)
        found = experiments.get(tx, again.experiment_id)
        assert (found.epochs_done, found.attempt_epoch) == (2, 1)
        assert outlook(tx, [found])[0].eta_seconds == 20.0
    assert seen(store, sweep_id).eta_seconds == 20.0


def recorded(store: Store, claim: Claim, epoch: int, seconds: float = 60.0) -> None:
    with store.writing() as tx:
        attempts.record(tx, claim, result(epoch), epoch_seconds=seconds)


def ended(store: Store, claim: Claim, seconds: float = 60.0) -> None:
    with store.writing() as tx:
        attempts.finish(tx, claim, result(3), State.SUCCEEDED, epoch_seconds=seconds)


def test_the_time_left_only_falls_while_others_come_before_it(store: Store) -> None:
    """A minute an epoch, three epochs each, two workers."""
    workers = [a_worker(store, pid=pid) for pid in (1, 2)]
    sweep_id = made(store, seed=[0, 1, 2, 3])
    looks: list[tuple[float | None, str | None]] = []

    def look() -> None:
        sweep = seen(store, sweep_id)
        looks.append((sweep.eta_seconds, sweep.waiting_because))

    mine = claimed(store, worker_id=workers[0])
    recorded(store, mine, 1)
    look()  # the second's three epochs and the fourth's, beside the first's two and the third's
    made(store, priority=1, seed=[10, 11, 12, 13])
    look()
    theirs = claimed(store, worker_id=workers[1])
    recorded(store, theirs, 1)
    recorded(store, mine, 2)
    look()
    ended(store, mine)
    others = claimed(store, worker_id=workers[0])
    look()  # nothing of it runs any more
    recorded(store, others, 1)
    ended(store, theirs)
    look()
    told = [
        (360.0, None),
        (360.0, "4 before its next in the queue, and its turn comes in about 6 min"),
        (360.0, "3 before its next in the queue, and its turn comes in about 5 min"),
        (360.0, "2 before it in the queue, and its turn comes in about 5 min"),
        (360.0, "2 before it in the queue, and its turn comes in about 3 min"),
    ]
    assert looks == told


def test_members_that_hold_every_worker_are_what_its_next_waits_for(store: Store) -> None:
    sweep_id = made(store, seed=[0, 1, 2])
    for pid in (1, 2):
        recorded(store, claimed(store, worker_id=a_worker(store, pid=pid)), 1)
    assert (seen(store, sweep_id).eta_seconds, seen(store, sweep_id).waiting_because) == (120.0 + 180.0, None)


def test_one_that_is_interrupted_with_a_checkpoint_has_no_more_time_left_than_before(store: Store) -> None:
    sweep_id = made(store, seed=[0])
    claim = claimed(store)
    recorded(store, claim, 1)
    recorded(store, claim, 2)
    assert seen(store, sweep_id).eta_seconds == 60.0
    with store.writing() as tx:
        attempts.save(tx, claim, Saved(2, 0, 10, "path", "sha256", "{}", "cpu"))
        leases.release(tx, claim)
    assert seen(store, sweep_id).eta_seconds == 60.0


def test_a_mean_is_of_all_that_were_measured_whatever_their_state(store: Store) -> None:
    sweep_id = made(store, seed=[0, 1, 2, 3])
    worker_id = a_worker(store)
    for seconds in (10.0, 10.0):
        ended(store, claimed(store, worker_id=worker_id), seconds)
    recorded(store, claimed(store, worker_id=worker_id), 1, 40.0)
    assert seen(store, sweep_id).eta_seconds == 2 * 40 + 3 * (10 + 10 + 40) / 3


def test_what_has_not_been_measured_is_counted_and_no_more(store: Store) -> None:
    ids = [submitted(store), submitted(store, batch_size=32), submitted(store), submitted(store)]
    claim = claimed(store)
    recorded(store, claim, 1)

    def because(experiment_id: int) -> str | None:
        with store.reading() as tx:
            return outlook(tx, [experiments.get(tx, experiment_id)])[0].waiting_because

    assert because(ids[1]) == "it is the next in the queue, and its turn comes in about 2 min"
    assert because(ids[2]) == "1 before it in the queue"  # of another batch size
    with store.writing() as tx:
        tx.execute(text(f"UPDATE experiments SET epoch_seconds = 7200 WHERE id = {ids[1]}"))
    assert because(ids[3]) == "2 before it in the queue, and its turn comes in about 6 h"


@pytest.mark.slow
def test_the_time_left_of_ten_thousand_kinds_is_told_at_once(store: Store) -> None:
    """A minute and a half, once."""
    sweep_id = made(store, **{"dataset.seed": list(range(10_000))})
    a_worker(store)
    with store.writing() as tx:
        tx.execute(update(table).where(table.c.position < 5000).values(epoch_seconds=1.0))
    assert seen(store, sweep_id).eta_seconds == 30_000.0


def test_why_an_experiment_waits(store: Store) -> None:
    ids = [member.id for member in members(store, made(store, seed=list(range(1003))))]

    def because(experiment_id: int) -> str | None:
        with store.reading() as tx:
            return outlook(tx, [experiments.get(tx, experiment_id)])[0].waiting_because

    assert because(ids[0]) == "no worker is alive: start one with `ballast worker`, unless one is starting"
    a_worker(store)
    assert because(ids[0]) == "it is the next in the queue"
    assert because(ids[5]) == "5 before it in the queue"
    assert because(ids[1000]) == "1000 before it in the queue"
    assert because(ids[1002]) == "more than 1000 are before it in the queue"
    with store.writing() as tx:
        wishes.ask(tx, ids[5], Ask.PAUSE)
    assert because(ids[5]) == "it is paused: resume it to queue it again"
    assert because(ids[6]) == "5 before it in the queue"


def test_why_a_sweep_waits(store: Store) -> None:
    sweep_id = made(store, seed=[0, 1])

    def because() -> str | None:
        return seen(store, sweep_id).waiting_because

    assert because() == "no worker is alive: start one with `ballast worker`, unless one is starting"
    first, second = members(store, sweep_id)
    with store.writing() as tx:
        wishes.ask(tx, first.id, Ask.PAUSE)
    assert (
        because() == "no worker is alive: start one with `ballast worker`, unless one is starting"
    )  # which the other waits for
    a_worker(store)
    assert because() == "it is the next in the queue"
    urgent = [submitted(store, priority=1) for _ in range(2)]
    assert because() == "2 before it in the queue"
    for experiment_id in urgent:
        assert claimed(store).experiment_id == experiment_id
    assert because() == "it is the next in the queue"
    claim = claimed(store)
    assert (claim.experiment_id, because()) == (second.id, None)
    with store.writing() as tx:
        attempts.finish(tx, claim, result(3), State.SUCCEEDED)
    assert because() == "it is paused: resume it to queue it again"
    asked(store, sweep_id, Ask.CANCEL)
    assert because() is None


def test_a_sweep_waits_for_what_its_first_member_waits_for(store: Store) -> None:
    sweep_id, worker_id = made(store, seed=[0]), a_worker(store)
    with store.writing() as tx:
        claim = claims.claim(tx, worker_id, 60_000, "H200")
        assert claim is not None
        attempts.save(tx, claim, Saved(0, 5, 5, "path", "sha256", "{}", "H200"))
        leases.release(tx, claim)
    because = seen(store, sweep_id).waiting_because
    assert because is not None
    assert because.endswith("UTC it waits for the kind of device that wrote its checkpoint, H200")


def test_grids_in_another_writing_are_the_same(store: Store) -> None:
    """As an older Ballast wrote them, without what a newer one added."""
    sweep_id = made(store, seed=[0])
    with store.writing() as tx:
        tx.execute(text("""UPDATE sweeps SET grids = replace(grids, ', "name": ""', '')"""))
        assert "name" not in tx.execute(text("SELECT grids FROM sweeps")).scalar_one().rpartition("axes")[2]
    assert grown(store, sweep_id, seed=[1]) == 1


def test_it_stalls_when_no_row_comes_for_far_longer_than_rows_take(store: Store) -> None:
    submitted(store, eval_every=10, epochs=100)
    claim = claimed(store, lease_ms=MINUTE)

    def stalls(since_ms: int, epoch_seconds: float | None, lease_ms: int = MINUTE) -> bool:
        with store.writing() as tx:
            now = tx.execute(select(now_ms())).scalar_one()
            tx.execute(
                update(table).values(
                    progress_ms=now - since_ms, epoch_seconds=epoch_seconds, lease_until_ms=now + lease_ms
                )
            )
            return outlook(tx, [experiments.get(tx, claim.experiment_id)])[0].stalled

    assert not stalls(9 * MINUTE, None)
    assert stalls(11 * MINUTE, None)
    assert stalls(11 * MINUTE, 10.0)
    assert not stalls(11 * MINUTE, 60.0)  # a row takes ten minutes
    assert stalls(51 * MINUTE, 60.0)
    assert not stalls(11 * MINUTE, None, lease_ms=-1)


def test_predictions_and_weights_come_with_their_row_and_go_with_the_experiment(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    with store.reading() as tx:
        with pytest.raises(NotKept, match="no predictions yet"):
            predictions.read(tx, experiment_id)
        with pytest.raises(NotKept, match="no weights"):
            predictions.read_weights(tx, experiment_id)
    bits = Predictions(b"\x80\x00", b"\xff")
    with store.writing() as tx:
        attempts.record(tx, claim, result(1, predictions=bits))
        attempts.record(tx, claim, result(2))
        attempts.record(tx, claim, result(1, predictions=Predictions(b"\x00\x00", b"\x00")))  # a replay changes nothing
        attempts.finish(tx, claim, result(3, predictions=bits, weights=b"W"), State.SUCCEEDED)
    with store.writing() as tx:
        assert predictions.read(tx, experiment_id, 1) == (1, [1, 3], 200, 800, bits)
        assert predictions.read(tx, experiment_id).epoch == 3
        with pytest.raises(NotKept, match="no predictions of epoch 2: those kept are of 1, 3"):
            predictions.read(tx, experiment_id, 2)
        assert predictions.read_weights(tx, experiment_id) == b"W"
        assert [row.predictions for row in curves.read(tx, experiment_id)[1]] == [None] * 3
        experiments.remove(tx, experiment_id)
        with pytest.raises(NotFound):
            predictions.read(tx, experiment_id)
        with pytest.raises(NotFound):
            predictions.read_weights(tx, experiment_id)
        for name in ("predictions", "weights", "curve_rows", "events"):
            assert tx.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() == 0


def test_provenance_is_written_under_the_fence(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    with store.writing() as tx:
        attempts.begin(tx, claim, PROVENANCE, None)
        leases.release(tx, claim)
    assert seen_now(store, experiment_id).provenance == json.loads(PROVENANCE.as_json())
    with pytest.raises(ClaimLost), store.writing() as tx:
        attempts.begin(tx, claim, replace(PROVENANCE, threads=2), None)
    assert seen_now(store, experiment_id).provenance == json.loads(PROVENANCE.as_json())
