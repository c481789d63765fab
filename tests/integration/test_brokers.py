"""What happens to Redis does not happen to training; and once Redis is back, a ring is heard again."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import pytest
import redis as redis_py

from core.doorbell import QUEUE
from core.states import State
from tests.integration.hosts import Host, ran_once, running, settings_over
from tests.servers import Redis, wait_until

HARMS: dict[str, Callable[[Redis], None]] = {
    "restarted empty": lambda server: server.restart(),
    "flushed": lambda server: server.ask("FLUSHALL"),
    "its clients cut off": lambda server: server.ask("CLIENT", "KILL", "TYPE", "normal"),
    "its listeners cut off": lambda server: server.ask("CLIENT", "KILL", "TYPE", "pubsub"),
    "away for three seconds": lambda server: _absent(server, 3),
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[tuple[Host, Redis]]:
    with Redis() as server:
        settings = settings_over(template, tmp_path_factory.mktemp("host"), broker_url=server.url)
        with running(Host(settings)) as host:
            yield host, server


@pytest.mark.parametrize("harm", HARMS)
def test_an_idle_worker_hears_rings_again_after_redis_was(harm: str, fleet: tuple[Host, Redis]) -> None:
    host, server = fleet
    pids = host.pids()
    rings_are_heard(host, server)
    HARMS[harm](server)
    rings_are_heard(host, server)
    assert host.pids() == pids


@pytest.mark.parametrize("harm", HARMS)
def test_training_goes_on_and_rings_are_heard_again_after_redis_was(harm: str, fleet: tuple[Host, Redis]) -> None:
    host, server = fleet
    pids = host.pids()
    experiment = host.submit(epochs=1_000_000, eval_every=10)
    host.wait_for_epoch(experiment)
    HARMS[harm](server)
    done = host.experiment(experiment).epochs_done
    host.wait_for_epoch(experiment, done + 20)
    host.cancel(experiment)
    assert host.wait_for_end(experiment).state is State.CANCELLED
    assert host.kinds(experiment) == ["submitted", "claimed", "requested", "cancelled"]
    rings_are_heard(host, server)
    assert host.pids() == pids


def rings_are_heard(host: Host, server: Redis) -> None:
    """The worker takes messages; and what is submitted starts sooner than its poll of once a second would explain."""
    with redis_py.Redis.from_url(server.url) as client:
        host.ring()
        wait_until(lambda: client.llen(QUEUE) == 0)
    latencies = []
    for _ in range(5):
        experiment = host.submit(epochs=1)
        ran_once(host, experiment)
        latencies.append(host.latency_ms(experiment))
    assert median(latencies) < 300, latencies


def _absent(server: Redis, seconds: float) -> None:
    server.stop()
    time.sleep(seconds)
    server.start()
