"""Who may do what: with no token, a wrong one, one that may less, another's. Every route that there is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import event, select, update
from structlog.testing import capture_logs

from api.main import OPEN_ROUTERS, ROUTERS
from core.broker.doorbell import Doorbell
from core.store import tokens
from core.store.errors import DatabaseBroken
from core.store.session import Store
from core.store.tables import tokens as table
from core.tokens import Scope
from tests.unit.api.builders import problem, spec
from tests.unit.api.conftest import BASE_URL
from tests.unit.api.serving import LAB, application

Secrets = dict[str, str]

LOCKED = [
    (method, route.path)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods)
]
OPEN = [
    route.path
    for router in OPEN_ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and "GET" in (route.methods or ())
]
CHANGES_ONE = [(method, path) for method, path in LOCKED if method != "GET" and "{id}" in path and "extend" not in path]


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    store = Store(sqlite_url)
    yield store
    store.close()


@pytest.fixture
def client(store: Store, doorbell: Doorbell) -> Iterator[TestClient]:
    app = application(store, doorbell, needs_token=True)
    with TestClient(app, base_url=BASE_URL, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def secrets(store: Store) -> Secrets:
    scopes = {"reader": Scope.READ, "alice": Scope.SUBMIT, "bob": Scope.SUBMIT, "keeper": Scope.ADMIN}
    with store.writing() as tx:
        return {name: tokens.create(tx, name, scope) for name, scope in scopes.items()}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def call(client: TestClient, method: str, path: str, headers: dict[str, str] | None = None, body: Any = None) -> Any:
    sent = {} if method in ("GET", "DELETE") else {"json": body if body is not None else {}}
    return client.request(method, re.sub(r"\{\w+\}", "1", path), headers=headers, **sent)


def test_the_lists_above_are_not_empty() -> None:
    assert len(LOCKED) > 30
    assert len(CHANGES_ONE) >= 13
    assert set(OPEN) == {"/", "/livez", "/readyz", "/version", "/sign-in"}


@pytest.mark.parametrize(("method", "path"), LOCKED)
def test_no_route_answers_without_a_token_or_with_a_wrong_one(client: TestClient, method: str, path: str) -> None:
    refused = call(client, method, path)
    assert "asks for a token" in problem(refused, 401)["detail"]
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert "not valid" in problem(call(client, method, path, bearer("ballast_" + "x" * 43)), 401)["detail"]


@pytest.mark.parametrize("path", OPEN)
def test_what_a_probe_asks_needs_none(client: TestClient, path: str) -> None:
    assert call(client, "GET", path).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        *("", "Bearer", "Bearer ", "Basic YWxpY2U6", "bearer\tx", "Bearer null", "Bearer x y", "Token x"),
        "Bearer \u00e9",
    ],
)
def test_what_is_no_token_is_refused(client: TestClient, sent: str) -> None:
    problem(client.get("/experiments", headers={"Authorization": sent.encode("latin-1")}), 401)


def test_two_tokens_are_none(client: TestClient, secrets: Secrets) -> None:
    headers = [("Authorization", f"Bearer {secrets[name]}") for name in ("alice", "alice")]
    problem(client.get("/experiments", headers=headers), 401)


def test_the_word_bearer_may_be_written_small(client: TestClient, secrets: Secrets) -> None:
    assert client.get("/experiments", headers={"authorization": f"bearer {secrets['reader']}"}).status_code == 200


@pytest.mark.parametrize("path", ["/experiments", "/sweeps", "/workers", "/presets"])
@pytest.mark.parametrize("over", [{"revoked_ms": 1}, {"expires_ms": 1}])
def test_one_that_is_over_is_refused(
    client: TestClient, store: Store, secrets: Secrets, path: str, over: dict[str, int]
) -> None:
    assert client.get(path, headers=bearer(secrets["alice"])).status_code == 200
    with store.writing() as tx:
        tx.execute(update(table).values(over).where(table.c.name == "alice"))
    problem(client.get(path, headers=bearer(secrets["alice"])), 401)


@pytest.mark.parametrize(("method", "path"), [each for each in LOCKED if each[0] != "GET"])
def test_one_that_reads_changes_nothing(client: TestClient, secrets: Secrets, method: str, path: str) -> None:
    detail = problem(call(client, method, path, bearer(secrets["reader"])), 403)["detail"]
    assert detail == "the token reader may read only: this needs the scope submit"


@pytest.mark.parametrize(("method", "path"), CHANGES_ONE)
def test_nobody_changes_what_is_anothers_but_an_admin(
    client: TestClient, secrets: Secrets, method: str, path: str
) -> None:
    what = "sweep" if path.startswith("/sweeps") else "experiment"
    made = {"base": spec(), "axes": {"seed": [0, 1]}} if what == "sweep" else spec()
    answer = client.post(f"/{what}s", json=made, headers=bearer(secrets["alice"]))
    assert (answer.status_code, answer.json()["owner"]) == (201, "alice")
    body = {"priority": 3} if method == "PATCH" else {"axes": {"seed": [7]}} if path.endswith("members") else {}
    detail = problem(call(client, method, path, bearer(secrets["bob"]), body), 403)["detail"]
    assert detail == f"{what} 1 is alice's: only alice and tokens of scope admin may change it"
    for name in ("keeper", "alice"):
        assert call(client, method, path, bearer(secrets[name]), body).status_code not in (401, 403)


def test_what_is_grown_stays_its_owners_and_events_say_who(client: TestClient, secrets: Secrets) -> None:
    sweep = {"base": spec(), "axes": {"seed": [0]}}
    client.post("/sweeps", json=sweep, headers=bearer(secrets["alice"]))
    keeper = bearer(secrets["keeper"])
    grown = client.post("/sweeps/1/members", json={"axes": {"seed": [1]}}, headers=keeper).json()
    assert [member["owner"] for member in grown["members"]["items"]] == ["alice", "alice"]
    client.post("/experiments/2/pause", headers=keeper)
    events = client.get("/experiments/2/events", headers=keeper).json()["items"]
    assert [(event["kind"], event["actor"]) for event in events] == [("submitted", "keeper"), ("paused", "keeper")]


def test_a_key_is_its_senders_own(client: TestClient, secrets: Secrets) -> None:
    key = {"Idempotency-Key": "k"}
    first, second, again = (
        client.post("/experiments", json=spec(), headers=key | bearer(secrets[name]))
        for name in ("alice", "bob", "alice")
    )
    assert (first.json()["owner"], second.json()["owner"]) == ("alice", "bob")
    assert again.json() == first.json()
    assert "Idempotency-Replayed" in again.headers


def test_where_none_is_needed_one_that_is_sent_counts_all_the_same(store: Store, doorbell: Doorbell) -> None:
    with store.writing() as tx:
        secret = tokens.create(tx, "reader", Scope.READ)
    with TestClient(application(store, doorbell), base_url=BASE_URL) as client:
        assert client.post("/experiments", json=spec()).json()["owner"] == "local"
        problem(client.post("/experiments", json=spec(), headers=bearer(secret)), 403)
        problem(client.get("/experiments", headers=bearer("wrong")), 401)


def test_a_name_of_this_service_is_known_and_a_page_of_its_own_may_ask(client: TestClient, secrets: Secrets) -> None:
    own = {"host": f"{LAB}:8000", "origin": f"http://{LAB}:8000"} | bearer(secrets["reader"])
    assert client.get("/experiments", headers=own).status_code == 200
    detail = problem(client.get("/experiments", headers=own | {"host": "evil.example"}), 403)["detail"]
    assert detail == f"this Host is not known here: use 127.0.0.1, [::1], localhost or {LAB}"
    problem(client.get("/experiments", headers=own | {"origin": "http://evil.example"}), 403)


def test_a_forwarded_host_or_address_opens_nothing(client: TestClient) -> None:
    spoofed = {
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Host": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Real-IP": "127.0.0.1",
        "Forwarded": "for=127.0.0.1;host=127.0.0.1",
    }
    problem(client.get("/experiments", headers=spoofed), 401)
    problem(client.get("/experiments", headers=spoofed | {"host": "evil.example"}), 403)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
def test_a_proxy_that_nobody_spoke_of_opens_nothing(store: Store, doorbell: Doorbell, header: str) -> None:
    """It may send on requests of others, and make them look like this host's own."""
    with TestClient(application(store, doorbell), base_url=BASE_URL) as client:
        refused = client.get("/experiments", headers={header: "127.0.0.1"})
        assert "BALLAST_TRUSTED_PROXIES" in problem(refused, 403)["detail"]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_nobodys_body_is_looked_at(client: TestClient, content_type: str) -> None:
    problem(client.post("/experiments", content=b"{", headers={"Content-Type": content_type}), 401)


