"""Idempotency keys: answered once for all, waited for in flight, free again after a day or a failure."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import func, select, update

from core.store import experiments, idempotency
from core.store.errors import KeyReused
from core.store.idempotency import KEPT_MS, KeyedRequest
from core.store.session import Store
from core.store.tables import experiments as experiments_table
from core.store.tables import idempotency_keys
from tests.servers import PATIENCE_S, wait_until
from tests.unit.store.builders import spec

REQUEST = KeyedRequest("/experiments", "abc", "f" * 64)


def answered(store: Store, request: KeyedRequest = REQUEST, answer: str = "an answer") -> str | None:
    """What was answered before; else `answer` is from now on."""
    with store.writing() as tx:
        before = idempotency.begin(tx, request)
        if before is None:
            idempotency.keep(tx, request, answer)
        return before


def found(store: Store, request: KeyedRequest = REQUEST) -> str | None:
    with store.reading() as tx:
        return idempotency.find(tx, request)


def aged(store: Store, ms: int) -> None:
    """All keys, as if so much time had gone by."""
    with store.writing() as tx:
        tx.execute(update(idempotency_keys).values(created_ms=idempotency_keys.c.created_ms - ms))


def keys(store: Store) -> int:
    with store.reading() as tx:
        return tx.execute(select(func.count()).select_from(idempotency_keys)).scalar_one()


def test_the_same_request_is_answered_as_the_first_was(store: Store) -> None:
    assert found(store) is None
    assert answered(store, answer="first") is None
    assert answered(store, answer="second") == found(store) == "first"
    assert keys(store) == 1


def test_a_key_answers_for_one_request_alone(store: Store) -> None:
    answered(store)
    other = replace(REQUEST, fingerprint="0" * 64)
    for act in (answered, found):
        with pytest.raises(KeyReused, match="another body or query: send a new request under a new key"):
            act(store, other)
    assert found(store) == "an answer"


def test_another_route_and_another_key_are_other_requests(store: Store) -> None:
    answered(store)
    for other in (replace(REQUEST, route="/sweeps"), replace(REQUEST, key="abd"), replace(REQUEST, key="ABC")):
        assert found(store, other) is None
        assert answered(store, replace(other, fingerprint="0" * 64)) is None
    assert keys(store) == 4


def test_a_request_that_fails_leaves_its_key_unused(store: Store) -> None:
    def fail() -> None:
        with store.writing() as tx:
            idempotency.begin(tx, REQUEST)
            experiments.submit(tx, spec())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert keys(store) == 0
    assert answered(store, replace(REQUEST, fingerprint="0" * 64)) is None


def test_a_key_is_kept_for_a_day(store: Store) -> None:
    answered(store)
    aged(store, KEPT_MS - 60_000)
    assert answered(store) == found(store) == "an answer"
    aged(store, 60_000)
    assert found(store) is None


def test_an_expired_key_was_never_used(store: Store) -> None:
    answered(store, answer="old")
    aged(store, KEPT_MS)
    other = replace(REQUEST, fingerprint="0" * 64)
    assert answered(store, other, answer="new") is None
    assert answered(store, other) == "new"
    with pytest.raises(KeyReused):
        answered(store)


def test_what_has_expired_is_deleted_as_new_keys_are_written(store: Store) -> None:
    for number in range(250):
        answered(store, replace(REQUEST, key=f"old {number}"))
    aged(store, KEPT_MS)
    answered(store, replace(REQUEST, key="young"))
    assert keys(store) == 151
    for _ in range(2):
        answered(store, replace(REQUEST, key="young"))  # answers only
    assert keys(store) == 151
    for number in range(2):
        answered(store, replace(REQUEST, key=f"new {number}"))
    assert keys(store) == 3
    assert found(store, replace(REQUEST, key="young")) == "an answer"


def test_the_longest_keys_fit(store: Store) -> None:
    request = KeyedRequest("/sweeps/" + "9" * 19 + "/members", "~" * 255, "f" * 64)
    assert answered(store, request) is None
    assert answered(store, request) == "an answer"


@pytest.mark.parametrize("fails", [False, True])
def test_a_request_in_flight_is_waited_for(store: Store, fails: bool) -> None:
    """If it fails, the one that waited does the work."""
    begun, go_on = threading.Event(), threading.Event()
    outcomes: list[str | None] = []

    def first() -> None:
        with store.writing() as tx:
            idempotency.begin(tx, REQUEST)
            begun.set()
            assert go_on.wait(PATIENCE_S)
            idempotency.keep(tx, REQUEST, "first")
            if fails:
                tx.rollback()

    def second() -> None:
        outcomes.append(answered(store, answer="second"))

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert begun.wait(PATIENCE_S)
    threads[1].start()
    assert found(store) is None
    threads[1].join(0.3)
    assert outcomes == []
    go_on.set()
    for thread in threads:
        thread.join()
    assert outcomes == [None if fails else "first"]
    assert found(store) == ("second" if fails else "first")


def test_many_at_once_make_one_experiment_and_keys_that_expire_are_in_nobodys_way(store: Store) -> None:
    for number in range(30):
        answered(store, replace(REQUEST, key=str(number)))
    aged(store, KEPT_MS)
    outcomes: list[str | None] = []
    barrier = threading.Barrier(16)

    def post(number: int) -> None:
        request = replace(REQUEST, key=str(number % 8))  # two of each, and all of them expired
        barrier.wait(PATIENCE_S)
        with store.writing() as tx:
            before = idempotency.begin(tx, request)
            if before is None:
                idempotency.keep(tx, request, str(experiments.submit(tx, spec(seed=number % 8)).id))
        outcomes.append(before)

    threads = [threading.Thread(target=post, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    wait_until(lambda: not any(thread.is_alive() for thread in threads))
    assert len(outcomes) == 16
    with store.reading() as tx:
        seeds = tx.execute(select(func.count()).select_from(experiments_table)).scalar_one()
    assert (seeds, keys(store)) == (8, 8)
