"""A list of 100 000 experiments: every page and every filter is served by an index, on both databases."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from core.states import State
from core.store import claims, experiments, sweeps, turns
from core.store.outlook import outlook
from core.store.session import Store
from tests.unit.store.builders import a_worker, analyzed, filled

FILTERS = {"state": State.FAILED, "sweep_id": 7, "dataset": "mnist", "model": "cnn", "importance_weight": "16:1"}
SUBSETS = [subset for size in range(len(FILTERS) + 1) for subset in itertools.combinations(FILTERS, size)]
LAST_PAGE = 300


def plans(store: Store, tx: Connection, read: Callable[[], object]) -> list[str]:
    """How the database goes about the statements that `read` makes."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    event.listen(store._engine, "before_cursor_execute", note)
    read()
    event.remove(store._engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN" if store.dialect == "sqlite" else "EXPLAIN"
    return [
        "\n".join(str(row[-1]) for row in tx.exec_driver_sql(f"{explain} {statement}", parameters))
        for statement, parameters in asked
    ]


def assert_nothing_is_searched_whole(plan: str) -> None:
    assert "Seq Scan on experiments" not in plan, plan
    for line in plan.splitlines():
        assert line.strip() != "SCAN experiments", plan


def assert_nothing_is_sorted(plan: str) -> None:
    assert "Sort" not in plan, plan
    assert "TEMP B-TREE" not in plan, plan


@pytest.fixture
def large(store: Store) -> Store:
    filled(store, 100_000)
    if store.dialect == "postgresql":
        analyzed(store)
    return store


@pytest.mark.slow
def test_every_page_and_every_filter_and_all_together_use_an_index(large: Store) -> None:
    with large.reading() as tx:
        for names, before in itertools.product(SUBSETS, (None, LAST_PAGE)):
            wanted: dict[str, Any] = {name: FILTERS[name] for name in names}
            page = partial(experiments.list_newest, tx, limit=51, before=before, **wanted)
            (plan,) = plans(large, tx, page)
            if names or before:  # the first page of all is the table itself, from its end
                assert_nothing_is_searched_whole(plan)
        for read in (lambda: experiments.members(tx, 7, 51, LAST_PAGE), lambda: sweeps.get(tx, 7)):
            for plan in plans(large, tx, read):
                assert_nothing_is_searched_whole(plan)
        (page,) = plans(large, tx, lambda: experiments.members(tx, 7, 51, LAST_PAGE))
        assert_nothing_is_sorted(page)


@pytest.mark.slow
def test_the_head_of_the_queue_is_read_in_its_order(large: Store) -> None:
    """SQLite, without statistics, prefers an index on the state alone, where there is one, and sorts all that waits."""
    worker_id = a_worker(large)
    with large.writing() as tx:
        queued = experiments.list_newest(tx, state=State.QUEUED, limit=50)
        _slots, running, shares, *queues, _limits = plans(large, tx, lambda: outlook(tx, queued))
        assert_nothing_is_searched_whole(running)
        after_the_lock = 1 if large.dialect == "postgresql" else 0
        heads = plans(large, tx, lambda: claims.claim(tx, worker_id, 60_000))[after_the_lock + 1]
        assert "ix_experiments_queued" in shares
        assert_nothing_is_searched_whole(shares)
        for plan in (*queues, heads):
            assert "ix_experiments_queued" in plan  # or that by device: which leads there sooner
            assert_nothing_is_searched_whole(plan)
            assert_nothing_is_sorted(plan)


def test_an_owner_with_nothing_queued_costs_no_search_of_all_that_others_have(store: Store) -> None:
    """PostgreSQL takes any of a queue for near, where most of the table is queued."""
    filled(store, 5000)
    with store.writing() as tx:
        tx.execute(text("UPDATE experiments SET state = 'queued'"))
        for number in range(10):
            turns.remember(tx, f"owner-{number}")
    if store.dialect == "postgresql":
        analyzed(store)
    with store.reading() as tx:
        (plan,) = plans(store, tx, lambda: turns.shares(tx))
    assert "ix_experiments_queued" in plan
    assert_nothing_is_searched_whole(plan)
