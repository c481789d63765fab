"""What happens at once: a cancel and the last epoch, a kill and ten thousand members, two deletes."""

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from api.client import Client, ClientError, Refused
from core.states import ENDED, Ask, State
from tests.e2e.processes import DIGITS, Process, Up, ballast, running
from tests.servers import free_port, wait_until

SEED = int(os.environ.get("BALLAST_TEST_SEED", time.time_ns() % 10**6))
N = 100
# Some tenths of a second an epoch, so that a cancel often meets the last of them.
TWO_EPOCHS = DIGITS | {"model": {"name": "cnn", "width": 4}, "batch_size": 4, "epochs": 2}


@pytest.mark.slow
def test_a_hundred_cancels_near_the_end_each_leave_one_end(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    with running(Up(tmp_path / "home", "--workers", "2", data_dir=tmp_path, heartbeat_seconds=0.1)) as up:
        sweep = up.client.submit_sweep({"base": TWO_EPOCHS, "axes": {"seed": list(range(N))}})["id"]
        timers = _cancel_each_near_its_end(up, sweep, chance)
        wait_until(lambda: sum(up.client.sweep(sweep)["counts"][state] for state in ENDED) == N)
        for timer in timers:
            timer.join()
        ends = [_only_end(up, member) for member in up.client.members(sweep)]
    print({end: ends.count(end) for end in set(ends)})
    assert len(ends) == N
    assert min(ends.count("succeeded"), ends.count("cancelled")) >= 2  # else nothing has raced


def _cancel_each_near_its_end(up: Up, sweep: int, chance: random.Random) -> list[threading.Timer]:
    """A timer for each, set when its first epoch is written.

    How long an epoch takes is the machine's affair, so the delay follows what it meets: longer after each that was
    cancelled, shorter after each that succeeded, it settles where about half are.
    """
    delay = 0.1  # seconds, on average

    def cancel(number: int) -> None:
        client = Client(up.client.url)
        with contextlib.suppress(Refused):  # it has succeeded
            client.ask(number, Ask.CANCEL)
        client.close()

    timers: dict[int, threading.Timer] = {}
    ended: set[int] = set()

    def all_started() -> bool:
        nonlocal delay
        for member in up.client.members(sweep):
            number = member["id"]
            if member["state"] in ENDED and number not in ended:
                ended.add(number)
                delay *= 1.3 if member["state"] == State.CANCELLED else 1 / 1.3
            if number not in timers and (member["epochs_done"] or number in ended):
                timers[number] = threading.Timer(chance.uniform(0, 2 * delay), cancel, [number])
                timers[number].start()
        return len(timers) == N

    wait_until(all_started)
    return list(timers.values())


def _only_end(up: Up, member: dict[str, Any]) -> str:
    """`succeeded` with all rows or `cancelled` with fewer, and one of the two in its events."""
    curve = up.client.curve(member["id"])
    ends = [event["to"] for event in up.client.events(member["id"]) if event["to"] in ENDED]
    assert ends == [member["state"]]
    assert curve["complete"]
    assert curve["epoch"] == list(range(1, member["epochs_done"] + 1))
    assert (member["state"], curve["epoch"]) in (
        ("succeeded", [1, 2]),
        ("cancelled", [1]),
        ("cancelled", []),
    )
    return ends[0]


@pytest.mark.slow
def test_ten_thousand_members_are_all_there_or_none_when_the_api_is_killed(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    request = {"base": DIGITS, "axes": {"seed": list(range(10_000))}}
    made = []
    for _ in range(8):
        port = free_port()
        home = tmp_path / "home"
        with running(_api(home, port)) as api:
            client = Client(f"http://127.0.0.1:{port}")
            before = sum(sum(sweep["counts"].values()) for sweep in client.sweeps())
            killer = threading.Timer(chance.uniform(0, 3), api.send, [signal.SIGKILL])
            killer.start()
            with contextlib.suppress(ClientError):
                client.submit_sweep(request)
            killer.join()
            api.popen.wait()
            client.close()
        port = free_port()
        with running(_api(home, port)):
            client = Client(f"http://127.0.0.1:{port}")
            counts = [sum(sweep["counts"].values()) for sweep in client.sweeps()]
            assert set(counts) <= {10_000}
            made.append(sum(counts) - before)
            client.close()
    print(made)
    assert set(made) <= {0, 10_000}


def _api(home: Path, port: int) -> Process:
    home.mkdir(exist_ok=True)
    ballast("db", "upgrade", home=home)
    process = Process("api", log=home / f"api-{port}.log", home=home, port=port)
    wait_until(lambda: "Ballast serves" in process.log_text())
    return process


@pytest.mark.slow
def test_two_deletes_at_once_delete_once(tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    with running(_api(home, port)):
        client = Client(f"http://127.0.0.1:{port}")
        for _ in range(20):
            number = client.submit(DIGITS)["id"]
            client.ask(number, Ask.CANCEL)
            outcomes: list[int] = []

            def delete(number: int = number, outcomes: list[int] = outcomes) -> None:
                own = Client(client.url)
                try:
                    own.delete(number)
                    outcomes.append(204)
                except Refused as refusal:
                    outcomes.append(refusal.status)
                own.close()

            threads = [threading.Thread(target=delete) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(outcomes) == [204, 404, 404]
        client.close()
