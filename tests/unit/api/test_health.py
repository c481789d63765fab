"""Health, version, workers; and what is answered when the database or the broker is away."""

import re
import resource
import sqlite3
from importlib import metadata
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import inspect, make_url, text
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from api.main import create_app
from core.broker import QUEUE
from core.broker.doorbell import Doorbell
from core.settings import Settings, load_settings
from core.states import WorkerState
from core.store import schema, workers
from core.store.session import Store
from tests.servers import Postgres, Redis, free_port
from tests.unit.api.builders import FILES, HOME, problem, spec
from tests.unit.api.conftest import BASE_URL
from tests.unit.store.builders import a_worker, claimed

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_service_that_is_well_says_so(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {
        "status": "ready",
        "database": "ok",
        "revision": schema.REVISION,
        "broker": "ok",
    }
    version = metadata.version("ballast")
    assert client.get("/version").json() == {"name": "ballast", "version": version, "home": None}


@on_sqlite
@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_host_is_told_where_the_home_is(store: Store, doorbell: Doorbell, address: str) -> None:
    app = create_app(store, doorbell, FILES, Path("/srv/b\udcffllast"))
    with TestClient(app, base_url=BASE_URL, client=(address, 50000)) as client:
        assert client.get("/version").json()["home"] == "/srv/b\ufffdllast"  # no Unicode on the disk, but in JSON


@on_sqlite
@pytest.mark.parametrize("address", ["192.168.1.7", "10.0.0.1", "fe80::1", "::ffff:10.0.0.1", "0.0.0.0", "", "unix"])
def test_no_other_host_is_told_where_the_home_is(store: Store, doorbell: Doorbell, address: str) -> None:
    app = create_app(store, doorbell, FILES, HOME)
    with TestClient(app, base_url=BASE_URL, client=(address, 50000)) as client:
        assert client.get("/version").json()["home"] is None


BROWSERS = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    *("text/html", "TEXT/HTML", "text/*", "text/html, application/json;q=0.9", "*/*;q=0.1, text/html; q=0.2"),
)
PROGRAMS = (
    *("*/*", "application/json", "application/*", "application/json, text/plain, */*", "application/json, text/html"),
    *("text/html;q=0.5, application/json", "text/html;q=0, */*", "image/png", "", ";", ",", "text/html;q=x", "q=1"),
)


@on_sqlite
@pytest.mark.parametrize("accept", BROWSERS)
def test_a_browser_is_answered_with_a_page_that_needs_nothing_else(client: TestClient, accept: str) -> None:
    page = client.get("/", headers={"accept": accept})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["vary"] == "Accept"
    assert "<title>Ballast</title>" in page.text
    assert page.text.count("<p>") == 1
    assert not re.search(r"<script|<style|style=|src=| on\w+=", page.text)
    links = re.findall(r'href="([^"]*)"', page.text)
    assert links == ["/docs", "/experiments", "/sweeps", "/presets", "/workers"]
    assert [client.get(link).status_code for link in links] == [200] * len(links)
    assert "default-src 'none'" in page.headers["content-security-policy"]


@on_sqlite
@pytest.mark.parametrize("accept", PROGRAMS)
def test_a_program_is_answered_with_paths_to_go_on_from(client: TestClient, accept: str) -> None:
    answer = client.get("/", headers={"accept": accept})
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (body.pop("name"), body.pop("version")) == ("ballast", metadata.version("ballast"))
    assert set(body) == {"docs", "openapi", "experiments", "sweeps", "presets", "workers"}
    assert [client.get(path).status_code for path in body.values()] == [200] * len(body)


@on_sqlite
def test_a_silent_broker_degrades_and_fails_nobody(store: Store, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, broker_url=f"redis://127.0.0.1:{free_port()}/0", database_url="")
    doorbell = Doorbell(settings)
    with TestClient(create_app(store, doorbell, FILES, HOME), base_url=BASE_URL) as client:
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["broker"]) == (200, "degraded")
        assert client.post("/experiments", json=spec()).status_code == 201
    doorbell.close()


@on_sqlite
def test_a_broker_that_answers_and_refuses_degrades_too(
    store: Store, tmp_path: Path, redis_server: Redis, database_url: str
) -> None:
    redis_server.ask("SET", QUEUE, "somebody's")
    doorbell = Doorbell(load_settings(home=tmp_path, broker_url=redis_server.url, database_url=database_url))
    with TestClient(create_app(store, doorbell, FILES, HOME), base_url=BASE_URL) as client:
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["broker"]) == (200, "degraded")
        redis_server.ask("DEL", QUEUE)
        assert client.get("/readyz").json()["broker"] == "ok"
    doorbell.close()


def test_no_worker_is_an_empty_list(client: TestClient) -> None:
    assert client.get("/workers").json() == {"items": []}


