"""What another host brings: hosts in network namespaces, each with the same share of a core, over one PostgreSQL and
one Redis, train what is queued.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import func, select

from core.store.tables import experiments
from tests.benchmarks.harness import Measurement, ratio
from tests.chaos.fleet import Fleet, Training
from tests.chaos.networks import Network
from tests.integration.hosts import DIGITS
from tests.servers import wait_until

CORES = 0.2  # a host: less than a busy machine leaves to each
ROUNDS = 3
WINDOW_S = 15.0


def measure() -> Iterator[Measurement]:
    rates = [_rates() for _ in range(ROUNDS)]
    ones, twos = zip(*rates, strict=True)
    yield Measurement(f"epochs a second, one host with {CORES} of a core", ones, "/s")
    yield ratio("two such hosts over one", twos, ones, at_least=1.7)


def _rates() -> tuple[float, float]:
    """Epochs a second with one host and, once another has joined, with two."""
    with tempfile.TemporaryDirectory() as folder, Network() as network, Fleet(network, Path(folder)) as fleet:
        spec = DIGITS | {"epochs": 100_000}
        fleet.client.submit_sweep({"base": spec, "axes": {"seed": list(range(30))}})
        hosts = [fleet.host("first", CORES)]
        one = _rate(hosts)
        hosts.append(fleet.host("second", CORES))
        return one, _rate(hosts)


def _rate(hosts: list[Training]) -> float:
    wait_until(lambda: all(each.trains() for each in hosts))
    before, began = _epochs(hosts[0]), time.perf_counter()
    time.sleep(WINDOW_S)
    return (_epochs(hosts[0]) - before) / (time.perf_counter() - began)


def _epochs(any_host: Training) -> int:
    with any_host.host.store.reading() as tx:
        return int(tx.execute(select(func.sum(experiments.c.epochs_done))).scalar_one())
