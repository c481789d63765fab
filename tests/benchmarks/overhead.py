"""What the queue costs: from POST to the first step, and a thousand runs of one step, against a bare service of FastAPI
and Celery (`tests.benchmarks.bare`) on the same PostgreSQL and Redis.
"""

import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import LiteralString, NamedTuple

import httpx2
import psycopg

from core.store import schema
from tests.benchmarks.harness import Measurement, interleaved, ratio
from tests.e2e.processes import COMMAND
from tests.integration.hosts import DIGITS, settings_of
from tests.servers import PATIENCE_S, Postgres, Redis, free_port, wait_until

TRIALS = 40
RUNS = 1000
ONE_STEP = DIGITS | {"epochs": 1, "batch_size": None}

# Writes the time of each experiment's first step, then becomes a worker.
_WATCHED = """
import os, struct, sys, time
from core.training.experiment import Experiment
file = os.open(os.environ["FIRST_STEPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
step = Experiment._take_a_step
def stepped(self):
    if not hasattr(self, "begun"):
        self.begun = True
        os.write(file, struct.pack("<d", time.monotonic()))
    step(self)
Experiment._take_a_step = stepped
"""
_OURS = "from worker import process; process.main()"
_BARE = "from tests.benchmarks import bare; bare."


class Service(NamedTuple):
    url: str
    http: httpx2.Client
    first_steps: Path
    ended: Callable[[], int]  # how many runs

    def submit(self) -> None:
        self.http.post(f"{self.url}/experiments", json=ONE_STEP).raise_for_status()

    def seconds_to_first_step(self) -> float:
        """Once it is idle."""
        n = self._steps()
        began = time.monotonic()
        self.submit()
        wait_until(lambda: self._steps() > n)
        wait_until(lambda: self.ended() == n + 1)
        time.sleep(0.3)
        (at,) = struct.unpack("<d", self.first_steps.read_bytes()[8 * n :])
        return float(at) - began

    def seconds_of_many(self) -> float:
        """From the first POST to the last end."""
        n = self.ended()
        began = time.monotonic()
        for _ in range(RUNS):
            self.submit()
        wait_until(lambda: self.ended() == n + RUNS, 5 * PATIENCE_S)
        return time.monotonic() - began

    def _steps(self) -> int:
        return self.first_steps.stat().st_size // 8 if self.first_steps.exists() else 0


def measure() -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder, Postgres() as postgres, Redis() as redis, ExitStack() as over:
        ours = over.enter_context(_ballast(Path(folder), postgres, redis))
        rival = over.enter_context(_rival(Path(folder), postgres, redis))
        for each in (ours, rival):
            each.seconds_to_first_step()  # loads the data, prepares the statements
        mine, its = interleaved(TRIALS, ours.seconds_to_first_step, rival.seconds_to_first_step)
        yield Measurement("POST to first step", [1000 * each for each in mine], "ms")
        yield Measurement("the same of a bare service", [1000 * each for each in its], "ms")
        yield ratio("POST to first step over a bare service's", mine, its, at_most=2)
        mine, its = interleaved(1, ours.seconds_of_many, rival.seconds_of_many)
        yield Measurement(f"{RUNS} runs of one step", [RUNS / each for each in mine], "runs/s")
        yield Measurement("the same of a bare service", [RUNS / each for each in its], "runs/s")
        yield ratio("runs a second over a bare service's", its, mine, at_least=0.5)


@contextmanager
def _ballast(folder: Path, postgres: Postgres, redis: Redis) -> Iterator[Service]:
    port = free_port()
    postgres.execute("CREATE DATABASE ours TEMPLATE template0")
    url = postgres.url_of("ours")
    schema.upgrade(url)
    settings = settings_of(folder / "ours", database_url=url, broker_url=redis.url, port=port)
    settings.home.mkdir()
    first_steps = folder / "ours-steps"
    environment = settings.child_environment() | {"FIRST_STEPS": str(first_steps)}
    worker = [sys.executable, "-c", _WATCHED + _OURS, "--device", "cpu", "--name", "cpu", "--slot", "0"]
    ended = _counting(url, "SELECT count(*) FROM experiments WHERE state = 'succeeded'")
    with _running([COMMAND, "api"], environment), _running(worker, environment), httpx2.Client() as http:
        yield _ready(Service(f"http://127.0.0.1:{port}", http, first_steps, ended))


@contextmanager
def _rival(folder: Path, postgres: Postgres, redis: Redis) -> Iterator[Service]:
    port = free_port()
    postgres.execute("CREATE DATABASE bare TEMPLATE template0")
    url = postgres.url_of("bare")
    first_steps = folder / "bare-steps"
    environment = os.environ | {
        "BARE_PORT": str(port),
        "BARE_DATABASE": url,
        "BARE_BROKER": redis.url.replace("/0", "/1"),
        "BARE_FOLDER": str(folder / "bare"),
        "FIRST_STEPS": str(first_steps),
    }
    ended = _counting(url, "SELECT count(*) FROM bare WHERE done")
    commands = [[sys.executable, "-c", code] for code in (_BARE + "serve()", _WATCHED + _BARE + "work()")]
    with _running(commands[0], environment), _running(commands[1], environment), httpx2.Client() as http:
        yield _ready(Service(f"http://127.0.0.1:{port}", http, first_steps, ended))


def _ready(service: Service) -> Service:
    def answers() -> bool:
        try:
            return service.http.get(f"{service.url}/openapi.json").is_success
        except httpx2.TransportError:
            return False

    wait_until(answers)
    return service


def _counting(url: str, query: LiteralString) -> Callable[[], int]:
    def count() -> int:
        with psycopg.connect(url) as tx:
            (number,) = tx.execute(query).fetchone() or (0,)
            return int(number)

    return count


@contextmanager
def _running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    popen = subprocess.Popen(
        command, env={**environment, "PYTHONPATH": str(Path.cwd())}, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        popen.kill()
        popen.wait()
