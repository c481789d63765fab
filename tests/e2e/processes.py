"""Real `ballast` processes, as a user's shell starts them, and what is left of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from api.client import Client, ClientError
from core.states import ENDED
from tests.data import DATA
from tests.servers import PATIENCE_S, Postgres, Redis, free_port, wait_until

COMMAND = str(Path(sys.executable).with_name("ballast"))

DIGITS = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "16:1", "epochs": 10}
ENDLESS = DIGITS | {"epochs": 1_000_000, "eval_every": 10}


def ballast(*arguments: str, **environment: object) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [COMMAND, *arguments],
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


class Process:
    """A command that runs until it is told to stop. `environment` holds its BALLAST_ variables, in lower case."""

    def __init__(
        self,
        *arguments: str,
        log: Path,
        folder: Path | None = None,
        command: Sequence[str] = (COMMAND,),
        **environment: object,
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                [*command, *arguments],
                cwd=folder,
                env=_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def family(self) -> list[psutil.Process]:
        """The process and all that it has started."""
        root = psutil.Process(self.popen.pid)
        return [root, *root.children(recursive=True)]

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def log_text(self) -> str:
        return self._log.read_text()

    def end(self) -> None:
        """The end of a test: whatever is left is killed."""
        if self.popen.poll() is None:
            family = self.family()
            self.send(signal.SIGTERM)
            psutil.wait_procs(family, timeout=12)
            for process in family:
                if process.is_running():
                    process.kill()
        self.popen.wait()


class Up(Process):
    """`ballast up` on a free port, ready to be asked."""

    def __init__(self, home: Path, *arguments: str, **environment: object) -> None:
        self.settings = {"home": home, "port": free_port(), **FAST, **environment}
        home.mkdir(parents=True, exist_ok=True)
        super().__init__("up", *arguments, log=home / "up.log", **self.settings)
        self.client = Client(f"http://127.0.0.1:{self.settings['port']}")
        wait_until(lambda: is_ready(self.client, self))

    def end(self) -> None:
        self.client.close()
        super().end()


FAST = {"heartbeat_seconds": 0.5}  # it hears of wishes ten times as soon


class Distributed:
    """One API and one host that trains, of the same settings and of different homes."""

    def __init__(self, folder: Path, database_url: str, broker_url: str, workers: str) -> None:
        self.settings = {"database_url": database_url, "broker_url": broker_url, "data_dir": DATA, **FAST}
        port = free_port()
        assert ballast("db", "upgrade", home=folder, **self.settings).returncode == 0
        self.api = Process("api", log=folder / "api.log", home=folder / "a", port=port, **self.settings)
        self.worker = Process(
            "worker", "--processes", workers, log=folder / "w.log", home=folder / "b", **self.settings
        )
        self.client = Client(f"http://127.0.0.1:{port}")


@contextmanager
def distributed_over(postgres: Postgres, folder: Path, workers: str) -> Iterator[tuple[Distributed, Redis]]:
    """With a database of its own, a Redis of its own, and so many workers, ready to be asked."""
    name = f"e2e_{time.time_ns()}"
    postgres.execute(f"CREATE DATABASE {name}")
    with Redis() as redis:
        system = Distributed(folder, postgres.url_of(name), redis.url, workers)
        with running(system.api), running(system.worker), closing(system.client):
            wait_until(lambda: is_ready(system.client, system.worker))
            yield system, redis


@contextmanager
def running(process: Process) -> Iterator[Any]:
    try:
        yield process
    except BaseException:
        print(process.log_text())
        raise
    finally:
        process.end()


def is_ready(client: Client, process: Process) -> bool:
    """Whether the API answers and a worker waits for work."""
    assert process.popen.poll() is None, process.log_text()
    try:
        return any(worker["state"] == "idle" for worker in client.workers())
    except ClientError:
        return False


def wait_for_end(client: Client, experiment_id: int) -> dict[str, Any]:
    wait_until(lambda: client.experiment(experiment_id)["state"] in ENDED)
    return client.experiment(experiment_id)


def wait_for_state(client: Client, experiment_id: int, state: str) -> dict[str, Any]:
    wait_until(lambda: client.experiment(experiment_id)["state"] == state)
    return client.experiment(experiment_id)


def wait_for_epoch(client: Client, experiment_id: int, epoch: int) -> None:
    wait_until(lambda: client.experiment(experiment_id)["epochs_done"] >= epoch)


def seconds_until_claimed(client: Client, experiment_id: int) -> float:
    """From submitted to claimed for the first time."""
    at = {event["kind"]: datetime.fromisoformat(event["at"]) for event in reversed(client.events(experiment_id))}
    return (at["claimed"] - at["submitted"]).total_seconds()


def reproducible_part(curve: dict[str, Any]) -> dict[str, Any]:
    """What a repeat must reproduce, bit for bit."""
    return {key: value for key, value in curve.items() if key not in ("id", "attempt", "seconds")}


def _environment(settings: dict[str, object]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BALLAST_")}
    return inherited | {f"BALLAST_{name.upper()}": str(value) for name, value in settings.items()}
