"""A sweep over three hosts, one of which is taken away while it trains."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.cells import NoCells
from tests.chaos.conftest import Summarize
from tests.chaos.fleet import Fleet
from tests.chaos.networks import Network
from tests.chaos.trials import is_whole, trained_alone, turns
from tests.integration.hosts import DIGITS
from tests.servers import wait_until

CORES = 0.3  # a host
RUNS, EPOCHS = 30, 100


@pytest.fixture
def fleet(network: Network, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(network, tmp_path) as fleet:
        yield fleet


@pytest.mark.slow
def test_a_sweep_over_three_hosts_loses_nothing_when_one_is_taken_away(
    fleet: Fleet, tmp_path: Path, summarize: Summarize
) -> None:
    try:
        hosts = [fleet.host(name, CORES) for name in ("first", "second", "third")]
    except NoCells as reason:
        pytest.skip(f"NOT TRIED: a sweep over several hosts. {reason}")
    books = hosts[0].host
    request = {"base": DIGITS | {"epochs": EPOCHS}, "axes": {"seed": list(range(RUNS))}}
    sweep = fleet.client.submit_sweep(request)["id"]
    members = [each["id"] for each in fleet.client.members(sweep)]

    wait_until(lambda: all(each.trains() for each in hosts))
    (taken,) = hosts[2].trains()
    hosts[2].cable.cut()  # before it could say that it leaves
    hosts[2].host.send(signal.SIGKILL)
    for each in members:
        books.wait_for_end(each)

    for seed, each in enumerate(members):
        is_whole(books, each, trained_alone(tmp_path / "alone", epochs=EPOCHS, seed=seed))
    assert turns(books, taken)[:2] == ["claimed", "lease_lost"]
    makers = {(event.worker or "").partition(":")[0] for each in members for event in books.events(each)[-1:]}
    assert makers >= {"first", "second"}
    summarize(f"{RUNS} runs over three hosts, one taken away in mid-run", trials=1)
