"""Two hosts with a link each to PostgreSQL and Redis. One loses its link for longer than its lease, while it trains."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.results import EpochResult
from core.states import WorkerState
from core.store import schema
from core.store.tables import curve_rows
from tests.chaos.conftest import EPOCHS, Summarize
from tests.chaos.networks import Cable, Network
from tests.chaos.trials import is_whole, turns, twice_until_end
from tests.integration.hosts import SHORT, Host, launcher, running, settings_of
from tests.servers import Postgres, Redis, wait_until

SHIPPED = {"heartbeat_seconds": 5, "lease_seconds": 20}


@dataclass
class Linked:
    """A host that trains, and its link."""

    host: Host
    cable: Cable

    def has(self, worker: str | None) -> bool:
        """Whether it is the host of that worker."""
        return worker is not None and worker.startswith(f"{self.cable.name}:")


@pytest.fixture(params=["3 s", "20 s"])
def hosts(request: pytest.FixtureRequest, network: Network, tmp_path: Path) -> Iterator[list[Linked]]:
    """Two, with leases of so long."""
    leases = SHORT if request.param == "3 s" else SHIPPED
    with Postgres(network.address) as postgres, Redis(network.address) as redis, ExitStack() as stack:
        schema.upgrade(postgres.url)
        hosts = []
        for name in ("ashore", "aboard"):
            cable = network.host(name)
            settings = settings_of(tmp_path / name, database_url=postgres.url, broker_url=redis.url, **leases)
            host = Host(settings, command=cable.command_there(launcher()))
            hosts.append(Linked(stack.enter_context(running(host)), cable))
        yield hosts


@pytest.mark.slow
def test_a_host_that_loses_its_link_loses_its_experiment_and_spoils_nothing(
    hosts: list[Linked], undisturbed: list[EpochResult], summarize: Summarize
) -> None:
    host = hosts[0].host  # of what is the same for both
    pids = [each.host.pids() for each in hosts]
    experiment = host.submit(epochs=EPOCHS)
    host.wait_for_epoch(experiment, 20)
    holder = host.experiment(experiment).worker
    lost, other = sorted(hosts, key=lambda each: not each.has(holder))

    lost.cable.cut()
    wait_until(lambda: turns(host, experiment) == ["claimed", "lease_lost", "claimed"])
    written = rows_of(host, experiment, attempt=1)
    lost.cable.mend()
    twice = twice_until_end(host, experiment)

    is_whole(host, experiment, undisturbed)
    assert turns(host, experiment) == ["claimed", "lease_lost", "claimed", "succeeded"]
    assert other.has(host.events(experiment)[-1].worker)
    assert rows_of(host, experiment, attempt=1) == written
    assert written < EPOCHS

    host.wait_until_idle()
    work = [host.submit(epochs=1_000_000, eval_every=10) for _ in hosts]
    for each in work:
        host.wait_for_epoch(each, 10)
    assert lost.has(host.experiment(work[0]).worker) != lost.has(host.experiment(work[1]).worker)
    for each in work:
        host.cancel(each)
        host.wait_for_end(each)
    assert [each.host.pids() for each in hosts] == pids
    assert {worker.state for worker in host.workers()} <= {WorkerState.IDLE, WorkerState.BUSY}
    lease = lost.host.settings.lease_seconds
    summarize(f"link of a host cut for longer than its lease of {lease:g} s", trials=1, twice=twice)


def rows_of(host: Host, experiment_id: int, attempt: int) -> int:
    mine = (curve_rows.c.experiment_id == experiment_id, curve_rows.c.attempt == attempt)
    with host.store.reading() as tx:
        rows: int = tx.execute(select(func.count()).select_from(curve_rows).where(*mine)).scalar_one()
        return rows
