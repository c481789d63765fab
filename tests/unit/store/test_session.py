"""Transactions: what they see, what they leave, and what their failures are called."""

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import make_url, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError

from core.states import Ask
from core.store import clock, experiments, wishes, workers
from core.store.errors import DatabaseBroken, DatabaseUnavailable, StoreError
from core.store.session import Store, is_transient
from tests.servers import Postgres, free_port, wait_until
from tests.unit.store.builders import a_worker, spec, submitted


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(StoreError), store.writing() as tx:
        wishes.ask(tx, experiments.submit(tx, spec()).id + 1, Ask.CANCEL)
    with store.reading() as tx:
        assert experiments.list_newest(tx, limit=10) == []


def test_a_reader_sees_one_moment_while_others_write(store: Store) -> None:
    submitted(store)
    with store.reading() as snapshot:
        before = experiments.list_newest(snapshot, limit=10)
        submitted(store)
        assert experiments.list_newest(snapshot, limit=10) == before
    with store.reading() as tx:
        assert len(experiments.list_newest(tx, limit=10)) == 2


def test_a_read_that_ends_leaves_its_connection_fit_to_write(store: Store) -> None:
    for _ in range(3):
        with store.reading() as tx:
            experiments.list_newest(tx, limit=1)
        submitted(store)


def test_writers_of_many_threads_and_stores_all_come_through(store: Store, database_url: str) -> None:
    stores = [store, Store(database_url), Store(database_url)]

    def write(mine: Store) -> None:
        for _ in range(20):
            a_worker(mine)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, stores * 2))
    for other in stores[1:]:
        other.close()
    with store.reading() as tx:
        assert len(workers.all_workers(tx, 500)) == 6 * 20


def test_the_clock_of_the_database_is_now_in_milliseconds_and_the_same_within_a_statement(store: Store) -> None:
    before = time.time()
    with store.reading() as tx:
        first, again = tx.execute(select(clock.now_ms(), clock.now_ms())).one()
        time.sleep(0.005)
        later = tx.execute(select(clock.now_ms())).scalar_one()
    assert first == again < later
    assert int(before * 1000) <= first
    assert later <= time.time() * 1000 + 1


def test_times_are_written_as_rfc_3339() -> None:
    assert clock.rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert clock.rfc3339(1_769_851_800_007) == "2026-01-31T09:30:00.007Z"


