"""Transactions on SQLite and PostgreSQL: one to read a snapshot, one to write. Callers open them, at the outermost
place that needs one; the other rooms of the store only take them. Facts behind the settings: core/store/README.md,
"SQLite", "PostgreSQL" and "Failures".
"""

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from itertools import count
from typing import Any
from weakref import WeakSet

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.store.errors import DatabaseBroken, DatabaseUnavailable
from core.tokens import LOCAL

# A cut link is noticed in 5 s, not 14, unless a user says otherwise. A frozen server is noticed by nothing on the
# connection.
_PATIENCE = {
    "tcp_user_timeout": 2500,
    "connect_timeout": 2,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}
_POSTGRESQL = {"prepare_threshold": None, "client_encoding": "utf8"}
# Behind a pooler the next transaction may meet another server process, so that nothing may rest on the session: no
# prepared statements, and whatever is set is set for one transaction. No frozen client holds up the others.
_LIMITS = "SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL lock_timeout = '5s'"
_BEGIN_TO_WRITE = f"BEGIN ISOLATION LEVEL READ COMMITTED; {_LIMITS}"
_BEGIN_TO_READ = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_LIMITS}"

# Errors of the database that get no name below, such as that tables are gone. Others of its driver's are our own fault.
UNFORESEEN = (OperationalError, InternalError, ProgrammingError)

_LOCK_TIMEOUT = "55P03"
_READ_ONLY = "25006"
_NO_OPTIONS = "unsupported startup parameter"  # of pgbouncer, which has no code for it
# Serialization failure, deadlock, …, too many connections, longer than the role's statement_timeout.
_RETRIED = {"40001", "40P01", _LOCK_TIMEOUT, "53300", "57014"}
_POSTGRESQL_BROKEN = ("53", "58", "42501")  # out of disk or memory, I/O errors, no right to do it
_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_BROKEN = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PROTOCOL,  # of locks, over a network
}


SHRINKABLE = "PRAGMA auto_vacuum = INCREMENTAL"  # before the first table, or before a VACUUM
_INCREMENTAL = 2
_PAGES = 1000  # of SQLite's file that are given back at a time: some 50 ms, for which a heartbeat may wait
_SPARE = 250  # that it keeps: a megabyte, which is soon written again

# What is tried to learn whether writes come through: as much as a submission writes, onto the disk, and undone.
_TRIAL = {
    "sqlite": (  # with next to no cache, or nothing would reach the disk before the end
        "CREATE TABLE tried (bytes BLOB)",
        f"INSERT INTO tried VALUES (zeroblob({256 * 1024}))",
    ),
    "postgresql": (  # a table would grow with every try; what does not fit into memory goes to the same disk
        "UPDATE experiments SET revision = revision WHERE false",
        "SET LOCAL work_mem = '64kB'",
        "SELECT count(*) FROM generate_series(1, 20000)",
    ),
}


