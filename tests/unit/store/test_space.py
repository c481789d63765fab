"""A SQLite file gives back the space of what is deleted, and holds up nobody while it does."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from core.store import schema
from core.store.session import Store
from tests.unit.store.builders import a_worker, seen_now, submitted

MIB = 2**20


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ballast.db"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    schema.upgrade(f"sqlite:///{file}")
    store = Store(f"sqlite:///{file}")
    yield store
    store.close()


def fill(store: Store, mib: int) -> int:
    """An experiment with so many MiB of weights."""
    experiment_id = submitted(store)
    with store.writing() as tx:
        tx.execute(text(f"INSERT INTO weights VALUES ({experiment_id}, zeroblob({mib * MIB}))"))
    return experiment_id


def delete(store: Store, experiment_id: int) -> None:
    with store.writing() as tx:
        tx.execute(text(f"DELETE FROM experiments WHERE id = {experiment_id}"))


def test_what_is_deleted_is_given_back_to_the_disk(store: Store, file: Path) -> None:
    kept, gone = fill(store, 2), fill(store, 20)
    delete(store, gone)
    store.give_back_space()
    assert 2 * MIB < file.stat().st_size < 4 * MIB
    submitted(store)
    assert file.with_name("ballast.db-wal").stat().st_size <= 8 * MIB
    assert seen_now(store, kept).id == kept
    with store.reading() as tx:
        assert tx.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"


def test_others_write_between_its_steps(store: Store, file: Path) -> None:
    delete(store, fill(store, 40))
    steps = threading.Thread(target=store.give_back_space)
    steps.start()
    written = 0
    other = Store(f"sqlite:///{file}")
    while steps.is_alive():
        a_worker(other)
        written += 1
        time.sleep(0.01)  # who writes without a pause starves all others, of whatever SQLite file
    steps.join()
    other.close()
    assert written > 1
    assert file.stat().st_size < 3 * MIB


def test_a_store_that_is_closed_gives_back_no_more(store: Store, file: Path) -> None:
    delete(store, fill(store, 20))
    store.close()
    store.give_back_space()
    assert file.stat().st_size > 20 * MIB


def test_a_file_of_before_is_written_anew_by_an_upgrade_once_no_worker_is_at_work(store: Store, file: Path) -> None:
    kept, gone = fill(store, 5), fill(store, 5)
    worker_id = a_worker(store)
    store.close()
    with closing(sqlite3.connect(file)) as before:
        before.executescript(
            "PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM; PRAGMA journal_mode = WAL"
        )
    schema.upgrade(f"sqlite:///{file}")
    assert pragma(file, "auto_vacuum") == 0
    old = Store(f"sqlite:///{file}")
    delete(old, gone)
    old.give_back_space()
    old.close()
    assert file.stat().st_size > 10 * MIB
    with store.writing() as tx:
        tx.execute(text(f"UPDATE workers SET state = 'gone' WHERE id = {worker_id}"))
    store.close()
    schema.upgrade(f"sqlite:///{file}")
    assert (pragma(file, "auto_vacuum"), pragma(file, "journal_mode")) == (2, "wal")
    assert seen_now(store, kept).id == kept
    again = Store(f"sqlite:///{file}")
    delete(again, kept)
    again.give_back_space()
    again.close()
    assert file.stat().st_size < 2 * MIB


def pragma(file: Path, name: str) -> object:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]
