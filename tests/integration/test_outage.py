"""PostgreSQL away in mid-experiment: the run goes on under its claim, and its curve is the undisturbed one."""

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from core.results import EpochResult
from core.states import State
from core.store import schema
from tests.integration.hosts import Host, ran_once, running, same, settings_of
from tests.servers import Postgres, wait_until

EPOCHS = 250


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(scope="module")
def host(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    server.execute("CREATE DATABASE ballast")
    settings = settings_of(tmp_path_factory.mktemp("home"), database_url=server.url_of("ballast"))
    schema.upgrade(settings.database_url)
    with running(Host(settings, workers=2)) as host:
        yield host


@pytest.fixture(scope="module")
def undisturbed(host: Host) -> list[EpochResult]:
    experiment = host.submit(epochs=EPOCHS)
    ran_once(host, experiment)
    return host.curve(experiment)


def restarted(server: Postgres) -> None:
    server.restart()


def away_for_longer_than_a_lease(server: Postgres) -> None:
    server.stop()
    time.sleep(4)
    server.start()


@pytest.mark.parametrize("outage", [restarted, away_for_longer_than_a_lease])
def test_a_run_goes_on_after_the_database_was(
    outage: Callable[[Postgres], None], host: Host, server: Postgres, undisturbed: list[EpochResult]
) -> None:
    pids = host.pids()
    experiment = host.submit(epochs=EPOCHS)
    host.wait_for_epoch(experiment, 20)
    outage(server)
    assert host.experiment(experiment).epochs_done < EPOCHS

    ran_once(host, experiment)
    ended = host.experiment(experiment)
    assert (ended.attempt, ended.failures, ended.replay_mismatch_from) == (1, 0, None)
    assert [row.epoch for row in host.curve(experiment)] == list(range(1, EPOCHS + 1))
    assert same(host.curve(experiment), undisturbed)
    assert host.pids() == pids


def test_tables_that_are_gone_for_a_while_end_no_worker(host: Host, server: Postgres) -> None:
    """Not an outage but something that nobody has foreseen."""
    pids = host.pids()
    experiment = host.submit(epochs=EPOCHS)
    host.wait_for_epoch(experiment, 20)
    _execute(server, "ALTER TABLE experiments RENAME TO hidden")
    time.sleep(1)
    _execute(server, "ALTER TABLE hidden RENAME TO experiments")
    wait_until(lambda: host.experiment(experiment).attempt == 2)
    ended = host.wait_for_end(experiment)
    assert (ended.state, ended.failures, ended.replay_mismatch_from) == (State.SUCCEEDED, 1, None)
    assert [row.epoch for row in host.curve(experiment)] == list(range(1, EPOCHS + 1))
    assert host.pids() == pids
    for thread in ("heartbeat", "drain"):
        assert thread in host.says()  # its traceback
    ran_once(host, host.submit())


def _execute(server: Postgres, statement: str) -> None:
    with psycopg.connect(server.url_of("ballast"), autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[call-overload]
