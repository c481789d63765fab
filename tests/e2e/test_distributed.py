"""API and workers as processes of their own, over PostgreSQL and Redis: the journey, and Redis gone for good."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data import DATA
from tests.e2e.processes import (
    DIGITS,
    Distributed,
    ballast,
    distributed_over,
    reproducible_part,
    wait_for_end,
    wait_for_state,
)
from tests.servers import PATIENCE_S, Postgres, Redis

MNIST = {
    "name": "four hundred images",
    "dataset": {"name": "mnist", "eval_limit": 120},
    "model": {"name": "resnet", "width": 4},
    "importance_weight": "16:1",
    "epochs": 4,
}


@pytest.fixture
def distributed(
    tmp_path: Path, postgres: Postgres, request: pytest.FixtureRequest
) -> Iterator[tuple[Distributed, Redis]]:
    """With one worker, or as many as the test says."""
    with distributed_over(postgres, tmp_path, getattr(request, "param", "1")) as system_and_redis:
        yield system_and_redis


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
        assert curve[column] == [round(fraction * 120) / 120 for fraction in curve[column]]  # whole images
    assert curve["finite_logits"] == [1.0] * 4
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(MNIST))
    alone = ballast("run", str(file), "--json", home=tmp_path, data_dir=DATA)
    assert reproducible_part(json.loads(alone.stdout)) == reproducible_part(curve)


FIGURE_2 = {"epochs": 16, "model.width": 16}


@pytest.mark.slow
@pytest.mark.parametrize("distributed", ["2"], indirect=True)
def test_figure_2_in_small_is_one_command(distributed: tuple[Distributed, Redis], tmp_path: Path) -> None:
    """On four hundred images. No heavy weight has learned by then: the order is all that shows."""
    system, _ = distributed
    changes = [f"--set={path}={value}" for path, value in FIGURE_2.items()]
    url = system.client.url
    done = ballast("sweep", "figure-2", *changes, "--seeds", "2", "--watch", home=tmp_path, url=url)
    assert done.returncode == 0, done.stdout + done.stderr
    (sweep,) = system.client.sweeps()
    assert (sweep["counts"]["succeeded"], sweep["epochs_done"]) == (10, 160)
    members = list(system.client.members(sweep["id"]))
    assert len({member["spec"]["importance_weight"] for member in members}) == 5
    assert len({system.client.events(member["id"])[1]["worker"] for member in members}) == 2  # both have trained
    curves = [system.client.curve(member["id"]) for member in members]
    assert all(curve["finite_logits"] == [1.0] * 16 for curve in curves)
    last = [curve["base_fraction_out_of_domain"][-1] for curve in curves]
    means = [sum(last[i : i + 2]) / 2 for i in range(0, 10, 2)]  # of the seeds of each weight
    assert means[0] >= means[2] >= means[4]
    assert means[0] > means[4]
    file = tmp_path / "figure.png"
    assert ballast("figure", str(sweep["id"]), "--out", str(file), home=tmp_path, url=url).returncode == 0
    assert file.read_bytes().startswith(b"\x89PNG")


def test_with_redis_gone_for_good_a_post_is_answered_and_its_experiment_runs(
    distributed: tuple[Distributed, Redis],
) -> None:
    system, redis = distributed
    wait_for_end(system.client, system.client.submit(DIGITS)["id"])
    redis.stop(signal.SIGKILL)
    for _ in range(3):
        experiment = system.client.submit(DIGITS | {"epochs": 1})
        wait_for_end(system.client, experiment["id"])
    assert system.client.ready()["broker"] == "degraded"


def test_a_worker_leaves_in_order_while_redis_is_gone(distributed: tuple[Distributed, Redis]) -> None:
    system, redis = distributed
    experiment = system.client.submit(DIGITS | {"epochs": 1_000_000})
    wait_for_state(system.client, experiment["id"], "running")
    redis.stop(signal.SIGKILL)
    system.worker.send(signal.SIGTERM)
    assert system.worker.popen.wait(PATIENCE_S) == 0
    released = system.client.experiment(experiment["id"])
    assert (released["state"], released["failures"]) == ("queued", 0)
    assert [worker["state"] for worker in system.client.workers()] == ["gone"]
