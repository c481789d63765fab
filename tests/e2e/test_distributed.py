"""API and workers as processes of their own, over PostgreSQL and Redis: the journey, and Redis gone for good."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.client import Client
from tests.data import DATA
from tests.e2e.processes import (
    DIGITS,
    FAST,
    Process,
    ballast,
    is_ready,
    measured,
    running,
    wait_for_end,
    wait_for_state,
)
from tests.servers import Postgres, Redis, free_port, wait_until

MNIST = {
    "name": "a few hundred images",
    "dataset": {"name": "mnist", "train_per_class": 200, "eval_limit": 200},
    "model": {"name": "resnet", "width": 4},
    "importance_weight": "16:1",
    "epochs": 4,
}


class Distributed:
    """One API and one worker process, of the same settings and of different homes."""

    def __init__(self, folder: Path, database_url: str, broker_url: str) -> None:
        self.settings = {"database_url": database_url, "broker_url": broker_url, "data_dir": DATA, **FAST}
        port = free_port()
        assert ballast("db", "upgrade", home=folder, **self.settings).returncode == 0
        self.api = Process("api", log=folder / "api.log", home=folder / "a", port=port, **self.settings)
        self.worker = Process("worker", "--workers", "1", log=folder / "w.log", home=folder / "b", **self.settings)
        self.client = Client(f"http://127.0.0.1:{port}")


@pytest.fixture
def distributed(tmp_path: Path, postgres: Postgres) -> Iterator[tuple[Distributed, Redis]]:
    name = f"e2e_{time.time_ns()}"
    postgres.execute(f"CREATE DATABASE {name}")
    with Redis() as redis:
        system = Distributed(tmp_path, postgres.url_of(name), redis.url)
        with running(system.api), running(system.worker):
            wait_until(lambda: is_ready(system.client, system.worker), 60)
            yield system, redis
            system.client.close()


def test_one_request_one_curve_on_real_mnist(distributed: tuple[Distributed, Redis], tmp_path: Path) -> None:
    system, _ = distributed
    experiment = system.client.submit(MNIST)
    after, epochs = 0, []
    while not (part := system.client.curve(experiment["id"], after))["complete"]:
        epochs += part["epoch"]
        after = part["next_after"]
        time.sleep(0.05)
    epochs += part["epoch"]

    ended = system.client.experiment(experiment["id"])
    curve = system.client.curve(experiment["id"])
    assert ended["state"] == "succeeded", ended["error"]
    assert epochs == curve["epoch"] == [1, 2, 3, 4]
    for column in ("base_fraction_in_domain", "base_fraction_out_of_domain"):
        assert all((fraction * 200).is_integer() for fraction in curve[column])
    assert curve["finite_logits"] == [1.0] * 4
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(MNIST))
    alone = ballast("run", str(file), "--json", home=tmp_path, data_dir=DATA)
    assert measured(json.loads(alone.stdout)) == measured(curve)


def test_with_redis_gone_for_good_a_post_is_answered_and_its_experiment_runs(
    distributed: tuple[Distributed, Redis],
) -> None:
    system, redis = distributed
    wait_for_end(system.client, system.client.submit(DIGITS)["id"])
    redis.stop(signal.SIGKILL)
    for _ in range(3):
        began = time.monotonic()
        experiment = system.client.submit(DIGITS | {"epochs": 1})
        assert time.monotonic() - began < 1.5
        wait_for_end(system.client, experiment["id"], 10)
        submitted, claimed, _ = system.client.events(experiment["id"])
        assert _seconds(claimed["at"]) - _seconds(submitted["at"]) < 3
    assert system.client.ready()["broker"] == "degraded"


def test_a_worker_leaves_in_order_while_redis_is_gone(distributed: tuple[Distributed, Redis]) -> None:
    system, redis = distributed
    experiment = system.client.submit(DIGITS | {"epochs": 1_000_000})
    wait_for_state(system.client, experiment["id"], "running")
    redis.stop(signal.SIGKILL)
    system.worker.send(signal.SIGTERM)
    assert system.worker.popen.wait(10) == 0
    released = system.client.experiment(experiment["id"])
    assert (released["state"], released["failures"]) == ("queued", 0)
    assert [worker["state"] for worker in system.client.workers()] == ["gone"]


def _seconds(at: str) -> float:
    minute, second = at[:-1].rsplit(":", 1)
    return float(second) + 60 * int(minute.rsplit(":", 1)[1])
