"""PostgreSQL restarted, frozen, and out of reach in mid-run: it costs a claim at most, and never a row."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from core.results import EpochResult
from core.states import State
from core.store import schema
from tests.chaos.conftest import EPOCHS, Tell
from tests.chaos.networks import Cable, Network, Proxy, Refused
from tests.chaos.trials import is_whole, turns, twice_until_end
from tests.integration.hosts import SHORT, Host, launcher, running, settings_of
from tests.servers import Postgres

# How long an outage lasts, under which leases: longer than one.
OUTAGES: dict[str, tuple[float, dict[str, float]]] = {
    "6 s": (6, SHORT),
    "30 s": (30, {"heartbeat_seconds": 5, "lease_seconds": 20}),  # as they are shipped
}


@dataclass
class Fleet:
    """A host with two workers, and the database at the other end of its cable."""

    host: Host
    server: Postgres
    cable: Cable | Proxy
    outage_seconds: float


@pytest.fixture(scope="module", params=OUTAGES)
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    outage_seconds, leases = OUTAGES[request.param]
    with ExitStack() as stack:
        try:
            network = stack.enter_context(Network())
            cable: Cable | Proxy = network.host("afar")
            server = stack.enter_context(Postgres(network.address))
            url, command = server.url, cable.command_there(launcher(workers=2))
        except Refused:
            server = stack.enter_context(Postgres())
            cable = stack.enter_context(Proxy(server.port))
            url, command = server.url.replace(str(server.port), str(cable.port)), launcher(workers=2)
        schema.upgrade(url)
        settings = settings_of(tmp_path_factory.mktemp("home"), database_url=url, **leases)
        host = stack.enter_context(running(Host(settings, workers=2, command=command)))
        yield Fleet(host, server, cable, outage_seconds)


def restarted_twice(fleet: Fleet) -> str:
    fleet.server.stop()
    time.sleep(fleet.outage_seconds)
    fleet.server.start()
    fleet.server.restart(signal.SIGQUIT)  # as after a crash
    return f"stopped for {fleet.outage_seconds} s, and restarted as after a crash"


def frozen(fleet: Fleet) -> str:
    with fleet.server.frozen():
        time.sleep(fleet.outage_seconds)
    return f"frozen for {fleet.outage_seconds} s"


def cut_off(fleet: Fleet) -> str:
    fleet.cable.cut()
    time.sleep(fleet.outage_seconds)
    fleet.cable.mend()
    how = "its packets held back by a proxy" if isinstance(fleet.cable, Proxy) else "its packets dropped"
    return f"cut off for {fleet.outage_seconds} s, {how}"


@pytest.mark.slow
@pytest.mark.parametrize("fleet", ["6 s"], indirect=True)
def test_a_run_survives_restarts_of_its_database(fleet: Fleet, undisturbed: list[EpochResult], tell: Tell) -> None:
    survives(restarted_twice, fleet, undisturbed, tell)


@pytest.mark.slow
@pytest.mark.parametrize("fleet", ["6 s"], indirect=True)
def test_tables_that_are_gone_for_a_while_end_no_worker(fleet: Fleet, undisturbed: list[EpochResult]) -> None:
    """Not an outage but something that nobody has foreseen."""
    host = fleet.host
    pids = host.pids()
    experiment = host.submit(epochs=EPOCHS)
    host.wait_for_epoch(experiment, 20)
    fleet.server.execute("ALTER TABLE experiments RENAME TO hidden")
    time.sleep(1)
    fleet.server.execute("ALTER TABLE hidden RENAME TO experiments")
    twice_until_end(host, experiment)
    is_whole(host, experiment, undisturbed)
    assert host.experiment(experiment).failures == 1
    assert host.pids() == pids
    for module in ("worker/threads.py", "worker/loop.py"):
        assert module in host.says()  # a traceback: of what repeats, heartbeat or reconciler, and of who claims or runs


@pytest.mark.slow
@pytest.mark.parametrize("outage", [frozen, cut_off])
def test_a_run_survives_an_outage_of_its_database(
    outage: Callable[[Fleet], str], fleet: Fleet, undisturbed: list[EpochResult], tell: Tell
) -> None:
    survives(outage, fleet, undisturbed, tell)


def survives(harm: Callable[[Fleet], str], fleet: Fleet, undisturbed: list[EpochResult], tell: Tell) -> None:
    host = fleet.host
    pids = host.pids()
    experiment = host.submit(epochs=EPOCHS)
    host.wait_for_epoch(experiment, 20)
    assert host.experiment(experiment).state is State.RUNNING

    what = harm(fleet)

    twice = twice_until_end(host, experiment)
    is_whole(host, experiment, undisturbed)
    claims = turns(host, experiment).count("claimed")
    assert claims <= 2
    assert host.pids() == pids
    after = host.submit()
    twice_until_end(host, after)
    assert turns(host, after) == ["claimed", "succeeded"]
    tell(f"PostgreSQL {what}", trials=1, twice=twice, details=[f"claimed {claims} times"] if claims > 1 else [])
