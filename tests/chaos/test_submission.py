"""Submission under fire: the same request twenty times at once under one key, the API killed in the middle and started
anew, and all of them again. One experiment.
"""

import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from api.client import Client, Unreachable
from tests.chaos.conftest import Chance, Summarize
from tests.e2e.processes import DIGITS, Process, running
from tests.servers import Redis, free_port, wait_until

AT_ONCE = 20
TRIALS = 10


class Senders:
    """Clients that each send the same under the same key at the same time."""

    def __init__(self, url: str, spec: dict[str, Any]) -> None:
        self.numbers: list[int] = []  # of the experiments that were answered
        self.unreached = 0
        self._url = url
        self._spec = spec
        self._at_once = threading.Barrier(AT_ONCE + 1)
        self._threads = [threading.Thread(target=self._send) for _ in range(AT_ONCE)]
        for thread in self._threads:
            thread.start()
        self._at_once.wait()

    def _send(self) -> None:
        client = Client(self._url)
        self._at_once.wait()
        try:
            self.numbers.append(client.submit(self._spec, key=self._spec["name"])["id"])
        except Unreachable:
            self.unreached += 1
        client.close()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join()
        assert len(self.numbers) + self.unreached == AT_ONCE


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_one_key_makes_one_experiment_whenever_the_api_is_killed(
    tmp_path: Path, database_url: str, redis_server: Redis, summarize: Summarize, chance: Chance
) -> None:
    settings = {"home": tmp_path, "port": free_port(), "database_url": database_url, "broker_url": redis_server.url}
    seen: Counter[str] = Counter()
    for trial in range(TRIALS):
        spec = DIGITS | {"name": f"trial-{trial}"}
        seen.update(_killed_in_the_middle(tmp_path / f"{trial}.log", settings, spec, chance))
    summarize(
        "submission under fire",
        trials=TRIALS,
        seed=chance.number,
        details=[", ".join(f"{number} {what}" for what, number in seen.items())],
    )


def _killed_in_the_middle(log: Path, settings: dict[str, Any], spec: dict[str, Any], chance: Chance) -> dict[str, int]:
    url = f"http://127.0.0.1:{settings['port']}"
    with running(_api(log, settings)) as api:
        senders = Senders(url, spec)
        time.sleep(chance.uniform(0, 0.3))
        if chance.random() < 0.5:
            wait_until(lambda: len(senders.numbers) > 0)
        answered = len(senders.numbers)
        api.send(signal.SIGKILL)
        api.popen.wait()
    with running(_api(log, settings)):
        senders.wait()
        again = Senders(url, spec)
        again.wait()
        client = Client(url)
        made = [each["id"] for each in client.experiments(500) if each["name"] == spec["name"]]
        client.close()
    assert again.unreached == 0
    assert {*senders.numbers, *again.numbers} == set(made)
    assert len(made) == 1
    return {
        "answered before the kill": answered,
        "sent again until they were": len(senders.numbers) - answered,
        "too late": senders.unreached,
    }


def _api(log: Path, settings: dict[str, Any]) -> Process:
    log.unlink(missing_ok=True)
    process = Process("api", log=log, **settings)
    wait_until(lambda: "Ballast serves" in process.log_text())
    return process
