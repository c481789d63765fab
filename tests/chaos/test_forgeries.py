"""Messages that came twice, came too late, or never were rings, while a worker trains: no effect, and of those that are
no rings a line each.
"""

import json
import pickle
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from tests.chaos.conftest import Chance, Summarize
from tests.chaos.trials import turns
from tests.integration.hosts import Host, ran_once, running, settings_over
from tests.integration.messages import YESTERDAY, message, queue_of
from tests.servers import Redis, wait_until


class Burglar:
    """Once unpickled, it has been here."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._trace,)


def three_times(envelope: dict[str, Any]) -> list[bytes]:
    """As it is, the same again, and a day old."""
    old = message(**(envelope["headers"] | {"eta": YESTERDAY, "expires": YESTERDAY}))
    old |= {key: envelope[key] for key in ("body", "content-type")}
    old["properties"]["timestamp"] = YESTERDAY
    return [json.dumps(each).encode() for each in (envelope, envelope, old)]


def rings() -> list[bytes]:
    return three_times(message())


def no_rings(experiment_id: int, trace: Path) -> list[bytes]:
    named = json.dumps([[experiment_id], {"experiment_id": experiment_id}, {}]).encode()
    pickled = pickle.dumps(Burglar(trace))
    envelopes = [
        message(task="ballast.finish"),
        message(named),
        message(named, task="worker.drain"),
        message(pickled, "application/x-python-serialize"),
        message(pickled),
        message(b"42"),
    ]
    garbage = [b"42", b"\xff\xfe\x00", b'{"body": ', b"null"]
    return [each for envelope in envelopes for each in three_times(envelope)] + 3 * garbage


@pytest.fixture(params=["on Redis", "in the folder"])
def settings(request: pytest.FixtureRequest, _sqlite_template: Path, tmp_path: Path) -> Iterator[Settings]:
    with ExitStack() as stack:
        redis = {"broker_url": stack.enter_context(Redis()).url} if request.param == "on Redis" else {}
        yield settings_over(_sqlite_template, tmp_path, **redis)


@pytest.mark.slow
def test_forged_messages_have_no_effect(
    settings: Settings, tmp_path: Path, chance: Chance, summarize: Summarize
) -> None:
    trace = tmp_path / "somebody-was-here"
    with closing(queue_of(settings)) as queue, running(Host(settings)) as host:
        ended = host.submit()
        ran_once(host, ended)
        before, pids = host.experiment(ended), host.pids()
        held = host.submit(epochs=1_000_000, eval_every=10)
        host.wait_for_epoch(held)

        forged = no_rings(held, trace)
        messages = forged + rings()
        chance.shuffle(messages)
        queue.lay(*messages)
        done = host.experiment(held).epochs_done
        host.wait_for_epoch(held, done + 20)
        assert turns(host, held) == ["claimed"]
        host.cancel(held)
        host.wait_for_end(held)

        wait_until(queue.is_empty)
        wait_until(lambda: len(dropped(host)) >= len(forged))
        after = host.submit()
        ran_once(host, after)
        assert len(dropped(host)) == len(forged)
        assert turns(host, held) == ["claimed", "cancelled"]
        assert host.experiment(ended) == before
        assert host.pids() == pids
        assert not trace.exists()
        assert "Traceback" not in host.log_text()
    where = "in the folder" if settings.embedded_broker else "on Redis"
    lines = f"{len(forged)} were dropped with a line each, {len(messages) - len(forged)} were rings"
    summarize(f"forged messages {where}", trials=len(messages), seed=chance.number, details=[lines])


def dropped(host: Host) -> list[str]:
    return [line for line in host.lines() if "dropped a message" in line]
