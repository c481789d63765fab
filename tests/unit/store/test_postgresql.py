"""PostgreSQL as people run it: schemas, roles, encodings, and what the environment tells its driver."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from core.store import experiments, schema
from core.store.errors import DatabaseBroken, DatabaseUnavailable, SchemaMissing
from core.store.session import Store
from tests.servers import Postgres
from tests.unit.store.builders import submitted

_numbers = count(1)

# How a user may say which schema is meant: what is run as a superuser, what stands behind the URL, and PGOPTIONS.
WAYS = {
    "url": ("", "?options=-csearch_path%3Dmine", ""),
    "role": ("ALTER ROLE theirs SET search_path = mine", "", ""),
    "environment": ("", "", "-c search_path=mine"),
    "before others": ("ALTER ROLE theirs SET search_path = mine, public", "", ""),
}


class Database:
    """One of its own, its role `theirs`."""

    def __init__(self, server: Postgres, encoding: str = "UTF8") -> None:
        self._server = server
        self.name = f"asrun_{next(_numbers)}"
        server.execute(
            f"CREATE DATABASE {self.name} TEMPLATE template0 ENCODING '{encoding}'",
            "DROP ROLE IF EXISTS theirs",
            "CREATE ROLE theirs LOGIN",
            f"GRANT ALL ON DATABASE {self.name} TO theirs",
        )
        self.execute("GRANT ALL ON SCHEMA public TO theirs")
        self.url = server.url_of(self.name).replace("//postgres@", "//theirs@")

    def execute(self, *statements: str) -> None:
        store = Store(self._server.url_of(self.name))
        with store.writing() as tx:
            for statement in statements:
                tx.execute(text(statement))
        store.close()

    def schemas_with(self, table: str) -> set[str]:
        store = Store(self._server.url_of(self.name))
        with store.reading() as tx:
            found = tx.execute(text(f"SELECT schemaname FROM pg_tables WHERE tablename = '{table}'"))
            names = set(found.scalars())
        store.close()
        return names

    def drop(self) -> None:
        self._server.execute(f"DROP DATABASE {self.name} WITH (FORCE)", "DROP ROLE theirs")


@pytest.fixture
def database(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[Database]:
    database = Database(postgres, getattr(request, "param", "UTF8"))
    yield database
    database.drop()


@pytest.fixture
def opened() -> Iterator[Callable[[str], Store]]:
    stores: list[Store] = []

    def open_at(url: str) -> Store:
        stores.append(Store(url))
        return stores[-1]

    yield open_at
    for store in stores:
        store.close()


def names(store: Store) -> list[str]:
    with store.reading() as tx:
        return [each.name for each in experiments.list_newest(tx, limit=10)]


@pytest.mark.parametrize("way", WAYS)
def test_a_schema_of_ones_own_holds_everything_however_it_is_said(
    way: str, database: Database, opened: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    said, behind, options = WAYS[way]
    database.execute("CREATE SCHEMA mine", "GRANT ALL ON SCHEMA mine TO theirs", *filter(None, [said]))
    monkeypatch.setenv("PGOPTIONS", options)
    schema.upgrade(database.url + behind)
    schema.upgrade(database.url + behind)
    store = opened(database.url + behind)
    schema.require(store)
    submitted(store, name="here")
    assert names(store) == ["here"]
    assert database.schemas_with("alembic_version") == database.schemas_with("experiments") == {"mine"}


@pytest.mark.parametrize("way", ["url", "before others"])
def test_two_schemas_of_one_database_hold_a_ballast_each(
    way: str, database: Database, opened: Callable[[str], Store]
) -> None:
    """The other's tables are no tables of ours, even where the search path leads to both."""
    schema.upgrade(database.url)
    other = opened(database.url)
    submitted(other, name="theirs")
    said, behind, _ = WAYS[way]
    database.execute("CREATE SCHEMA mine", "GRANT ALL ON SCHEMA mine TO theirs", *filter(None, [said]))
    store = opened(database.url + behind)
    with pytest.raises(SchemaMissing):
        schema.require(store)
    schema.upgrade(database.url + behind)
    schema.require(store)
    submitted(store, name="ours")
    assert (names(store), names(other)) == (["ours"], ["theirs"])
    schema.downgrade(database.url + behind, "base")
    assert names(other) == ["theirs"]


@pytest.mark.parametrize("path", ["nowhere", "", "closed"])
def test_a_schema_that_is_not_there_is_a_sentence(
    path: str, database: Database, opened: Callable[[str], Store]
) -> None:
    database.execute("CREATE SCHEMA closed")
    url = f"{database.url}?options=-csearch_path%3D{path}"
    store = opened(url)
    for needs in (lambda: schema.upgrade(url), lambda: schema.require(store), lambda: schema.state_of(store)):
        with pytest.raises(DatabaseBroken, match=rf"no schema that its search_path \({path or '.*'}\) names") as caught:
            needs()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("database", ["SQL_ASCII", "LATIN1"], indirect=True)