class Store:
    """One database. One a process is enough: it is safe to share between threads."""

    def __init__(self, url: str) -> None:
        self._engine = engine_for(database_url(url))
        self.dialect = self._engine.dialect.name  # "sqlite" or "postgresql"
        self._closed = False
        self._numbers = count()
        self._open: dict[int, float] = {}  # transactions, and when they were begun
        self._ended = 0.0  # when one came to its end
        self._connections: WeakSet[psycopg.Connection] = WeakSet()
        self._writer = to_write(self._engine)
        if self.dialect == "sqlite":
            # SQLite's own queue of writers is unfair and slow; ours, within a process, doubles the writes
            # (core/store/README.md, "SQLite").
            self._one_writer: AbstractContextManager[Any] = threading.Lock()
            self._trial_engine = engine_for(self._engine.url)
            event.listen(self._trial_engine, "connect", _be_brief)
        else:
            self._one_writer = nullcontext()
            self._trial_engine = self._engine
            event.listen(self._engine, "connect", lambda connection, _: self._connections.add(connection))

    def cut_if_hung(self, seconds: float) -> None:
        """Cut every connection if a transaction has been open for so long, and none has ended meanwhile: a frozen
        server is noticed by nothing else, and whoever waits for it can then try another. Does no SQL."""
        begun = min(self._open.copy().values(), default=None)
        if begun is not None and time.monotonic() - max(begun, self._ended) > seconds:
            self._ended = time.monotonic()
            for connection in list(self._connections):
                _cut(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent snapshot. Never hold it across a response. Raises DatabaseUnavailable, DatabaseBroken."""
        with translating_errors(), self._timed(), self._engine.begin() as tx:
            yield tx

    @contextmanager
    def writing(self, actor: str = LOCAL) -> Iterator[Connection]:
        """Commits at the end, rolls back on an exception. `actor`: in whose name it writes, of a token, `local` or
        `worker`. Raises DatabaseUnavailable, DatabaseBroken."""
        with translating_errors(), self._one_writer, self._timed(), self._writer.begin() as tx:
            yield tx.execution_options(actor=actor)

    def try_to_write(self) -> None:
        """What writes, and leaves nothing. Raises DatabaseUnavailable, DatabaseBroken: of a full disk, of a standby."""
        with translating_errors(), to_write(self._trial_engine).connect() as tx:
            try:
                for statement in _TRIAL[self.dialect]:
                    tx.exec_driver_sql(statement)
            except OperationalError as error:
                if self.dialect == "sqlite" and is_transient(error):
                    return  # it is busy: somebody else writes, which is answer enough
                raise

    def give_back_space(self) -> None:
        """Let SQLite's file shrink by what was deleted, in steps between which others write; PostgreSQL sees to that by
        itself. What fails is tried again after the next deletion."""
        if self.dialect != "sqlite":
            return
        with suppress(sqlite3.Error, DBAPIError, PoolTimeout), closing(self._engine.raw_connection()) as pooled:
            file: sqlite3.Connection = pooled.driver_connection  # type: ignore[assignment]
            if _pragma(file, "auto_vacuum") != _INCREMENTAL:
                return  # until `make_shrinkable`
            while not self._closed and _pragma(file, "freelist_count") > _SPARE:
                began = time.monotonic()
                with self._one_writer:  # as a script: execute() would take one step, which is one page
                    file.executescript(f"PRAGMA incremental_vacuum({_PAGES})")
                time.sleep(time.monotonic() - began)
            file.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()  # the file itself shrinks only now

    def make_shrinkable(self) -> None:
        """Write a SQLite file anew, once, that was made before it could give space back."""
        if self.dialect != "sqlite":
            return
        with closing(self._engine.raw_connection()) as pooled:
            file: sqlite3.Connection = pooled.driver_connection  # type: ignore[assignment]
            if _pragma(file, "auto_vacuum") != _INCREMENTAL:
                file.executescript(f"{SHRINKABLE}; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._closed = True
        self._trial_engine.dispose()
        self._engine.dispose()

    @contextmanager
    def _timed(self) -> Iterator[None]:
        number = next(self._numbers)
        self._open[number] = time.monotonic()
        try:
            yield
            self._ended = time.monotonic()
        finally:
            del self._open[number]


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction, begun again, may succeed: the database was away, busy or chose a victim."""
    if isinstance(error, DatabaseUnavailable | PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error.orig) in _SQLITE_BUSY
    sqlstate = _sqlstate(error)
    failed_to_connect = isinstance(error, OperationalError) and sqlstate is None
    return error.connection_invalidated or failed_to_connect or sqlstate in _RETRIED


@contextmanager
def translating_errors() -> Iterator[None]:
    """Turns what the database's driver raises into a StoreError, where it is not our own fault."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        reason = str(getattr(error, "orig", error)).strip().partition("\n")[0]
        if _sqlstate(error) == _LOCK_TIMEOUT:
            raise DatabaseUnavailable("somebody else is changing the same: try again in a few seconds") from error
        if _sqlstate(error) == _READ_ONLY and is_transient(error):
            raise DatabaseUnavailable(
                f"the database only reads ({reason}): it is a standby, or its default_transaction_read_only is on"
            ) from error
        if _NO_OPTIONS in reason:
            raise DatabaseBroken(
                f"the pooler before the database takes no options ({reason}): say by ALTER ROLE what they say, such as "
                "the search_path"
            ) from error
        if is_transient(error):
            raise DatabaseUnavailable(f"the database does not answer ({reason})") from error
        if _is_broken(getattr(error, "orig", None)):
            raise DatabaseBroken(
                f"the database cannot be used ({reason}): look at its URL, its disk and its rights"
            ) from error
        raise


def database_url(url: str) -> URL:
    """The URL with the driver that we use."""
    parsed = make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.get_backend_name() == "postgresql" else parsed


def engine_for(url: URL) -> Engine:
    """An engine with the settings above. 40 connections, as many as the API has threads."""
    if url.get_backend_name() == "postgresql":
        engine = create_engine(
            url,
            connect_args={**_POSTGRESQL, **_patience(url)},
            isolation_level="AUTOCOMMIT",  # we say BEGIN ourselves
            pool_pre_ping=True,
            pool_size=10,
            max_overflow=30,
        )
        event.listen(engine, "begin", _begin_postgresql)
        event.listen(engine, "handle_error", _leave_a_standby)
        return engine
    engine = create_engine(url, pool_size=10, max_overflow=30)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def to_write(engine: Engine) -> Engine:
    """The same, its transactions begun to write."""
    return engine.execution_options(write=True)


def _patience(url: URL) -> dict[str, int]:
    """Ours, but for what a user says in the URL, or to libpq: by PGCONNECT_TIMEOUT, or in the file of a service."""
    users_own = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.val}
    return {name: value for name, value in _PATIENCE.items() if name not in users_own | set(url.query)}


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    connection.execute("PRAGMA busy_timeout = 30000")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_size_limit = 8388608")  # after a large deletion the log shrinks as well


def _pragma(file: sqlite3.Connection, name: str) -> int:
    return int(file.execute(f"PRAGMA {name}").fetchone()[0])


def _be_brief(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("PRAGMA cache_size = 1")


def _begin_sqlite(connection: Connection) -> None:
    # A read that turns into a write fails at once, however long the timeout: so a write says so first.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    connection.exec_driver_sql(_BEGIN_TO_WRITE if _writes(connection) else _BEGIN_TO_READ)  # one way there and back


def actor_of(tx: Connection) -> str:
    """In whose name this transaction writes."""
    return str(tx.get_execution_options().get("actor", LOCAL))


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("write", False))


def _leave_a_standby(context: ExceptionContext) -> None:
    """In a failover the same name leads to a server that only reads, for a while: a new connection may find another."""
    writes = context.connection is not None and _writes(context.connection)
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY and writes:
        context.is_disconnect = True


def _cut(connection: psycopg.Connection) -> None:
    """Whoever waits for an answer is told that the connection is gone."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as link:
        link.shutdown(socket.SHUT_RDWR)


def _is_broken(error: object) -> bool:
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        return True  # the URL holds an option that there is not
    sqlstate = getattr(error, "sqlstate", None) or ""
    return _sqlite_code(error) in _SQLITE_BROKEN or sqlstate.startswith(_POSTGRESQL_BROKEN)


def _sqlstate(error: BaseException) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _sqlite_code(error: object) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
