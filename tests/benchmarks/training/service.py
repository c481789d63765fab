"""What the service costs: seconds an epoch of one spec, without it, embedded, over PostgreSQL and Redis, in turn."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Any

from api.client import Client
from tests.benchmarks.harness import Measurement, ratio
from tests.e2e.processes import Process, Up, ballast, is_ready, running, wait_for_end
from tests.servers import Postgres, Redis, free_port, wait_until

# Data that every clone has, and epochs of a second and more.
SPEC = {
    "dataset": {"name": "digits", "eval_limit": 100},
    "model": {"name": "resnet", "width": 24},
    "importance_weight": "16:1",
    "epochs": 6,
}
_DEFAULTS = {"heartbeat_seconds": 5}  # what tests make faster
_AT_MOST = 1.03

Way = Callable[[], float]


def measure(rounds: int, kept: dict[str, Any]) -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ways = _ways(Path(folder), stack)
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                took[name].append(way())
    kept["service"] = {"spec": SPEC, "seconds_an_epoch": took}
    alone, *services = took
    for name, values in took.items():
        yield Measurement(f"an epoch {name}", values, "s")
    for name in services:
        yield ratio(f"an epoch {name} / {alone}", took[name], took[alone], at_most=_AT_MOST)


def _ways(folder: Path, stack: ExitStack) -> dict[str, Way]:
    spec = folder / "spec.json"
    spec.write_text(json.dumps(SPEC))
    embedded = stack.enter_context(running(Up(folder / "embedded", "--workers", "1", **_DEFAULTS))).client
    distributed = _distributed(folder, stack)
    return {
        "by ballast run": lambda: _alone(spec, folder),
        "by ballast up": lambda: _served(embedded),
        "over PostgreSQL and Redis": lambda: _served(distributed),
    }


def _distributed(folder: Path, stack: ExitStack) -> Client:
    settings = {
        "database_url": stack.enter_context(Postgres()).url,
        "broker_url": stack.enter_context(Redis()).url,
        **_DEFAULTS,
    }
    done = ballast("db", "upgrade", home=folder, **settings)
    assert done.returncode == 0, done.stderr
    port = free_port()
    stack.enter_context(running(Process("api", log=folder / "api.log", home=folder / "a", port=port, **settings)))
    worker = Process("worker", "--processes", "1", log=folder / "w.log", home=folder / "b", **settings)
    stack.enter_context(running(worker))
    client = stack.enter_context(closing(Client(f"http://127.0.0.1:{port}")))
    wait_until(lambda: is_ready(client, worker))
    return client


def _alone(spec: Path, home: Path) -> float:
    done = ballast("run", "--json", str(spec), home=home)
    assert done.returncode == 0, done.stderr
    return _seconds_an_epoch(json.loads(done.stdout))


def _served(client: Client) -> float:
    experiment = client.submit(SPEC)["id"]
    ended = wait_for_end(client, experiment)
    assert ended["state"] == "succeeded", ended
    return _seconds_an_epoch(client.curve(experiment))


def _seconds_an_epoch(curve: dict[str, Any]) -> float:
    """Of those after the first, which warms up."""
    return median(curve["seconds"][1:])