def test_a_database_that_cannot_keep_every_name_is_refused_with_what_to_do(
    database: Database, opened: Callable[[str], Store]
) -> None:
    for needs in (lambda: schema.upgrade(database.url), lambda: schema.require(opened(database.url))):
        with pytest.raises(DatabaseBroken, match=r"encoding of the database is (SQL_ASCII|LATIN1).* ENCODING 'UTF8'"):
            needs()


def test_a_role_that_may_not_create_tables_is_told_so_and_may_use_those_that_are_there(
    database: Database, postgres: Postgres, opened: Callable[[str], Store]
) -> None:
    database.execute("REVOKE ALL ON SCHEMA public FROM theirs", "GRANT USAGE ON SCHEMA public TO theirs")
    with pytest.raises(DatabaseBroken, match=r"permission denied for schema public.* rights") as caught:
        schema.upgrade(database.url)
    assert "\n" not in str(caught.value)
    schema.upgrade(postgres.url_of(database.name))  # as its owner
    for kind in ("TABLES", "SEQUENCES"):
        database.execute(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO theirs")
    schema.upgrade(database.url)  # there is nothing to do
    store = opened(database.url)
    submitted(store, name="theirs")
    assert names(store) == ["theirs"]


def test_what_the_environment_and_the_role_say_of_sessions_changes_nothing(
    database: Database, opened: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"PGCLIENTENCODING": "LATIN1", "PGTZ": "Asia/Kathmandu", "PGDATESTYLE": "German, DMY", "PGAPPNAME": "theirs"}
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    for setting in (
        "default_transaction_isolation = serializable",
        "default_transaction_deferrable = on",
        "bytea_output = escape",
        "standard_conforming_strings = on",
        "timezone = 'Asia/Kathmandu'",
        "idle_in_transaction_session_timeout = '1h'",
        "lock_timeout = '1ms'",
    ):
        database.execute(f"ALTER ROLE theirs SET {setting}")
    schema.upgrade(database.url)
    store = opened(database.url)
    submitted(store, name="16:1 → 1:1 ∞ 試")
    assert names(store) == ["16:1 → 1:1 ∞ 試"]
    with store.writing() as tx:
        shown = [
            tx.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("transaction_isolation", "lock_timeout", "application_name")
        ]
    assert shown == ["read committed", "5s", "theirs"]


def test_a_role_that_only_reads_is_told_so(database: Database, opened: Callable[[str], Store]) -> None:
    database.execute("ALTER ROLE theirs SET default_transaction_read_only = on")
    with pytest.raises(DatabaseUnavailable, match=r"only reads .*default_transaction_read_only"):
        schema.upgrade(database.url)
    database.execute("ALTER ROLE theirs RESET default_transaction_read_only")
    schema.upgrade(database.url)
    submitted(opened(database.url))


def test_a_statement_that_takes_longer_than_the_role_allows_is_tried_again(
    database: Database, opened: Callable[[str], Store]
) -> None:
    database.execute("ALTER ROLE theirs SET statement_timeout = '100ms'")
    with pytest.raises(DatabaseUnavailable, match="statement timeout"), opened(database.url).reading() as tx:
        tx.execute(text("SELECT pg_sleep(5)"))


def test_what_a_user_tells_libpq_goes_on_working(
    database: Database, opened: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = make_url(database.url)
    there = {"host": str(address.host), "port": str(address.port), "user": "theirs", "dbname": database.name}
    schema.upgrade(database.url)
    submitted(opened(database.url), name="here")
    with monkeypatch.context() as environment:
        for name, value in there.items():
            environment.setenv("PGDATABASE" if name == "dbname" else f"PG{name.upper()}", value)
        environment.setenv("PGSSLMODE", "disable")
        assert names(opened("postgresql:///")) == ["here"]
    services = tmp_path / "services"
    services.write_text("\n".join(["[ballast]", *(f"{name}={value}" for name, value in there.items())]))
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    assert names(opened("postgresql:///?service=ballast")) == ["here"]
    monkeypatch.setenv("PGSERVICE", "ballast")
    assert names(opened("postgresql:///")) == ["here"]


def test_how_long_to_wait_for_a_server_may_be_said_in_each_of_libpqs_ways(
    database: Database, opened: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(url: str) -> dict[str, str]:
        with opened(url).reading() as tx:
            connection = tx.connection.driver_connection
            assert connection is not None
            told = connection.pgconn.info
            return {option.keyword.decode(): option.val.decode() for option in told if option.val}

    ours = waits(database.url)
    assert (ours["connect_timeout"], ours["tcp_user_timeout"]) == ("2", "2500")
    theirs = waits(f"{database.url}?connect_timeout=7&tcp_user_timeout=9000")
    assert (theirs["connect_timeout"], theirs["tcp_user_timeout"]) == ("7", "9000")
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "8")
    assert waits(database.url)["connect_timeout"] == "8"
