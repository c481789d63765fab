"""Workers that are told to leave, one after the other, all at once, and with the database away."""

import re
import signal
import time
from pathlib import Path

import pytest

from core.results import EpochResult
from core.spec import Spec
from core.states import State
from core.store import schema
from tests.chaos.conftest import Chance, Summarize
from tests.chaos.crew import Crew, at_work
from tests.chaos.test_killed import specs
from tests.chaos.trials import is_whole, undisturbed
from tests.integration.hosts import DIGITS, SHORT, Host, running, settings_of, settings_over
from tests.servers import PATIENCE_S, Postgres, Redis, is_there, wait_until

SLOW_STEPS = DIGITS | {"model": {"name": "cnn", "width": 32}, "epochs": 4}


@pytest.mark.parametrize("stops", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_sigterm_in_mid_epoch_loses_no_step(
    stops: int, template: Path, tmp_path: Path, summarize: Summarize, chance: Chance
) -> None:
    settings = settings_over(template, tmp_path)
    spec = Spec.model_validate(SLOW_STEPS | {"epochs": stops + 1})
    with at_work(Crew(settings, 1)) as crew:
        (number,) = crew.submit([spec])
        stopped = []
        for _ in range(stops):
            wait_until(lambda: (at := crew.at_of(number)) is not None and at.step > 2)
            time.sleep(chance.uniform(0, 0.3))
            attempt = crew.experiment(number).attempt
            status, at = crew.replace_one()
            assert status == 0
            stopped.append(f"after epoch {at.epoch}, step {at.step}, of attempt {attempt}")
        crew.wait_for_end(number)
        resumed = [event.detail for event in crew.events(number) if event.kind == "resumed"]
        assert resumed == stopped
        is_whole(crew, number, undisturbed(spec, settings.data_dir, settings.locks_dir))
        assert crew.experiment(number).failures == 0
    summarize("SIGTERM in mid-epoch", trials=stops, seed=chance.number, details=stopped)


@pytest.mark.slow
def test_with_the_database_away_it_leaves_and_its_lease_ends(tmp_path: Path, summarize: Summarize) -> None:
    with Postgres() as server:
        settings = settings_of(tmp_path / "home", database_url=server.url, **SHORT)
        schema.upgrade(settings.database_url)
        with running(Host(settings)) as host:
            number = host.submit(epochs=1_000_000, eval_every=10)
            host.wait_for_epoch(number, 20)
            server.stop()
            time.sleep(1)
            host.send(signal.SIGTERM)
            assert host.launcher.wait(PATIENCE_S) == 0
            server.start()
        with running(Host(settings)) as host:
            wait_until(lambda: host.experiment(number).attempt == 2)
            assert "lease_lost" in host.kinds(number)
            host.cancel(number)
            assert host.wait_for_end(number).state is State.CANCELLED
    summarize("SIGTERM with the database away", trials=1)


def test_a_second_sigterm_ends_it_at_once(template: Path, tmp_path: Path, summarize: Summarize) -> None:
    with running(Host(settings_over(template, tmp_path, grace_seconds=3600))) as host:
        (child,) = host.processes()
        child.suspend()  # so that it does not leave at the first
        host.send(signal.SIGTERM)
        time.sleep(0.5)
        assert host.launcher.poll() is None
        host.send(signal.SIGTERM)
        assert host.launcher.wait(PATIENCE_S) == 0
        assert not is_there(child)
    summarize("second SIGTERM", trials=1)


@pytest.mark.slow
def test_rolling_restarts_under_load_fail_nothing(
    database_of_its_own: str, redis_server: Redis, tmp_path: Path, summarize: Summarize, chance: Chance
) -> None:
    settings = settings_of(
        tmp_path / "home", database_url=database_of_its_own, broker_url=redis_server.url, checkpoint_seconds=0.5
    )
    wanted = specs(8)
    with at_work(Crew(settings, 2)) as crew:
        ids = crew.submit(wanted)
        for _ in range(10):
            wait_until(lambda: any(crew.at(each) for each in crew.running()))
            time.sleep(chance.uniform(0.2, 1.0))
            assert not crew.all_ended(ids), "all had ended before: give it more to train"
            assert crew.replace_all() == [0, 0]
        wait_until(lambda: crew.all_ended(ids), 3 * PATIENCE_S)
        for number, spec in zip(ids, wanted, strict=True):
            assert crew.experiment(number).failures == 0
            assert "lease_lost" not in crew.kinds(number)
            is_whole(crew, number, rows_of(spec, crew))
        details = [each for number in ids for each in resumptions(crew, number)]
    summarize("rolling restarts of all workers", trials=10, seed=chance.number, details=details)


def rows_of(spec: Spec, crew: Crew) -> list[EpochResult]:
    return undisturbed(spec, crew.settings.data_dir, crew.settings.locks_dir)


def resumptions(crew: Crew, number: int) -> list[str]:
    told = [event.detail or "" for event in crew.events(number) if event.kind == "resumed"]
    assert all(re.fullmatch(r"after epoch \d+, step \d+, of attempt \d+", each) for each in told)
    return [f"experiment {number} went on {each}" for each in told]
