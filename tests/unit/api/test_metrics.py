"""What Prometheus reads: every name that alerts and dashboards stand on, and nothing that grows without end."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from api.metrics import Metrics
from core.states import DeviceType, ErrorKind, WorkerState
from core.store import attempts, experiments, tallies, workers
from core.store.session import Store
from core.store.tallies import Count, Tally
from core.store.workers import GpuUse
from core.tokens import WORKER
from tests.servers import free_port
from tests.unit.api.builders import problem, spec
from tests.unit.store import builders

NAMES = {
    *("ballast_info", "ballast_database_up", "ballast_database_round_trip_seconds"),
    *("ballast_experiments_queued", "ballast_queue_oldest_seconds", "ballast_experiments_running"),
    *("ballast_workers", "ballast_epoch_seconds"),
    *("ballast_gpu_memory_used_bytes", "ballast_gpu_memory_total_bytes", "ballast_gpu_utilisation_ratio"),
    *("ballast_lease_losses_total", "ballast_failures_total", "ballast_stale_writes_refused_total"),
    *("ballast_epochs_total", "ballast_images_trained_total"),
    *(f"ballast_http_request_seconds_{part}" for part in ("bucket", "count", "sum")),
}
ODD = 'a"b\\c\nd é'
H100 = "NVIDIA H100"


def families(client: TestClient) -> Iterator[Metric]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    yield from text_string_to_metric_families(answer.text)


def samples(client: TestClient, name: str) -> dict[tuple[str, ...], float]:
    """By the values of their labels, in the order of their names."""
    found = (each for family in families(client) for each in family.samples if each.name == name)
    return {tuple(value for _, value in sorted(each.labels.items())): each.value for each in found}


def filled(store: Store) -> None:
    """Something of everything."""
    for seed in range(3):
        with store.writing(ODD) as tx:
            experiments.submit(tx, builders.spec(seed=seed), device=DeviceType.GPU)
    with store.writing(WORKER) as tx:
        gpu = workers.register(tx, "h1", 1, "cuda:0", H100)
        workers.report_gpu(tx, gpu, GpuUse(1024, 4096, 50))
        workers.report(tx, gpu, WorkerState.BUSY, 1)
        tallies.add(tx, [Count(gpu, Tally.STALE_WRITES, 2)])
    held = builders.claims.claim
    with store.writing(WORKER) as tx:
        claim = held(tx, gpu, builders.MINUTE, H100)
        assert claim is not None
        attempts.record(tx, claim, builders.result(1), 1.5)


def test_every_name_is_there(client: TestClient, store: Store) -> None:
    filled(store)
    client.get("/livez")
    assert {sample.name for family in families(client) for sample in family.samples} - NAMES == {
        "ballast_http_request_seconds_created"
    }
    assert {sample.name for family in families(client) for sample in family.samples} >= NAMES
    assert all(family.documentation for family in families(client))


def test_they_say_what_is_so(client: TestClient, store: Store) -> None:
    filled(store)
    gpu = ("cuda:0", "h1")
    assert samples(client, "ballast_experiments_queued") == {("gpu", ODD): 2}
    assert samples(client, "ballast_experiments_running") == {("gpu", ODD): 1}
    assert samples(client, "ballast_workers") == {(H100, "busy"): 1}
    assert samples(client, "ballast_epoch_seconds") == {(H100,): 1.5}
    assert samples(client, "ballast_epochs_total") == {(): 1}
    assert samples(client, "ballast_images_trained_total") == {(): 100}
    assert samples(client, "ballast_stale_writes_refused_total") == {(): 2}
    assert samples(client, "ballast_failures_total") == {(kind,): 0 for kind in ErrorKind}
    assert samples(client, "ballast_gpu_memory_used_bytes") == {gpu: 2**30}
    assert samples(client, "ballast_gpu_memory_total_bytes") == {gpu: 2**32}
    assert samples(client, "ballast_gpu_utilisation_ratio") == {gpu: 0.5}
    assert samples(client, "ballast_database_up") == {(): 1}


def test_a_dead_worker_leaves_nothing_behind(client: TestClient, store: Store) -> None:
    filled(store)
    with store.writing() as tx:
        tx.execute(text("UPDATE workers SET state = 'dead'"))
    for name in ("ballast_workers", "ballast_gpu_memory_used_bytes", "ballast_gpu_utilisation_ratio"):
        assert samples(client, name) == {}


def test_a_counter_does_not_fall_when_experiments_are_deleted(client: TestClient, store: Store) -> None:
    filled(store)
    with store.writing() as tx:
        tx.execute(text("UPDATE experiments SET state = 'cancelled', worker_id = NULL"))
    for number in (1, 2, 3):
        assert client.delete(f"/experiments/{number}").status_code == 204
    assert samples(client, "ballast_experiments_queued") == {}
    assert samples(client, "ballast_epochs_total") == {(): 1}


def test_requests_are_told_by_the_template_of_their_route(client: TestClient) -> None:
    for number in range(1, 20):
        client.get(f"/experiments/{number}")
    client.head("/livez")
    client.post("/livez")
    client.get("/nowhere/7")
    client.request("BREW", "/pot")
    counted = samples(client, "ballast_http_request_seconds_count")
    assert counted == {
        ("GET", "/experiments/{id}", "404"): 19,
        ("GET", "/livez", "200"): 1,
        ("POST", "/livez", "405"): 1,
        ("GET", "none", "404"): 1,
        ("other", "none", "404"): 1,
    }


def test_what_is_our_fault_is_a_500(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(workers, "all_workers", broken)
    problem(client.get("/workers"), 500)
    assert samples(client, "ballast_http_request_seconds_count") == {("GET", "/workers", "500"): 1}


def test_with_the_database_away_it_says_that(client: TestClient, store: Store) -> None:
    filled(store)
    with store.writing() as tx:
        tx.execute(text("ALTER TABLE workers RENAME TO moved"))
    client.get("/livez")
    names = {sample.name for family in families(client) for sample in family.samples}
    assert samples(client, "ballast_database_up") == {(): 0}
    assert "ballast_info" in names
    assert "ballast_http_request_seconds_count" in names
    assert "ballast_experiments_queued" not in names
    assert "ballast_epochs_total" not in names  # 0 would be a fall


def test_a_server_that_is_gone_is_no_error() -> None:
    with closing(Store(f"postgresql://127.0.0.1:{free_port()}/ballast")) as store:
        scraped = Metrics().scraped(store).decode()
    assert "ballast_database_up 0.0" in scraped


def test_the_stats_of_the_queue(client: TestClient, store: Store) -> None:
    nothing = {"queued": 0, "running": 0, "oldest_seconds": None}
    assert client.get("/queue/stats").json() == nothing | {
        "paused": 0,
        "slots": 0,
        "by_device": dict.fromkeys(DeviceType, nothing),
        "slots_by_device": {"cpu": 0, "gpu": 0},
        "by_owner": [],
    }
    filled(store)
    client.post("/experiments", json=spec())
    client.post("/experiments/4/pause")
    client.post("/experiments", json=spec())
    stats = client.get("/queue/stats").json()
    assert (stats["queued"], stats["running"], stats["paused"], stats["slots"]) == (3, 1, 1, 1)
    assert stats["slots_by_device"] == {"cpu": 0, "gpu": 1}
    assert [(each["owner"], each["queued"], each["running"]) for each in stats["by_owner"]] == [
        (ODD, 2, 1),
        ("local", 1, 0),
    ]
    by_device = {device: (each["queued"], each["running"]) for device, each in stats["by_device"].items()}
    assert by_device == {"any": (1, 0), "cpu": (0, 0), "gpu": (2, 1)}
    assert 0 <= stats["by_device"]["any"]["oldest_seconds"] <= stats["oldest_seconds"] < 60
