"""How much the holder of a token may have waiting and running."""

import threading
from collections import Counter

import pytest

from core.grids import Grid
from core.spec import Spec
from core.states import Ask, State
from core.store import experiments, extensions, sweeps, tokens, wishes
from core.store.claims import claim
from core.store.errors import QueueFull
from core.store.moves import move
from core.store.outlook import outlook
from core.store.session import Store
from core.store.tokens import Quotas
from core.tokens import Scope
from tests.unit.store.builders import MINUTE, a_worker, claimed, spec, submitted
from tests.unit.store.test_extensions import with_success
from tests.unit.store.test_turns import submitted_by


def limited(store: Store, name: str = "alice", **quotas: int) -> None:
    with store.writing() as tx:
        tokens.create(tx, name, Scope.SUBMIT, quotas=Quotas(**quotas))


def queued(store: Store, owner: str = "alice") -> int:
    with store.reading() as tx:
        found = experiments.list_newest(tx, state=State.QUEUED, limit=500)
    return sum(each.owner == owner for each in found)


def grid(count: int) -> tuple[list[Grid], list[Spec]]:
    return [Grid({}, {"seed": list(range(count))}, "")], [spec(seed=seed) for seed in range(count)]


def test_quotas_are_kept_changed_and_survive_another_secret(store: Store) -> None:
    limited(store, max_queued=3, per_minute=60)
    with store.writing() as tx:
        tokens.rotate(tx, "alice")
        assert tokens.named(tx, "alice").quotas == Quotas(3, None, 60)
        tokens.limit(tx, "alice", {"max_queued": None, "max_running": 2, "per_minute": None})
        assert tokens.everyone(tx)[0].quotas == Quotas(None, 2, None)


def test_what_would_be_too_many_is_refused_whole(store: Store) -> None:
    limited(store, max_queued=3)
    submitted_by(store, "alice", 2)
    submitted_by(store, "bob", 9)
    grids, specs = grid(2)
    with pytest.raises(QueueFull) as refused, store.writing("alice") as tx:
        sweeps.submit(tx, grids, specs)
    assert str(refused.value).startswith("alice may have 3 queued: 2 are, and 2 more would be too many")
    assert (refused.value.limit, refused.value.left) == (3, 1)
    assert queued(store) == 2
    submitted_by(store, "alice", 1)
    with pytest.raises(QueueFull):
        submitted_by(store, "alice", 1)
    claimed(store)
    assert queued(store) + queued(store, "bob") == 11


def test_what_runs_does_not_wait(store: Store) -> None:
    limited(store, max_queued=1)
    for _ in range(3):
        submitted_by(store, "alice", 1)
        claimed(store)


def test_what_an_admin_adds_to_a_sweep_counts_as_its_owners(store: Store) -> None:
    limited(store, max_queued=2)
    grids, specs = grid(2)
    larger, more = grid(3)
    with store.writing("alice") as tx:
        sweep_id = sweeps.submit(tx, grids, specs)
    with pytest.raises(QueueFull, match="alice may have 2 queued"), store.writing("keeper") as tx:
        sweeps.grow(tx, sweep_id, grids, larger, more)


def test_an_extension_counts_as_a_submission(store: Store) -> None:
    limited(store, max_queued=1)
    submitted(store)
    number = with_success(store, claimed(store)).experiment_id
    submitted_by(store, "alice", 1)
    with pytest.raises(QueueFull), store.writing("alice") as tx:
        extensions.extend(tx, number, 9)


@pytest.mark.parametrize(("first", "then"), [(Ask.PAUSE, Ask.RESUME), (Ask.CANCEL, Ask.RETRY)])
def test_what_comes_back_into_the_queue_is_counted(store: Store, first: Ask, then: Ask) -> None:
    limited(store, max_queued=1)
    (number,) = submitted_by(store, "alice", 1)
    with store.writing("alice") as tx:
        wishes.ask(tx, number, first)
    submitted_by(store, "alice", 1)
    with pytest.raises(QueueFull), store.writing("keeper") as tx:
        wishes.ask(tx, number, then)
    with store.reading() as tx:
        assert experiments.get(tx, number).state in (State.PAUSED, State.CANCELLED)


def test_of_two_that_submit_at_once_the_second_counts_what_the_first_made(store: Store) -> None:
    limited(store, max_queued=10)
    outcomes: Counter[str] = Counter()
    start = threading.Barrier(4)

    def submit_many() -> None:
        start.wait()
        for _ in range(6):
            try:
                submitted_by(store, "alice", 1)
                outcomes["made"] += 1
            except QueueFull:
                outcomes["refused"] += 1

    threads = [threading.Thread(target=submit_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {"made": 10, "refused": 14}
    assert queued(store) == 10


def test_who_has_all_running_that_they_may_is_passed_over(store: Store) -> None:
    limited(store, max_running=2)
    mine = submitted_by(store, "alice", 4)
    claims = [claimed(store), claimed(store)]
    worker_id = a_worker(store)
    with store.writing("worker") as tx:
        assert claim(tx, worker_id, MINUTE) is None
    submitted_by(store, "bob", 1)
    with store.reading() as tx:
        said = [each.waiting_because for each in outlook(tx, [experiments.get(tx, each) for each in (*mine, 5)])]
    assert said == [None, None, *["of alice only 2 may run at once"] * 2, "it is the next in the queue"]
    assert claimed(store).experiment_id == 5
    with store.writing("worker") as tx:
        move(tx, claims[0].experiment_id, claims[0].attempt, State.RUNNING, State.SUCCEEDED)
    assert claimed(store).experiment_id in mine
    with store.writing("worker") as tx:
        assert claim(tx, worker_id, MINUTE) is None


def test_a_sweep_says_that_it_waits_for_its_own(store: Store) -> None:
    limited(store, max_running=1)
    a_worker(store)
    submitted_by(store, "alice", 1)
    claimed(store)
    grids, specs = grid(2)
    with store.writing("alice") as tx:
        sweep_id = sweeps.submit(tx, grids, specs)
        assert sweeps.get(tx, sweep_id).waiting_because == "of alice only 1 may run at once"


def test_however_many_claim_at_once_no_more_run(store: Store) -> None:
    limited(store, max_running=3)
    submitted_by(store, "alice", 20)
    workers = [a_worker(store, pid=pid) for pid in range(4)]
    start = threading.Barrier(4)
    taken = []

    def claim_some(worker_id: int) -> None:
        start.wait()
        for _ in range(4):
            with store.writing("worker") as tx:
                if claim(tx, worker_id, MINUTE) is not None:
                    taken.append(worker_id)

    threads = [threading.Thread(target=claim_some, args=(each,)) for each in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 3
