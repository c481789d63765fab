"""What goes on serving: without its launcher, without anybody who reads what it prints; and what it prints first."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from api.client import Client, ClientError
from tests.e2e.processes import COMMAND, DIGITS, Up, ballast, running, wait_for_end, wait_for_epoch
from tests.servers import PATIENCE_S, Redis, free_port, wait_until


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running(Up(tmp_path_factory.mktemp("home"), "--workers", "2")) as process:
        yield process


def launcher_of(up: Up) -> psutil.Process:
    (launcher,) = [each for each in psutil.Process(up.popen.pid).children() if "worker" in each.cmdline()]
    return launcher


def test_up_says_what_to_do_next(up: Up) -> None:
    wait_until(lambda: "2 workers on " in up.log_text())
    address = f"http://127.0.0.1:{up.settings['port']}"
    serves, documents, example, workers = [line for line in up.log_text().splitlines() if "[info" not in line]
    assert serves == f"Ballast serves {address} (data in {up.settings['home']}); Ctrl-C stops it"
    assert f"{address}/docs" in documents
    assert re.fullmatch(r"2 workers on (cpu|cuda:0, cuda:1)", workers)
    assert output_when_pasted(example.replace("epochs=20", "epochs=1"))  # as written it takes ten seconds
    assert {experiment["state"] for experiment in up.client.experiments()} == {"succeeded"}


@pytest.mark.slow
def test_the_example_of_up_works_as_it_is_printed(up: Up) -> None:
    (example,) = [line for line in up.log_text().splitlines() if "ballast sweep" in line]
    assert output_when_pasted(example)


def output_when_pasted(line: str) -> str:
    """What it prints, in a terminal that knows nothing of ours."""
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("BALLAST_")}
    done = subprocess.run(
        line, shell=True, env=elsewhere | {"PATH": "/bin:/usr/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_killed_launcher_is_replaced_and_experiments_go_on(up: Up) -> None:
    experiment = up.client.submit(DIGITS | {"epochs": 400})
    wait_for_epoch(up.client, experiment["id"], 10)
    first = launcher_of(up)
    first.kill()
    ended = wait_for_end(up.client, experiment["id"])
    assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
    assert up.client.curve(experiment["id"])["replay_mismatch_from"] is None
    assert launcher_of(up).pid != first.pid
    assert "the workers' launcher died" in up.log_text()
    assert "status=-9" in up.log_text()


@pytest.mark.slow
def test_a_launcher_that_comes_back_into_an_outage_is_tried_again(tmp_path: Path) -> None:
    with Redis() as redis, running(Up(tmp_path / "home", "--workers", "1", broker_url=redis.url)) as up:
        redis.stop()
        launcher_of(up).kill()
        wait_until(lambda: up.log_text().count("the workers' launcher died") == 2)
        assert "status=1" in up.log_text()
        redis.start()
        assert wait_for_end(up.client, up.client.submit(DIGITS)["id"])["state"] == "succeeded"


@pytest.mark.slow
def test_a_launcher_that_was_told_to_leave_ends_the_service_in_a_sentence(tmp_path: Path) -> None:
    with running(Up(tmp_path / "home", "--workers", "1")) as up:
        launcher_of(up).terminate()
        assert up.popen.wait(PATIENCE_S) == 1
        assert "the workers have ended: stopping" in up.log_text()
        assert "died" not in up.log_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "streams"), [("up --workers 1", "<&- > /dev/full 2> >(head -n 1)"), ("api", "<&- >&- 2>&-")]
)
def test_what_nobody_can_read_ends_no_service(command: str, streams: str, tmp_path: Path) -> None:
    assert ballast("db", "upgrade", home=tmp_path).returncode == 0
    port = free_port()
    environment = os.environ | {"BALLAST_HOME": str(tmp_path), "BALLAST_PORT": str(port)}
    serving = subprocess.Popen(["bash", "-c", f"exec {COMMAND} {command} {streams}"], env=environment)
    try:
        with closing(Client(f"http://127.0.0.1:{port}")) as client:
            wait_until(lambda: serving.poll() is not None or answers(client))
            experiment = client.submit(DIGITS)["id"]
            if command != "api":
                assert wait_for_end(client, experiment)["state"] == "succeeded"
        serving.terminate()
        assert serving.wait(PATIENCE_S) == 0
    finally:
        serving.kill()
        serving.wait()


def answers(client: Client) -> bool:
    try:
        return client.workers() is not None
    except ClientError:
        return False
