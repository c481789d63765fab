"""Redis emptied, restarted, away, and its clients cut off, in the middle of a queue: nobody notices but by ear."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from api.client import Client
from core.states import ENDED, Ask
from tests.chaos.conftest import Chance, Summarize
from tests.e2e.processes import (
    DIGITS,
    ENDLESS,
    distributed_over,
    seconds_until_claimed,
    wait_for_end,
    wait_for_epoch,
)
from tests.servers import Postgres, Redis, wait_until

HARMS: dict[str, Callable[[Redis], None]] = {
    "flushed": lambda redis: redis.ask("FLUSHALL"),
    "restarted empty": lambda redis: redis.restart(),
    **{
        f"its {kind} clients killed": lambda redis, kind=kind: redis.ask("CLIENT", "KILL", "TYPE", kind)
        for kind in ("normal", "pubsub", "master", "replica")
    },
}


AWAY = 60  # seconds


class Posts:
    """Experiments that are posted meanwhile, before all that waits."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.ids: list[int] = []
        self.slowest = 0.0

    def one(self) -> None:
        began = time.monotonic()
        self.ids.append(self._client.submit(DIGITS | {"epochs": 1}, priority=100)["id"])
        self.slowest = max(self.slowest, time.monotonic() - began)


@pytest.mark.slow
def test_a_queue_is_worked_off_once_whatever_happens_to_redis(
    postgres: Postgres, tmp_path: Path, chance: Chance, summarize: Summarize
) -> None:
    with distributed_over(postgres, tmp_path, workers="2") as (system, redis):
        client = system.client
        workers = warmed_up(client, 2)
        sweep = client.submit_sweep({"base": DIGITS, "axes": {"seed": list(range(200))}})["id"]
        posts = Posts(client)
        posts.one()
        for harm in chance.sample(list(HARMS), len(HARMS)):
            HARMS[harm](redis)
            posts.one()
            time.sleep(chance.uniform(0, 0.2))
        waiting = client.sweep(sweep)["counts"]["queued"]
        redis.stop()
        back = time.monotonic() + AWAY
        while time.monotonic() < back:
            posts.one()
            time.sleep(1)
        redis.start()
        posts.one()

        everything = [*(member["id"] for member in client.members(sweep)), *posts.ids]
        wait_until(lambda: all(experiment["state"] in ENDED for experiment in client.experiments(500)))
        ends = [[event["kind"] for event in client.events(each)] for each in everything]
        assert [kinds.count("succeeded") for kinds in ends] == [1] * len(everything)
        assert [kinds.count("claimed") for kinds in ends] == [1] * len(everything)
        assert waiting > 0
        latest = max(seconds_until_claimed(client, each) for each in posts.ids)
        assert {worker["pid"] for worker in client.workers()} == workers
        summarize(
            f"Redis emptied, restarted, cut off and {AWAY} s away with {waiting} in the queue",
            trials=len(HARMS) + 1,
            seed=chance.number,
            details=[
                f"{len(everything)} experiments, each claimed once",
                f"a POST meanwhile took {posts.slowest:.2f} s at most, its experiment waited {latest:.2f} s at most",
            ],
        )


def warmed_up(client: Client, count: int) -> set[int]:
    """So many workers, each of which has trained: its first experiment takes seconds to begin. Returns their pids."""
    wait_until(lambda: [worker["state"] for worker in client.workers()] == ["idle"] * count)
    held = [client.submit(ENDLESS)["id"] for _ in range(count)]
    for each in held:
        wait_for_epoch(client, each, 1)
    for each in held:
        client.ask(each, Ask.CANCEL)
        wait_for_end(client, each)
    return {worker["pid"] for worker in client.workers()}
