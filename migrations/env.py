"""How Alembic reaches the database. Run by `core.store.schema`, or by `alembic -x url=… <command>`.

A migration is one transaction under a lock, so that of two at once the second finds nothing left to do.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, event, func, select

from core.store.schema import schema_of
from core.store.session import SHRINKABLE, database_url, engine_for, to_write
from core.store.tables import metadata

_MIGRATORS = 0xBA11A58  # the advisory lock that migrations take in turn
_PATIENCE_S = 30
# A migration takes its time, whatever else holds for the role; `engine_for` sets limits for what is short.
_UNLIMITED = "; ".join(
    f"SET LOCAL {name} = 0" for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
)


def migrate() -> None:
    url = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True)["url"]
    transaction = _sqlite if url.startswith("sqlite") else _postgresql
    with transaction(url) as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=True,
            version_table_schema=schema_of(connection),
        )
        context.run_migrations()


@contextmanager
def _postgresql(url: str) -> Iterator[Connection]:
    engine = to_write(engine_for(database_url(url)))
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(_UNLIMITED)
            connection.execute(select(func.pg_advisory_xact_lock(_MIGRATORS)))
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _sqlite(url: str) -> Iterator[Connection]:
    engine = create_engine(database_url(url), poolclass=NullPool)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        yield connection
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if orphans:
            raise RuntimeError(f"the migration would leave rows without their parents: {orphans[:5]}")


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_S * 1000}")
    # With foreign keys on, a table rebuilt by batch mode takes all rows that refer to it along.
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(SHRINKABLE)
    _write_ahead(connection)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Set the journal mode, which the file then keeps. Two that do so at once find it locked, whatever the timeout."""
    deadline = time.monotonic() + _PATIENCE_S
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


migrate()