def test_workers_are_listed_the_living_first_with_what_they_do(client: TestClient, store: Store) -> None:
    gone, busy = a_worker(store, "gpu1", 1), a_worker(store, "gpu2", 2)
    number = client.post("/experiments", json=spec()).json()["id"]
    claimed(store, worker_id=busy)
    with store.writing() as tx:
        workers.report(tx, busy, WorkerState.BUSY, number)
        workers.report(tx, gone, WorkerState.GONE, None)
    first, second = client.get("/workers").json()["items"]
    assert first.pop("seen_at").endswith("Z")
    assert first == {
        "id": busy,
        "host": "gpu2",
        "pid": 2,
        "device": "cpu",
        "state": "busy",
        "experiment_id": number,
        "memory_used_mib": None,
        "memory_total_mib": None,
        "utilisation": None,
    }
    assert (second["id"], second["state"], second["experiment_id"]) == (gone, "gone", None)


def test_a_database_without_our_schema_is_not_ready(empty_url: str, doorbell: Doorbell) -> None:
    store = Store(empty_url)
    with TestClient(create_app(store, doorbell, FILES, HOME), base_url=BASE_URL) as client:
        assert "ballast db upgrade" in problem(client.get("/readyz"), 503)["detail"]
        assert client.get("/livez").status_code == 200
    store.close()


def test_a_newer_database_is_ready_and_said_to_be_newer(client: TestClient, store: Store) -> None:
    with store.writing() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with capture_logs() as logs:
        assert client.get("/readyz").status_code == 200
    assert "newer" in logs[0]["event"]


def test_a_database_that_goes_away_is_a_503_and_comes_back(doorbell: Doorbell) -> None:
    with Postgres() as server:
        schema.upgrade(server.url)
        store = Store(server.url)
        with TestClient(
            create_app(store, doorbell, FILES, HOME), base_url=BASE_URL, raise_server_exceptions=False
        ) as client:
            number = client.post("/experiments", json=spec()).json()["id"]
            server.stop()
            answers = [
                client.get("/readyz"),
                client.get("/experiments"),
                client.get(f"/experiments/{number}/curve"),
                client.post("/experiments", json=spec()),
                client.post(f"/experiments/{number}/cancel"),
            ]
            for response in answers:
                assert "the database does not answer" in problem(response, 503)["detail"]
                assert response.headers["retry-after"] == "2"
            assert client.get("/livez").status_code == 200
            assert client.get("/version").status_code == 200
            server.start()
            assert [item["id"] for item in client.get("/experiments").json()["items"]] == [number]
        store.close()


@on_sqlite
def test_a_disk_that_takes_nothing_more_is_not_ready_until_it_does(client: TestClient, database_url: str) -> None:
    """No file may grow beyond what the write-ahead log has already, which is what a full disk comes to."""
    assert client.post("/experiments", json=spec()).status_code == 201
    log = Path(f"{database_url.removeprefix('sqlite:///')}-wal")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    try:
        assert "look at its URL, its disk" in problem(client.get("/readyz"), 503)["detail"]
        assert client.get("/experiments").status_code == 200
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert client.get("/readyz").status_code == 200


@on_sqlite
def test_one_that_is_being_written_is_ready_and_to_ask_leaves_nothing(
    client: TestClient, store: Store, database_url: str
) -> None:
    with store.writing():
        assert client.get("/readyz").status_code == 200
    file = Path(database_url.removeprefix("sqlite:///"))
    size = file.stat().st_size
    for _ in range(20):
        assert client.get("/readyz").status_code == 200
    store.close()  # what was written is where it belongs now
    assert file.stat().st_size == size
    with store.reading() as tx:
        assert "tried" not in inspect(tx).get_table_names()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_standby_is_not_ready(database_url: str, doorbell: Doorbell) -> None:
    name = make_url(database_url).database
    store = Store(database_url)
    with TestClient(create_app(store, doorbell, FILES, HOME), base_url=BASE_URL) as client:
        assert client.get("/readyz").status_code == 200
        with store.writing() as tx:
            tx.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        store.close()  # its new connections only read
        assert "only reads" in problem(client.get("/readyz"), 503)["detail"]
        assert client.get("/experiments").status_code == 200
    store.close()


@on_sqlite
def test_a_sqlite_file_that_is_no_database_any_more_is_a_503(
    client: TestClient, store: Store, database_url: str
) -> None:
    store.close()
    file = Path(database_url.removeprefix("sqlite:///"))
    for part in file.parent.glob(f"{file.name}*"):
        part.unlink()
    file.write_bytes(b"no database at all" * 100)
    problem(client.get("/experiments"), 503)


@on_sqlite
def test_our_own_fault_is_a_500_that_tells_nothing_but_its_request_id(
    client: TestClient, store: Store, settings: Settings
) -> None:
    with store.writing() as tx:
        tx.execute(text("DROP TABLE events"))
    with capture_logs(processors=[merge_contextvars]) as logs:
        response = client.post("/experiments", json=spec(), headers={"x-request-id": "mine"})
    refusal = problem(response, 500)
    assert refusal["request_id"] == "mine"
    assert "events" not in response.text
    (entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert entry["request_id"] == "mine"
    assert isinstance(entry["exc_info"], Exception)
    assert not list(settings.queue_dir.rglob("*.msg"))


@on_sqlite
def test_a_locked_sqlite_file_is_read_all_the_same(client: TestClient, database_url: str) -> None:
    other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert client.get("/experiments").status_code == 200
    other.close()
