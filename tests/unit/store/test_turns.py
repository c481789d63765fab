"""Whose turn it is: nobody waits behind the many of another, and no device idles for it."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from core.states import State
from core.store import events, experiments, turns
from core.store.leases import Claim
from core.store.moves import move
from core.store.outlook import outlook
from core.store.session import Store
from core.store.turns import Share
from tests.unit.store.builders import a_worker, claimed, spec


def submitted_by(store: Store, owner: str, count: int, priority: int = 0) -> list[int]:
    with store.writing(owner) as tx:
        return [experiments.submit(tx, spec(seed=seed), priority).id for seed in range(count)]


def next_claim(store: Store, worker_id: int | None = None) -> tuple[Claim, str]:
    """By a worker of its own, unless said; and whose it is."""
    claim = claimed(store, worker_id=worker_id)
    with store.reading() as tx:
        return claim, experiments.get(tx, claim.experiment_id).owner


def claimed_owners(store: Store, count: int) -> list[str]:
    return [next_claim(store)[1] for _ in range(count)]


def test_who_has_one_is_next_however_many_came_before(store: Store) -> None:
    submitted_by(store, "many", 20, priority=100)
    assert claimed_owners(store, 1) == ["many"]
    submitted_by(store, "few", 1)
    assert claimed_owners(store, 3) == ["few", "many", "many"]


def test_one_worker_takes_them_in_turns(store: Store) -> None:
    """All have as few running as the others whenever it is free."""
    for owner, count in (("a", 4), ("b", 2), ("c", 1)):
        submitted_by(store, owner, count)
    worker_id = a_worker(store)
    owners = []
    for _ in range(7):
        claim, owner = next_claim(store, worker_id)
        owners.append(owner)
        with store.writing("worker") as tx:
            move(tx, claim.experiment_id, claim.attempt, State.RUNNING, State.SUCCEEDED)
    assert Counter(owners[:3]) == {"a": 1, "b": 1, "c": 1}
    assert Counter(owners[3:5]) == {"a": 1, "b": 1}
    assert owners[5:] == ["a", "a"]


def test_within_an_owner_priority_orders(store: Store) -> None:
    first, second = submitted_by(store, "a", 2)
    with store.writing("a") as tx:
        experiments.set_priority(tx, second, 5)
    assert [next_claim(store)[0].experiment_id for _ in range(2)] == [second, first]


def test_the_places_that_are_told_are_those_of_the_turns(store: Store) -> None:
    many = submitted_by(store, "many", 5)
    few = submitted_by(store, "few", 2)
    a_worker(store)
    with store.reading() as tx:
        found = [experiments.get(tx, each) for each in (*many, *few)]
        said = [each.waiting_because for each in outlook(tx, found)]
    order = [next_claim(store)[0].experiment_id for _ in range(7)]
    assert [said[(*many, *few).index(each)] for each in order] == [
        "it is the next in the queue",
        *(f"{before} before it in the queue" for before in range(1, 7)),
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), min_size=1, max_size=5))
def test_in_turn_gives_all_of_each_in_its_order_and_to_the_one_with_the_fewest(owners: list[tuple[int, int]]) -> None:
    owners.sort(key=lambda each: each[0])
    running = {str(owner): n for owner, (n, _) in enumerate(owners)}
    shares = {owner: Share(n) for owner, n in running.items()}
    queues = {str(owner): [(str(owner), each) for each in range(count)] for owner, (_, count) in enumerate(owners)}
    taken = list(turns.in_turn(shares, queues))
    assert sorted(taken) == sorted(each for queue in queues.values() for each in queue)
    left = {owner: len(queue) for owner, queue in queues.items()}
    for owner, place in taken:
        assert place == len(queues[owner]) - left[owner]
        assert running[owner] == min(running[each] for each in left if left[each])
        running[owner] += 1
        left[owner] -= 1


def test_events_say_in_whose_name(store: Store) -> None:
    (first,) = submitted_by(store, "alice", 1)
    claimed_owners(store, 1)
    with store.reading() as tx:
        said = [(event.kind, event.actor) for event in events.read(tx, first)]
    assert said == [("submitted", "alice"), ("claimed", "worker")]
