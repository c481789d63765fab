"""Ctrl-C, `kill` and `kill -9` of `ballast up` and `ballast worker` in mid-experiment: nothing is left running, nothing
is lost."""

import json
import signal
from pathlib import Path

import psutil
import pytest

from tests.e2e.processes import (
    DIGITS,
    Process,
    Up,
    ballast,
    reproducible_part,
    running,
    wait_for_end,
    wait_for_epoch,
)
from tests.servers import wait_until, wait_until_gone

LONG = DIGITS | {"epochs": 250}  # some seconds


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_leaves_in_order_and_the_next_up_gives_the_same_curve(tmp_path: Path, number: signal.Signals) -> None:
    home = tmp_path / "home"
    with running(Up(home, "--workers", "1")) as first:
        experiment = first.client.submit(LONG)
        wait_for_epoch(first.client, experiment["id"], 50)
        family = first.family()
        assert len(family) == 4  # up with the API, the launcher, a worker, its guard
        first.send(number)
        wait_until_gone(family)
        assert first.popen.wait() == 0
        assert "Traceback" not in first.log_text()

    with running(Up(home, "--workers", "1")) as second:
        events = second.client.events(experiment["id"])
        ended = wait_for_end(second.client, experiment["id"])
        curve = second.client.curve(experiment["id"])

    released = next(event for event in events if event["from"] == "running")
    assert released["to"] == "queued"
    assert (ended["state"], ended["attempt"], ended["failures"]) == ("succeeded", 2, 0)
    assert curve["replay_mismatch_from"] is None
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(LONG))
    alone = ballast("run", str(file), "--json", home=tmp_path)
    assert reproducible_part(json.loads(alone.stdout)) == reproducible_part(curve)


@pytest.mark.slow
def test_nothing_is_left_when_up_is_killed(tmp_path: Path) -> None:
    with running(Up(tmp_path / "home", "--workers", "2")) as up:
        experiment = up.client.submit(LONG | {"epochs": 1_000_000})
        wait_for_epoch(up.client, experiment["id"], 50)
        family = up.family()
        workers_of(family)[0].suspend()
        up.send(signal.SIGKILL)
        wait_until_gone(family)


@pytest.mark.slow
def test_nothing_is_left_when_a_worker_command_is_killed(tmp_path: Path) -> None:
    assert ballast("db", "upgrade", home=tmp_path).returncode == 0
    command = ("worker", "--devices", "cpu", "--processes", "2")
    with running(Process(*command, log=tmp_path / "log", home=tmp_path)) as worker:
        wait_until(lambda: worker.log_text().count("ready ") == 2)
        family = worker.family()
        workers_of(family)[0].suspend()
        worker.send(signal.SIGKILL)
        wait_until_gone(family)


def workers_of(family: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in family if "worker.process" in each.cmdline()]
