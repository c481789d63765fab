"""Of quotas over HTTP: a sentence, when to try again, and nothing made."""

import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from api.client import Client, Refused
from api.pace import Pace
from core.broker.doorbell import Doorbell
from core.store import experiments, tokens
from core.store.session import Store
from core.store.tokens import Quotas
from core.tokens import Scope
from tests.servers import Redis, free_port
from tests.unit.api.builders import problem, spec
from tests.unit.api.conftest import BASE_URL
from tests.unit.api.serving import application, serving
from tests.unit.api.test_callers import bearer


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def client(store: Store, doorbell: Doorbell) -> Iterator[TestClient]:
    app = application(store, doorbell, needs_token=True)
    app.state.pace = Pace()
    with TestClient(app, base_url=BASE_URL, raise_server_exceptions=False) as client:
        yield client


def limited(store: Store, name: str = "alice", **quotas: int) -> dict[str, str]:
    with store.writing() as tx:
        return bearer(tokens.create(tx, name, Scope.SUBMIT, quotas=Quotas(**quotas)))


def test_too_many_that_wait_are_refused_whole_and_use_no_key_up(client: TestClient, store: Store) -> None:
    alice = limited(store, max_queued=2) | {"Idempotency-Key": "k"}
    sweep = {"base": spec(), "axes": {"seed": [0, 1, 2]}}
    refused = client.post("/sweeps", json=sweep, headers=alice)
    assert problem(refused, 429)["detail"] == (
        "alice may have 2 queued: 0 are, and 3 more would be too many; wait for some of them, or cancel or pause some"
    )
    assert refused.headers["retry-after"] == "60"
    assert refused.headers["ratelimit-policy"] == '"max-queued";q=2'
    assert refused.headers["ratelimit"] == '"max-queued";r=2;t=60'
    assert client.get("/sweeps", headers=alice).json()["items"] == []
    smaller = {"base": spec(), "axes": {"seed": [0, 1]}}
    assert client.post("/sweeps", json=smaller, headers=alice).status_code == 201
    del alice["Idempotency-Key"]
    for path, body in (("/experiments", spec()), ("/sweeps/1/members", {"axes": {"seed": [7]}})):
        problem(client.post(path, json=body, headers=alice), 429)
    client.post("/sweeps/1/pause", headers=alice)
    assert client.post("/experiments", json=spec(), headers=alice).status_code == 201
    problem(client.post("/sweeps/1/resume", headers=alice), 429)
    assert client.get("/sweeps/1", headers=alice).json()["counts"]["paused"] == 2


def test_a_dry_run_makes_nothing_and_is_not_counted(client: TestClient, store: Store) -> None:
    alice = limited(store, max_queued=1)
    sweep = {"base": spec(), "axes": {"seed": [0, 1, 2]}}
    assert client.post("/sweeps?dry_run=true", json=sweep, headers=alice).status_code == 200


def test_a_token_sends_so_many_requests_a_minute_and_the_others_what_they_like(
    client: TestClient, store: Store
) -> None:
    alice, bob = limited(store, per_minute=3), limited(store, "bob")
    assert [client.get("/experiments", headers=alice).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = client.post("/experiments", json=spec(), headers=alice)
    detail = problem(refused, 429)["detail"]
    seconds = int(refused.headers["retry-after"])
    assert 50 < seconds <= 60
    assert detail == f"the token alice may send 3 requests a minute: go on in {seconds} s"
    assert refused.headers["ratelimit-policy"] == '"per-minute";q=3;w=60'
    assert refused.headers["ratelimit"] == f'"per-minute";r=0;t={seconds}'
    problem(client.post("/sign-in", data={"token": alice["Authorization"].split()[1]}), 429)
    assert client.get("/experiments", headers=bob).json()["items"] == []


def test_processes_of_the_api_count_together_in_redis(redis_server: Redis) -> None:
    first, second = Pace(redis_server.url), Pace(redis_server.url)
    taken = [pace.refusal("of-two", 4) for pace in (first, second) * 3]
    assert taken[:4] == [None] * 4
    assert all(refusal and 0 < refusal.seconds <= 60 for refusal in taken[4:])


def test_without_redis_each_process_counts_by_itself_and_says_so_once() -> None:
    pace = Pace(f"redis://:secret@127.0.0.1:{free_port()}/0")
    began = time.monotonic()
    with capture_logs() as logs:
        assert [pace.refusal("alice", 2) is None for _ in range(3)] == [True, True, False]
    assert len(logs) == 1
    assert "secret" not in str(logs)
    assert time.monotonic() - began < 5


def test_a_redis_that_is_frozen_holds_nobody_up() -> None:
    with Redis() as redis:
        pace = Pace(redis.url)
        assert pace.refusal("alice", 2) is None
        with redis.frozen():
            assert [pace.refusal("alice", 2) is None for _ in range(3)] == [True, True, False]


def test_the_client_waits_as_long_as_it_is_told_and_then_sends_it_again(store: Store, doorbell: Doorbell) -> None:
    secret = limited(store, per_minute=2)["Authorization"].split()[1]
    pace = Pace()
    with serving(store, doorbell) as url:
        application(store, doorbell).state.pace = pace
        client = Client(url, token=secret)
        assert client.workers() == client.workers() == []
        _let_pass(pace, 58)
        began = time.monotonic()
        assert client.submit(spec())["owner"] == "alice"
        client.close()
    assert time.monotonic() - began > 0.5
    with store.reading() as tx:
        assert len(experiments.list_newest(tx, limit=9)) == 1


def _let_pass(pace: Pace, seconds: float) -> None:
    """As if what was counted had been counted earlier."""
    for events in pace._alone.storage.events.values():  # type: ignore[attr-defined]
        for event in events:
            event.atime -= seconds
            event.expiry -= seconds


def test_too_many_that_wait_are_raised_at_once(store: Store, doorbell: Doorbell) -> None:
    secret = limited(store, max_queued=1)["Authorization"].split()[1]
    with serving(store, doorbell) as url:
        client = Client(url, token=secret)
        client.submit(spec())
        with pytest.raises(Refused, match="alice may have 1 queued: 1 are, and 1 more") as refused:
            client.submit(spec())
        client.close()
    assert refused.value.status == 429
