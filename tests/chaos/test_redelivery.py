"""Redis gives a message again that was taken and not acknowledged: here after 5 s, in the middle of a run."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis as redis_py

from core.broker import QUEUE
from core.settings import Settings
from core.states import State
from tests.chaos.conftest import Summarize
from tests.chaos.trials import turns
from tests.integration.hosts import Host, ran_once, running, settings_over
from tests.integration.messages import message
from tests.servers import Redis, wait_until

VISIBLE_AGAIN_AFTER = 5
SECONDS = 30  # of the run

# kombu looks for what has become visible every 100 s; here every second.
OPTIONS = {
    "visibility_timeout": VISIBLE_AGAIN_AFTER,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}

# A worker as it is shipped, but for these options of its transport; and nobody holds its leash.
IMPATIENT = f"""
from worker import app, process
shipped = app.transport_options
app.transport_options = lambda settings: shipped(settings) | {OPTIONS}
process.Leave.on_end_of_input = lambda leave: None
process.main()
"""


@pytest.fixture
def workers(_sqlite_template: Path, tmp_path: Path) -> Iterator[list[Host]]:
    """Two, of one queue: what one holds may be given to the other."""
    with Redis() as server, ExitStack() as stack:
        settings = settings_over(_sqlite_template, tmp_path, broker_url=server.url)
        yield [stack.enter_context(running(impatient(settings, slot))) for slot in (0, 1)]


def impatient(settings: Settings, slot: int) -> Host:
    command = [sys.executable, "-P", "-c", IMPATIENT, "--device", "cpu", "--name", "cpu", "--slot", str(slot)]
    return Host(settings.model_copy(update={"home": settings.home / str(slot)}), command=command)


@pytest.mark.slow
def test_a_run_longer_than_the_visibility_timeout_is_claimed_once(workers: list[Host], summarize: Summarize) -> None:
    host = workers[0]
    with redis_py.Redis.from_url(host.settings.broker_url) as client:
        experiment = host.submit(epochs=1_000_000, eval_every=10)
        host.wait_for_epoch(experiment)
        ends = time.monotonic() + SECONDS
        given_again = 0
        while given_again == 0 or time.monotonic() < ends - VISIBLE_AGAIN_AFTER:
            for _ in range(3):
                taken_by_the_dead(client)
                host.ring()
            wait_until(lambda: not client.exists("unacked"))
            given_again += 3
        time.sleep(max(0, ends - time.monotonic()))
        assert turns(host, experiment) == ["claimed"]
    host.cancel(experiment)
    assert host.wait_for_end(experiment).state is State.CANCELLED
    assert turns(host, experiment) == ["claimed", "cancelled"]
    ran_once(host, host.submit())
    assert all(each.launcher.poll() is None for each in workers)
    summarize(f"rings given again after {VISIBLE_AGAIN_AFTER} s, in a run of {SECONDS} s", trials=given_again)


def taken_by_the_dead(client: "redis_py.Redis[bytes]") -> None:
    """A ring that a worker took just now and will never acknowledge."""
    ring = message()
    tag = ring["properties"]["delivery_tag"]
    client.hset("unacked", tag, json.dumps([ring, "", QUEUE]))
    client.zadd("unacked_index", {tag: time.time()})
