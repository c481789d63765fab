"""From POST to running, by the events of each experiment: on an idle worker, in both modes."""

import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from api.client import Client
from tests.benchmarks.harness import Measurement
from tests.e2e.processes import DIGITS, Process, Up, ballast, is_ready, running, wait_for_end
from tests.servers import Postgres, Redis, free_port, wait_until

TRIALS = 20


def measure() -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        yield _embedded(Path(folder))
    with tempfile.TemporaryDirectory() as folder, Postgres() as postgres, Redis() as redis:
        yield _distributed(Path(folder), {"database_url": postgres.url, "broker_url": redis.url})


def _embedded(home: Path) -> Measurement:
    with running(Up(home, "--workers", "1")) as up:
        return Measurement("POST to running, embedded", _latencies(up.client), "s", at_most=0.5)


def _distributed(folder: Path, settings: dict[str, str]) -> Measurement:
    done = ballast("db", "upgrade", home=folder, **settings)
    assert done.returncode == 0, done.stderr
    port = free_port()
    api = Process("api", log=folder / "api.log", home=folder / "a", port=port, **settings)
    worker = Process("worker", "--processes", "1", log=folder / "w.log", home=folder / "b", **settings)
    client = Client(f"http://127.0.0.1:{port}")
    with running(api), running(worker):
        wait_until(lambda: is_ready(client, worker), 60)
        latencies = _latencies(client)
        client.close()
    return Measurement("POST to running, PostgreSQL and Redis", latencies, "s", at_most=0.1)


def _latencies(client: Client) -> list[float]:
    def trial(number: int) -> float:
        experiment = client.submit(DIGITS | {"epochs": 1})["id"]
        wait_for_end(client, experiment)
        time.sleep(0.5 + 0.29 * number % 1)  # idle again, and out of step with its poll
        at = {event["kind"]: datetime.fromisoformat(event["at"]) for event in client.events(experiment)}
        return (at["claimed"] - at["submitted"]).total_seconds()

    trial(0)
    return [trial(number) for number in range(TRIALS)]
