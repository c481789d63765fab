"""A copy of a SQLite database, made while it is written; the line that makes one of PostgreSQL."""

import shlex
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.store import backup, schema
from core.store.errors import BackupFailed
from core.store.session import Store
from tests.servers import Postgres
from tests.unit.store.builders import submitted


@pytest.fixture
def file(_sqlite_template: Path) -> Path:
    return _sqlite_template


@pytest.fixture
def busy(tmp_path: Path, file: Path) -> Iterator[Path]:
    """A database into which somebody writes all the time."""
    own = tmp_path / "ballast.db"
    own.write_bytes(file.read_bytes())
    stop = threading.Event()

    def write() -> None:
        with closing(Store(f"sqlite:///{own}")) as store:
            while not stop.is_set():
                submitted(store)

    thread = threading.Thread(target=write)
    thread.start()
    yield own
    stop.set()
    thread.join()


def count(file: Path) -> int:
    with closing(sqlite3.connect(file)) as opened:
        number: int = opened.execute("SELECT count(*) FROM experiments").fetchone()[0]
        return number


def test_a_copy_is_one_moment_of_a_database_that_is_written_and_holds_nobody_up(busy: Path, tmp_path: Path) -> None:
    told = []
    for n in range(10):
        before = count(busy)
        told.append(backup.copy_sqlite(busy, tmp_path / f"copy-{n}"))
        assert before <= told[-1].experiments <= count(busy)
        assert told[-1].revision == schema.REVISION
    assert count(busy) > told[0].experiments
    for n, each in enumerate(told):
        copy = tmp_path / f"copy-{n}"
        assert (count(copy), copy.stat().st_size) == (each.experiments, each.size)
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        with closing(Store(f"sqlite:///{copy}")) as store:
            submitted(store)
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]


def test_nothing_is_overwritten_and_nothing_half_done_is_left(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.write_text("mine")
    with pytest.raises(BackupFailed, match="is there already"):
        backup.copy_sqlite(file, target)
    with pytest.raises(BackupFailed, match="there is no folder"):
        backup.copy_sqlite(file, tmp_path / "nowhere" / "copy")
    assert target.read_text() == "mine"
    others = tmp_path / "others.db"
    with closing(sqlite3.connect(others)) as opened:
        opened.execute("CREATE TABLE experiments (id)")
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(file.read_bytes()[:4096] + bytes(100_000))
    for bad in (others, damaged):
        with pytest.raises(BackupFailed, match=bad.name):
            backup.copy_sqlite(bad, tmp_path / "copy of a bad one")
    assert {each.name for each in tmp_path.iterdir()} == {"copy", "others.db", "damaged.db"}


def test_the_line_for_postgresql_names_the_schema_and_no_password(postgres: Postgres) -> None:
    postgres.execute("CREATE DATABASE backed_up")
    options = "?options=-csearch_path%3Dmine&password=secret2&sslmode=prefer"
    url = postgres.url_of("backed_up").replace("postgres@", "postgres:s%40cret@") + options
    with closing(Store(url)) as store:
        with store.writing() as tx:
            tx.exec_driver_sql("CREATE SCHEMA mine")
        line = backup.postgresql_line(store, url, Path("/backups/of me.dump"))
    words = shlex.split(line)
    assert words[0] == "pg_dump"
    assert {"--format=custom", "--schema=mine", "--file=/backups/of me.dump"} < set(words)
    assert words[-1] == f"--dbname={postgres.url_of('backed_up')}?sslmode=prefer"
    postgres.execute("DROP DATABASE backed_up")
