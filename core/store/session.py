"""Transactions on SQLite and PostgreSQL: one to read a snapshot, one to write. Callers open them, at the outermost
place that needs one; the other rooms of the store only take them. Facts behind the settings: STORE §1 and §7.
"""

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from itertools import count
from typing import Any
from weakref import WeakSet

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.store.errors import DatabaseBroken, DatabaseUnavailable

# A cut link is noticed in 5 s, not 14. A frozen server is noticed by nothing on the connection.
_POSTGRESQL = {
    "tcp_user_timeout": 2500,
    "connect_timeout": 2,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}
_TIMEOUTS = "-c idle_in_transaction_session_timeout=10s -c lock_timeout=5s"  # no frozen client holds up the others

# Errors of the database that get no name below, such as that tables are gone. Others of its driver's are our own fault.
UNFORESEEN = (OperationalError, InternalError, ProgrammingError)

_LOCK_TIMEOUT = "55P03"
_READ_ONLY = "25006"
_RETRIED = {"40001", "40P01", _LOCK_TIMEOUT, "53300"}  # serialization failure, deadlock, …, too many connections
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


class Store:
    """One database. One a process is enough: it is safe to share between threads."""

    def __init__(self, url: str) -> None:
        self._engine = engine_for(database_url(url))
        self.dialect = self._engine.dialect.name  # "sqlite" or "postgresql"
        self._numbers = count()
        self._open: dict[int, float] = {}  # transactions, and when they were begun
        self._ended = 0.0  # when one came to its end
        self._connections: WeakSet[psycopg.Connection] = WeakSet()
        if self.dialect == "sqlite":
            # SQLite's own queue of writers is unfair and slow; ours, within a process, doubles the writes (STORE §1).
            self._turn: AbstractContextManager[Any] = threading.Lock()
            self._reader = self._engine
            self._writer = self._engine.execution_options(write=True)
        else:
            self._turn = nullcontext()
            event.listen(self._engine, "connect", lambda connection, _: self._connections.add(connection))
            event.listen(self._engine, "handle_error", _leave_a_standby)
            self._reader = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._writer = self._engine.execution_options(isolation_level="READ COMMITTED")

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
        with translated(), self._timed(), self._reader.begin() as tx:
            yield tx

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Commits at the end, rolls back on an exception. Raises DatabaseUnavailable, DatabaseBroken."""
        with translated(), self._turn, self._timed(), self._writer.begin() as tx:
            yield tx

    def close(self) -> None:
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


def transient(error: BaseException) -> bool:
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
def translated() -> Iterator[None]:
    """Turns what the database's driver raises into a StoreError, where it is not our own fault."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        reason = str(getattr(error, "orig", error)).strip().partition("\n")[0]
        if _sqlstate(error) == _LOCK_TIMEOUT:
            raise DatabaseUnavailable("somebody else is changing the same: try again in a few seconds") from error
        if transient(error):
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
        options = f"{url.query.get('options', '')} {_TIMEOUTS}"
        return create_engine(
            url, connect_args={**_POSTGRESQL, "options": options}, pool_pre_ping=True, pool_size=10, max_overflow=30
        )
    engine = create_engine(url, pool_size=10, max_overflow=30)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    connection.execute("PRAGMA busy_timeout = 30000")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    # A read that turns into a write fails at once, however long the timeout: so a write says so first.
    write = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _leave_a_standby(context: ExceptionContext) -> None:
    """In a failover the same name leads to a server that only reads, for a while: a new connection may find another."""
    reads = context.connection is not None and context.connection.get_execution_options().get("postgresql_readonly")
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY and not reads:
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
