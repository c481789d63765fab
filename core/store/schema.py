"""The schema's revision, and moving it: Alembic is loaded only when something is to be moved. Also: whose file a SQLite
database is.
"""

import sqlite3
from contextlib import closing
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, func, insert, inspect, select, text, update

from core.store.errors import DatabaseBroken, OtherHost, SchemaAhead, SchemaBehind, SchemaMissing
from core.store.session import Store, translating_errors
from core.store.tables import service
from core.store.workers import count_alive

if TYPE_CHECKING:
    from alembic.config import Config

REVISION = "0010"  # what this code needs; revisions are numbered, so that older and newer can be told apart

log = structlog.get_logger()


class SchemaState(Enum):
    """How the database's revision compares with this code's."""

    EMPTY = auto()  # no schema yet
    BEHIND = auto()  # refuse to start
    CURRENT = auto()
    AHEAD = auto()  # start with a warning


def state_of(store: Store) -> SchemaState:
    revision = revision_of(store)
    if revision is None:
        return SchemaState.EMPTY
    if revision == REVISION:
        return SchemaState.CURRENT
    return SchemaState.BEHIND if revision < REVISION else SchemaState.AHEAD


def revision_of(store: Store) -> str | None:
    """The revision that the database has; None without a schema."""
    with store.reading() as tx:
        if not inspect(tx).has_table("alembic_version", schema_of(tx)):
            return None
        revision: str | None = tx.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        return revision


def schema_of(tx: Connection) -> str | None:
    """The one schema of PostgreSQL's search path that tables are made in; those of another Ballast may lie in the
    others. Raises DatabaseBroken where there is none, or where it could not take every name."""
    if tx.dialect.name == "sqlite":
        return None
    names = ("search_path", "server_encoding")
    asked = select(func.current_schema(), *(func.current_setting(name) for name in names))
    place, path, encoding = tx.execute(asked).one()
    if place is None:
        raise DatabaseBroken(
            f"the database has no schema that its search_path ({path or 'empty'}) names and this role may use: "
            "run CREATE SCHEMA, or correct the search_path"
        )
    if encoding != "UTF8":
        raise DatabaseBroken(
            f"the encoding of the database is {encoding}, which cannot keep every name: "
            "make another by CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    return str(place)


def identity(tx: Connection) -> str:
    """Which database of PostgreSQL this is: a restored copy lies in another cluster, under another name or in another
    schema. Only of a copy of the whole server's disk it is the same."""
    may = "has_function_privilege('pg_control_system()', 'execute')"
    system = (
        tx.execute(text("SELECT system_identifier FROM pg_control_system()")).scalar_one()
        if (tx.execute(text(f"SELECT {may}")).scalar_one())
        else "unknown"
    )
    return f"{system} {tx.execute(select(func.current_database())).scalar_one()} {schema_of(tx)}"


def require(store: Store) -> None:
    """Raises SchemaMissing or SchemaBehind where this code would not find its tables; says so where the database is
    newer."""
    state = state_of(store)
    if state is SchemaState.EMPTY:
        raise SchemaMissing
    if state is SchemaState.BEHIND:
        raise SchemaBehind
    if state is SchemaState.AHEAD:
        log.warning(str(SchemaAhead()))


def upgrade(url: str) -> None:
    """Bring the database to REVISION, from whatever is there; a newer one stays as it is. Two at once both succeed."""
    from alembic import command

    store = Store(url)
    try:
        if state_of(store) is SchemaState.AHEAD:
            return
    finally:
        store.close()
    with translating_errors():
        command.upgrade(_config(url), "head")
    _let_it_shrink(url)


def _let_it_shrink(url: str) -> None:
    """Once, and not while workers would have to wait for it. Nothing depends on it."""
    with closing(Store(url)) as store:
        with store.reading() as tx:
            if count_alive(tx):
                return
        try:
            store.make_shrinkable()
        except sqlite3.Error as error:
            log.warning(
                "the database keeps the space of what is deleted, until an upgrade finds room", error=str(error)
            )


def downgrade(url: str, revision: str) -> None:
    """Bring the database back to an older revision; "base" leaves nothing."""
    from alembic import command

    with translating_errors():
        command.downgrade(_config(url), revision)


def adopt(tx: Connection, machine: str, host: str) -> None:
    """Make a SQLite file this machine's own, if it is nobody's, or its owner has been silent for a minute (a home may
    be copied to another host). Raises OtherHost. PostgreSQL belongs to all hosts.
    """
    if tx.dialect.name != "sqlite":
        return
    owner = tx.execute(select(service)).one_or_none()
    if owner is None:
        tx.execute(insert(service).values(id=1, machine=machine, host=host))
        return
    if owner.machine != machine and count_alive(tx):
        raise OtherHost(owner.host)
    tx.execute(update(service).values(machine=machine, host=host))


def _config(url: str) -> "Config":
    from alembic.config import Config

    import migrations

    config = Config(attributes={"url": url})
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config