def test_a_postgresql_that_is_away_is_unavailable_and_not_ours_to_mend() -> None:
    store = Store(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres")
    with pytest.raises(DatabaseUnavailable, match="does not answer") as caught, store.reading():
        pass
    assert is_transient(caught.value)
    assert isinstance(caught.value.__cause__, DBAPIError)
    assert is_transient(caught.value.__cause__)
    store.close()


def test_a_postgresql_that_was_restarted_serves_the_same_store_again() -> None:
    with Postgres() as server:
        store = Store(server.url)
        with store.writing() as tx:
            tx.execute(text("CREATE TABLE kept (n INT)"))

        def insert(n: int, meanwhile: Callable[[], None]) -> None:
            with store.writing() as tx:
                tx.execute(text(f"INSERT INTO kept VALUES ({n})"))
                meanwhile()

        with pytest.raises(DatabaseUnavailable):
            insert(1, meanwhile=server.restart)
        insert(2, meanwhile=lambda: None)
        with store.reading() as tx:
            assert tx.execute(text("SELECT n FROM kept")).scalars().all() == [2]
        store.close()


def test_waiting_too_long_for_a_lock_is_transient(store: Store) -> None:
    if store.dialect == "sqlite":
        pytest.skip("SQLite waits for 30 s")
    worker_id = a_worker(store)
    locked = text(f"SELECT id FROM workers WHERE id = {worker_id} FOR UPDATE NOWAIT")
    with store.writing() as tx:
        tx.execute(locked)
        with pytest.raises(DatabaseUnavailable), store.writing() as other:
            other.execute(locked)


def test_a_busy_sqlite_is_transient(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'one.db'}")
    other = sqlite3.connect(tmp_path / "one.db", timeout=0, isolation_level=None)
    with store.writing(), pytest.raises(sqlite3.OperationalError) as caught:
        other.execute("BEGIN IMMEDIATE")
    other.close()
    assert is_transient(DBAPIError("BEGIN", None, caught.value))
    store.close()


def test_our_own_faults_are_neither_transient_nor_hidden(store: Store) -> None:
    with pytest.raises(IntegrityError) as caught, store.writing() as tx:
        tx.execute(text("INSERT INTO service (id, machine, host) VALUES (2, 'a', 'b')"))
    assert not is_transient(caught.value)
    assert not is_transient(ValueError())


def test_a_file_that_is_no_database_is_said_to_be_broken(tmp_path: Path) -> None:
    file = tmp_path / "ballast.db"
    file.write_bytes(b"not a database at all" * 100)
    store = Store(f"sqlite:///{file}")
    with pytest.raises(DatabaseBroken, match="not a database") as caught, store.reading() as tx:
        tx.execute(text("SELECT * FROM sqlite_master"))
    assert not is_transient(caught.value)
    store.close()


def test_a_folder_that_is_not_there_is_said_to_be_broken(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'nowhere' / 'ballast.db'}")
    with pytest.raises(DatabaseBroken, match="unable to open"), store.writing():
        pass
    store.close()


def test_a_full_disk_is_said_to_be_broken_and_the_store_goes_on_once_there_is_room(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'ballast.db'}")
    with store.writing() as tx:
        tx.execute(text("CREATE TABLE filled (bytes BLOB)"))
        tx.exec_driver_sql("PRAGMA max_page_count = 3")  # holds for this connection, the only one
    much = text("INSERT INTO filled VALUES (zeroblob(100000))")
    with pytest.raises(DatabaseBroken, match="full"), store.writing() as tx:
        tx.execute(much)
    with store.writing() as tx:
        tx.exec_driver_sql("PRAGMA max_page_count = 1000")
        tx.execute(much)
    store.close()


def test_the_users_own_options_of_a_connection_are_kept(postgres: Postgres) -> None:
    store = Store(f"{postgres.url}?options=-c%20application_name%3Dmine&connect_timeout=3")
    with store.reading() as tx:
        shown = [
            tx.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("application_name", "lock_timeout", "idle_in_transaction_session_timeout")
        ]
    assert shown == ["mine", "5s", "10s"]
    store.close()


def test_a_server_that_is_frozen_for_good_is_given_up_and_another_may_take_its_place() -> None:
    with Postgres() as server:
        store = Store(server.url)
        with store.reading() as tx:
            tx.execute(text("SELECT 1"))
        with server.frozen(), ThreadPoolExecutor(1) as pool:
            asked = pool.submit(_ask, store)

            def given_up() -> bool:
                store.cut_if_hung(1)
                return asked.done()

            wait_until(given_up)
            with pytest.raises(DatabaseUnavailable):
                asked.result()
        _ask(store)
        store.close()


def _ask(store: Store) -> None:
    with store.writing() as tx:
        tx.execute(text("SELECT 1"))


def test_a_transaction_that_is_not_hung_is_not_cut(store: Store) -> None:
    """Neither is a long one, beside which others come to their end."""
    with store.reading() as tx:
        tx.execute(text("SELECT 1"))
        store.cut_if_hung(5)
        time.sleep(0.6)
        with store.reading() as other:
            other.execute(text("SELECT 1"))
        store.cut_if_hung(0.5)
        tx.execute(text("SELECT 1"))
    store.cut_if_hung(0)
    with store.reading() as tx:
        tx.execute(text("SELECT 1"))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_server_that_only_reads_for_a_while_is_away(store: Store, database_url: str) -> None:
    """As after a failover, when the name still leads to the standby."""
    name = make_url(database_url).database
    _ask(store)
    with store.writing() as tx:
        tx.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    again = Store(database_url)  # new connections read only
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable, match=r"only reads \(cannot execute CREATE TABLE.* standby"):
            _create(again)
    with store.writing() as tx:
        tx.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = off"))
    _create(again)  # over a connection that is new
    again.close()
    with pytest.raises(InternalError, match="read-only"), store.reading() as tx:  # our own fault
        tx.execute(text("CREATE TABLE another (id int)"))


def _create(store: Store) -> None:
    with store.writing() as tx:
        tx.execute(text("CREATE TABLE there_is_none (id int)"))
