"""What must not last: a ring that nobody answers, and whoever is left when `ballast up` is killed."""

import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from core.broker.doorbell import Doorbell
from core.settings import load_settings
from tests.benchmarks.harness import Measurement
from tests.e2e.processes import ENDLESS, Up, running, wait_for_epoch
from tests.servers import wait_until_gone


def measure() -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        yield Measurement("a ring to a Redis that never answers", _rings(Path(folder)), "s", at_most=1)
    left = [_killed() for _ in range(3)]
    yield Measurement("ballast up killed: until nothing of it is left", left, "s", at_most=10)


def _rings(home: Path) -> list[float]:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        broker = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        doorbell = Doorbell(load_settings(home=home, database_url="", broker_url=broker))
        doorbell.ring()  # imports redis
        seconds = [_seconds(doorbell.ring) for _ in range(5)]
        doorbell.close()
        return seconds


def _killed() -> float:
    """In mid-training."""
    with tempfile.TemporaryDirectory() as home, running(Up(Path(home), "--workers", "2")) as up:
        wait_for_epoch(up.client, up.client.submit(ENDLESS)["id"], 10)
        family = up.family()
        up.send(signal.SIGKILL)
        return _seconds(lambda: wait_until_gone(family))


def _seconds(what: Callable[[], object]) -> float:
    since = time.perf_counter()
    what()
    return time.perf_counter() - since
