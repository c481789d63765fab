"""Logs for machines: each line one JSON object, which says whose it is and which request or attempt it is of."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from api.client import Client
from tests.data import DATA
from tests.e2e.processes import ENDLESS, FAST, Process, ballast, is_ready, running, wait_for_epoch, wait_for_state
from tests.servers import Redis, free_port, wait_until

Line = dict[str, Any]

SAID_TO_PEOPLE = ("Ballast serves", "1 worker on")  # on standard output


class Lab(NamedTuple):
    api: Process
    worker: Process
    client: Client
    alice: str
    url: str


@contextmanager
def lab_over(broker_url: str, folder: Path) -> Iterator[Lab]:
    """That asks for tokens and logs for machines."""
    port = free_port()
    database_url = f"sqlite:///{folder / 'ballast.db'}"
    shared: dict[str, Any] = {"database_url": database_url, "broker_url": broker_url, "data_dir": DATA, **FAST}
    shared["LOG"] = "json"  # log= is where a process writes
    assert ballast("db", "upgrade", home=folder, **shared).returncode == 0
    alice = ballast("token", "create", "alice", home=folder, **shared).stdout.strip()
    api = Process("api", log=folder / "api.log", home=folder / "a", port=port, host="0.0.0.0", **shared)
    worker = Process("worker", "--processes", "1", log=folder / "w.log", home=folder / "b", **shared)
    url = f"http://127.0.0.1:{port}"
    with running(api), running(worker), closing(Client(url, token=alice)) as client:
        wait_until(lambda: is_ready(client, worker))
        yield Lab(api, worker, client, alice, url)


def lines_of(process: Process) -> list[Line]:
    said = process.log_text().splitlines()
    lines = [json.loads(line) for line in said if not line.startswith(SAID_TO_PEOPLE)]
    for line in lines:
        assert {"event", "level", "timestamp"} <= set(line), line
    return lines


def of_redis(line: Line) -> bool:
    """Said by the thread that listens, not by the one that trains."""
    return "no rings are heard" in line["event"]


def test_every_line_is_json_and_says_of_what_it_is(tmp_path: Path) -> None:
    with Redis() as redis, lab_over(redis.url, tmp_path) as lab:
        first = lab.client.submit(ENDLESS)["id"]
        wait_for_epoch(lab.client, first, 10)
        redis.stop()
        wait_until(lambda: any(map(of_redis, lines_of(lab.worker))))
        headers = {"Authorization": f"Bearer {lab.alice}", "X-Request-ID": "mine"}
        answer = httpx2.post(f"{lab.url}/experiments", json=ENDLESS, headers=headers, timeout=60)
        assert answer.status_code == 201
        for number in (first, answer.json()["id"]):
            lab.client.ask(number, "cancel")
            wait_for_state(lab.client, number, "cancelled")
        wait_until(lambda: "ended" in [line["event"] for line in lines_of(lab.worker)])
        from_api, from_worker = lines_of(lab.api), lines_of(lab.worker)

    (refused,) = [line for line in from_api if "no ring can be sent" in line["event"]]
    assert (refused["request_id"], refused["owner"]) == ("mine", "alice")
    assert_each_says_what_is_held(from_worker, first)


def assert_each_says_what_is_held(lines: list[Line], experiment_id: int) -> None:
    of_process = [line for line in lines if "slot" in line]
    events = [line["event"] for line in of_process]
    since, until = events.index("training"), events.index("ended")
    held = of_process[since : until + 1]
    assert any(map(of_redis, held))
    for line in held:
        assert (line["experiment"], line["attempt"], line["owner"]) == (experiment_id, 1, "alice")
    for line in of_process[:since]:
        assert "experiment" not in line
