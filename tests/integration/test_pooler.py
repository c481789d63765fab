"""A connection pooler in transaction mode: every transaction meets another of PostgreSQL's processes, which knows
nothing of the last one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text

from core.states import State
from core.store import attempts, claims, experiments, leases, schema
from core.store.errors import DatabaseBroken
from core.store.schema import SchemaState
from core.store.session import Store
from tests.integration.hosts import Host, ran_once, running, settings_of
from tests.servers import NoPooler, PgBouncer, Postgres
from tests.unit.store.builders import a_worker, claimed, result, seen_now, submitted

PROCESSES = 3  # of the server, behind the pooler


@pytest.fixture(scope="module")
def pooler(postgres: Postgres) -> Iterator[PgBouncer]:
    try:
        server = PgBouncer(postgres)
    except NoPooler as reason:
        pytest.skip(f"NOT TRIED: a connection pooler. {reason}")
    with server:
        yield server


@pytest.fixture
def pooled_url(pooler: PgBouncer, postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """Of a database without a schema, behind the pooler."""
    name = f"pooled_{request.node.name[:40]}"
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield pooler.url_of(name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def pooled(pooled_url: str) -> Iterator[Store]:
    schema.upgrade(pooled_url)
    store = Store(pooled_url)
    yield store
    store.close()


def test_every_experiment_is_claimed_once_and_ends_with_all_its_rows(pooled: Store, pooled_url: str) -> None:
    """More often than a statement must be repeated for psycopg to prepare it."""
    ids = [submitted(pooled) for _ in range(24)]
    others = [Store(pooled_url) for _ in range(3)]

    def work(store: Store) -> list[int]:
        worker_id, done = a_worker(store), []
        while True:
            with store.writing() as tx:
                claim = claims.claim(tx, worker_id, 60_000)
            if claim is None:
                return done
            for epoch in (1, 2):
                with store.writing() as tx:
                    attempts.record(tx, claim, result(epoch))
                with store.writing() as tx:
                    leases.renew(tx, claim, 60_000)
            with store.writing() as tx:
                attempts.finish(tx, claim, result(3), State.SUCCEEDED)
            done.append(claim.experiment_id)

    with ThreadPoolExecutor(len(others)) as pool:
        done = [each for some in pool.map(work, others) for each in some]
    for other in others:
        other.close()
    assert sorted(done) == ids
    with pooled.reading() as tx:
        found = experiments.list_newest(tx, limit=50)
        rows = tx.execute(text("SELECT count(*) FROM curve_rows")).scalar_one()
    assert {(each.state, each.attempt, each.epochs_done) for each in found} == {(State.SUCCEEDED, 1, 3)}
    assert rows == 3 * len(ids)


def test_limits_hold_in_every_transaction_and_stay_in_none_of_the_servers_processes(pooled: Store) -> None:
    limits = text("SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')")
    for _ in range(PROCESSES):
        with pooled.reading() as tx:
            assert tx.execute(limits).one() == ("5s", "10s")
        with pooled.writing() as tx:
            assert tx.execute(limits).one() == ("5s", "10s")
            assert tx.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
            assert tx.execute(text("SHOW transaction_read_only")).scalar_one() == "off"
    neighbour = str(
        make_url(pooled._engine.url).set(drivername="postgresql")
    )  # another program, behind the same pooler
    with psycopg.connect(neighbour, autocommit=True, prepare_threshold=None) as theirs:
        for _ in range(PROCESSES):
            shown = [theirs.execute(f"SHOW {name}").fetchone() for name in ("lock_timeout", "transaction_isolation")]
            assert shown == [("0",), ("read committed",)]


def test_readers_see_one_moment(pooled: Store) -> None:
    submitted(pooled)
    with pooled.reading() as snapshot:
        before = experiments.list_newest(snapshot, limit=10)
        submitted(pooled)
        assert experiments.list_newest(snapshot, limit=10) == before


def test_migrations_go_up_and_down_and_up_again(pooled: Store, pooled_url: str) -> None:
    schema.upgrade(pooled_url)
    schema.downgrade(pooled_url, "base")
    assert schema.state_of(pooled) is SchemaState.EMPTY
    schema.upgrade(pooled_url)
    schema.require(pooled)


def test_a_pooler_that_was_restarted_serves_the_same_store_again(pooled: Store, pooler: PgBouncer) -> None:
    submitted(pooled)
    claim = claimed(pooled)
    pooler.restart()
    with pooled.writing() as tx:
        attempts.finish(tx, claim, result(3), State.SUCCEEDED)
    assert seen_now(pooled, claim.experiment_id).state is State.SUCCEEDED


def test_a_schema_is_said_by_the_role_since_a_pooler_takes_no_options(pooled_url: str, postgres: Postgres) -> None:
    with pytest.raises(DatabaseBroken, match=r"takes no options .* ALTER ROLE"):
        schema.upgrade(f"{pooled_url}?options=-csearch_path%3Dmine")
    name = str(make_url(pooled_url).database)
    with psycopg.connect(postgres.url_of(name), autocommit=True) as direct:
        direct.execute("CREATE SCHEMA mine")
    postgres.execute(f"ALTER ROLE postgres IN DATABASE {name} SET search_path = mine")
    schema.upgrade(pooled_url)
    with psycopg.connect(postgres.url_of(name)) as direct:
        found = direct.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'experiments'").fetchall()
    assert found == [("mine",)]


@pytest.mark.slow
def test_a_worker_behind_a_pooler_trains(pooled_url: str, pooled: Store, tmp_path: Path) -> None:
    schema.require(pooled)
    with running(Host(settings_of(tmp_path / "home", database_url=pooled_url))) as host:
        for _ in range(2):
            ran_once(host, host.submit(epochs=20))
        assert "does not answer" not in host.log_text()
