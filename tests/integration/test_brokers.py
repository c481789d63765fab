"""What happens to Redis does not happen to training; and once Redis is back, a ring is heard again."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import kombu
import pytest
from kombu import Message
from redis.exceptions import ConnectionError as RedisUnreachable

from core.states import ENDED, State
from tests.integration.hosts import Host, ran_once, running, settings_over
from tests.servers import Redis, wait_until
from worker.brokers import RedisChannel

# So that a worker begins by a ring or not at all.
WITHOUT_POLL = """
import sys, threading
if "worker.process" in sys.orig_argv:
    from worker.leave import Leave
    wait = Leave.wait
    Leave.wait = lambda leave, s=None: wait(leave, None if threading.current_thread().name == "poll" else s)
"""

HARMS: dict[str, Callable[[Redis], None]] = {
    "restarted empty": lambda server: server.restart(),
    "flushed": lambda server: server.ask("FLUSHALL"),
    "its clients cut off": lambda server: server.ask("CLIENT", "KILL", "TYPE", "normal"),
    "its listeners cut off": lambda server: server.ask("CLIENT", "KILL", "TYPE", "pubsub"),
    "away for three seconds": lambda server: _absent(server, 3),
}


def test_a_ring_that_cannot_be_acknowledged_keeps_no_other_away() -> None:
    """It was the last that a worker heard: no more than one at a time is asked for."""
    with Redis() as server, kombu.Connection(server.url, transport_options={"socket_timeout": 2}) as connection:
        assert isinstance(connection.default_channel, RedisChannel)
        heard: list[Message] = []
        queue = kombu.Queue("ballast", kombu.Exchange("ballast"), "ballast", channel=connection.default_channel)
        with connection.Consumer(
            [queue], callbacks=[lambda _, message: heard.append(message)], prefetch_count=1
        ) as ears:
            connection.Producer().publish({}, "ballast", exchange=queue.exchange)
            connection.drain_events(timeout=10)
            assert not ears.channel.qos.can_consume()
            server.stop()
            with pytest.raises(RedisUnreachable):
                heard[0].ack()
            assert ears.channel.qos.can_consume()
            server.start()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[tuple[Host, Redis]]:
    with Redis() as server:
        folder = tmp_path_factory.mktemp("host")
        (folder / "sitecustomize.py").write_text(WITHOUT_POLL)
        settings = settings_over(template, folder, broker_url=server.url)
        with running(Host(settings, environment={"PYTHONPATH": str(folder)})) as host:
            yield host, server


@pytest.mark.parametrize("harm", HARMS)
def test_an_idle_worker_hears_rings_again_after_redis_was(harm: str, fleet: tuple[Host, Redis]) -> None:
    host, server = fleet
    pids = host.pids()
    rings_are_heard(host)
    HARMS[harm](server)
    rings_are_heard(host)
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
    rings_are_heard(host)
    assert host.pids() == pids


def rings_are_heard(host: Host) -> None:
    """One or another: a ring is lost with the link that carried it."""
    experiment = host.submit(epochs=1, ring=False)

    def heard() -> bool:
        host.ring()
        return host.experiment(experiment).state in ENDED

    wait_until(heard)
    ran_once(host, experiment)


def _absent(server: Redis, seconds: float) -> None:
    server.stop()
    time.sleep(seconds)
    server.start()
