"""Health, version, workers; and what is answered when the database or the broker is away."""

import sqlite3
from importlib import metadata
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from structlog.testing import capture_logs

from api.main import create_app
from core.doorbell import QUEUE, Doorbell
from core.settings import Settings, load_settings
from core.states import WorkerState
from core.store import schema, workers
from core.store.session import Store
from tests.servers import Postgres, Redis, free_port
from tests.unit.api.builders import FILES, problem, spec
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
    assert client.get("/version").json() == {"name": "ballast", "version": metadata.version("ballast")}


@on_sqlite
def test_a_silent_broker_degrades_and_fails_nobody(store: Store, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, broker_url=f"redis://127.0.0.1:{free_port()}/0", database_url="")
    doorbell = Doorbell(settings)
    with TestClient(create_app(store, doorbell, FILES), base_url=BASE_URL) as client:
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
    with TestClient(create_app(store, doorbell, FILES), base_url=BASE_URL) as client:
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
        workers.seen(tx, busy, WorkerState.BUSY, number)
        workers.seen(tx, gone, WorkerState.GONE, None)
    first, second = client.get("/workers").json()["items"]
    assert first.pop("seen_at").endswith("Z")
    assert first == {
        "id": busy,
        "host": "gpu2",
        "pid": 2,
        "device": "cpu",
        "state": "busy",
        "experiment_id": number,
    }
    assert (second["id"], second["state"], second["experiment_id"]) == (gone, "gone", None)


def test_a_database_without_our_schema_is_not_ready(empty_url: str, doorbell: Doorbell) -> None:
    store = Store(empty_url)
    with TestClient(create_app(store, doorbell, FILES), base_url=BASE_URL) as client:
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
        with TestClient(create_app(store, doorbell, FILES), base_url=BASE_URL, raise_server_exceptions=False) as client:
            number = client.post("/experiments", json=spec()).json()["id"]
            server.stop()
            asked = [
                client.get("/readyz"),
                client.get("/experiments"),
                client.get(f"/experiments/{number}/curve"),
                client.post("/experiments", json=spec()),
                client.post(f"/experiments/{number}/cancel"),
            ]
            for response in asked:
                assert "the database does not answer" in problem(response, 503)["detail"]
                assert response.headers["retry-after"] == "2"
            assert client.get("/livez").status_code == 200
            assert client.get("/version").status_code == 200
            server.start()
            assert [item["id"] for item in client.get("/experiments").json()["items"]] == [number]
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
    with capture_logs() as logs:
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