def test_a_database_that_only_reads_is_read_all_the_same(client: TestClient, store: Store, secrets: Secrets) -> None:
    """What it cannot note is not noted."""
    event.listen(store._engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only = ON"))
    store._engine.dispose()
    with pytest.raises(DatabaseBroken), store.writing() as tx:
        tokens.revoke(tx, "reader")
    with capture_logs() as logs:
        assert client.get("/experiments", headers=bearer(secrets["reader"])).status_code == 200
    assert logs == []


def test_using_one_is_noted_and_no_answer_holds_a_secret(client: TestClient, store: Store, secrets: Secrets) -> None:
    answers = [client.get(path, headers=bearer(secrets["alice"])).text for path in ("/experiments", "/workers", "/")]
    answers.append(client.post("/experiments", json={}, headers=bearer(secrets["alice"])).text)
    assert not any(secrets["alice"] in answer for answer in answers)
    with store.reading() as tx:
        used = {row.name: row.used_ms for row in tx.execute(select(table.c.name, table.c.used_ms))}
    assert used["alice"] is not None
    assert used["bob"] is None


def test_the_document_says_how_to_sign_in(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"] == {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "ballast_session"},
    }
    assert document["security"] == [{"token": []}, {"session": []}]
    open_paths = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if operation.get("security") == []
    }
    assert open_paths == {*OPEN, "/sign-out"}


def test_who_is_not_known_is_not_told_what_the_database_said(
    client: TestClient, secrets: Secrets, tmp_path: Path
) -> None:
    """It may name hosts, users and folders; the log does."""
    away = Store(f"sqlite:///{tmp_path / 'nowhere' / 'ballast.db'}")
    with capture_logs() as logs:
        client.app.state.store = away  # type: ignore[attr-defined]
        answers = [client.get(path) for path in ("/readyz", "/experiments")] + [
            client.get("/experiments", headers=bearer(secrets["alice"])),
            client.post("/sign-in", data={"token": secrets["alice"]}),
        ]
    away.close()
    assert "unable to open" in str(logs)
    for answer in answers[:1] + answers[2:]:
        detail = problem(answer, 503)["detail"]
        assert detail == "the service cannot do this now: its log says why, under this request_id"
    problem(answers[1], 401)
