"""The units of deploy/systemd under a real systemd, in a container of its own: started, killed, stopped, restarted
(`make test-deploy`).
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.engine import Engine, wait_for
from tests.deploy.tools import FOLDER
from tests.deploy.trials import LONG, STANDIN_FILES, told

HOST = "ballast-host"
# What systemd needs of a container: mounts of its own for each unit, and the groups of processes.
AS_A_MACHINE = (
    *("--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined"),
    *("--tmpfs=/run", "--tmpfs=/tmp", "--volume=/sys/fs/cgroup:/sys/fs/cgroup"),
)

BOTH = ("ballast-api", "ballast-worker")


class Host:
    """A machine with systemd; commands are root's there, but for ours."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(self, *command: str) -> str:
        return self._engine.docker("exec", HOST, *command)

    def ballast(self, *arguments: str) -> str:
        return self._engine.docker("exec", "--user=ballast", HOST, "ballast", *arguments)

    def property(self, unit: str, name: str) -> str:
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def shown(self, experiment: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ballast("show", experiment, "--json"))
        return answer


@pytest.fixture(scope="module")
def host(engine: Engine, images: dict[str, Any]) -> Iterator[Host]:
    assert images
    with engine.building():
        engine.build(STANDIN_FILES / "Dockerfile", "host", HOST, STANDIN_FILES)
    with engine.running():
        host = Host(engine)
        try:
            engine.docker("run", "--detach", "--name", HOST, *AS_A_MACHINE, HOST)
            for unit in BOTH:
                engine.docker("cp", FOLDER / "systemd" / f"{unit}.service", f"{HOST}:/etc/systemd/system/")
            wait_for(lambda: is_up(host))
            host.ballast("db", "upgrade")
            host.run("systemctl", "daemon-reload")
            host.run("systemctl", "start", *BOTH)
            wait_for(lambda: answers(host))
            yield host
        except BaseException:
            print(engine.docker("exec", HOST, "journalctl", "--no-pager", "--lines=60"))
            raise
        finally:
            engine.docker("rm", "--force", "--volumes", HOST)


def is_up(host: Host) -> bool:
    try:
        host.run("systemctl", "list-units")
    except AssertionError:
        return False
    return True


def answers(host: Host) -> bool:
    try:
        host.ballast("workers")
    except AssertionError:
        return False
    return True


@pytest.fixture(scope="module")
def experiment(host: Host) -> str:
    """A long one that is being trained."""
    host.run("sh", "-c", f"echo '{json.dumps(LONG)}' > /tmp/long.json")
    number = str(json.loads(host.ballast("submit", "/tmp/long.json", "--json"))["id"])
    wait_for(lambda: host.shown(number)["epochs_done"] > 0)
    return number


def test_a_worker_that_is_killed_is_started_again_and_goes_on(host: Host, experiment: str) -> None:
    before, began = host.shown(experiment), time.monotonic()
    host.run("systemctl", "kill", "--kill-whom=all", "--signal=KILL", "ballast-worker")
    wait_for(lambda: host.property("ballast-worker", "ActiveState") == "active")
    told(f"killed worker active again: {time.monotonic() - began:.1f} s")
    wait_for(lambda: host.shown(experiment)["attempt"] > before["attempt"])
    wait_for(lambda: host.shown(experiment)["epochs_done"] > before["epochs_done"])
    told(f"and training further than before: {time.monotonic() - began:.1f} s")
    assert host.property("ballast-worker", "NRestarts") == "1"


def test_a_worker_that_is_stopped_leaves_in_order(host: Host, experiment: str) -> None:
    began = time.monotonic()
    host.run("systemctl", "stop", "ballast-worker")
    told(f"worker stopped: {time.monotonic() - began:.1f} s")
    assert host.property("ballast-worker", "Result") == "success"
    left = host.shown(experiment)
    assert left["state"] == "queued"
    host.run("systemctl", "start", "ballast-worker")
    wait_for(lambda: host.shown(experiment)["epochs_done"] > left["epochs_done"])


def test_an_api_that_is_restarted_interrupts_no_training(host: Host, experiment: str) -> None:
    before = host.shown(experiment)
    host.run("systemctl", "restart", "ballast-api")
    wait_for(lambda: answers(host))
    wait_for(lambda: host.shown(experiment)["epochs_done"] > before["epochs_done"])
    assert host.shown(experiment)["attempt"] == before["attempt"]
    assert host.property("ballast-api", "Result") == "success"


@pytest.mark.parametrize("unit", BOTH)
def test_a_unit_has_no_rights_where_it_runs(host: Host, unit: str) -> None:
    (pid,) = host.property(unit, "MainPID").split()
    status = host.run("cat", f"/proc/{pid}/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
