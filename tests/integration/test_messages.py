"""Whatever lies in the queue: the worker lives, says a line about it at most, and runs what is submitted next, once."""

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from core.broker import QUEUE
from core.broker.doorbell import TASK
from tests.integration.hosts import Host, ran_once, running, settings_over
from tests.integration.messages import YESTERDAY, message, put, queue_of, without
from tests.servers import Redis, wait_until

TWICE = message()

IN_ENVELOPES: dict[str, dict[str, Any]] = {
    "body 42": message(b"42"),
    "body [[1]]": message(b"[[1]]"),
    "an argument": message(b"[[1], {}, {}]"),
    "body no JSON": message(b"{"),
    "body no text": message(b"\xff\xfe"),
    "no body": without("body"),
    "body not base64": message() | {"body": "é!"},
    "a pickle": message(pickle.dumps(print), "application/x-python-serialize"),
    "a pickle that calls itself JSON": message(pickle.dumps(print)),
    "a callback": message(b'[[], {}, {"callbacks": [{"task": "boom"}], "chord": 1, "chain": [2]}]'),
    "no id": without("id", "headers"),
    "an id that is a number": message(id=42),
    "no headers": without("headers"),
    "headers that are a list": message() | {"headers": [1]},
    "no properties": without("properties"),
    "no delivery tag": without("delivery_tag", "properties"),
    "a delivery tag that is a list": {**message(), "properties": message()["properties"] | {"delivery_tag": [1]}},
    "no delivery info": without("delivery_info", "properties"),
    "an unknown task": message(task="ballast.wring"),
    "no task": without("task", "headers"),
    "a task that is a list": message(task=[TASK]),
    "a bad time limit": message(timelimit=[1]),
    "a time limit": message(timelimit=[1, 1]),
    "a bad eta": message(eta="soon"),
    "an eta in a century": message(eta="2126-01-01T00:00:00+00:00"),
    "a bad expiry": message(expires=[1]),
    "another bad expiry": message(expires="never"),
    "a ring of yesterday": message(expires=YESTERDAY),
    "an encoding that is none": message() | {"content-encoding": "klingon"},
    "a compression that is none": message(compression="klingon"),
    "a bad stamp": message(stamped_headers=42, stamps=[1]),
    "a ring": TWICE,
    "the same ring": TWICE,
    "an envelope of nothing": {},
}

RAW: dict[str, bytes] = {
    "42": b"42",
    "[[1]]": b"[[1]]",
    "null": b"null",
    "text": b'"ring"',
    "bad JSON": b'{"body": ',
    "nothing": b"",
    "no text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
}


def garbage() -> list[bytes]:
    return [json.dumps(envelope).encode() for envelope in IN_ENVELOPES.values()] + list(RAW.values())


Put = Callable[..., None]  # lays messages into the queue and waits until they are taken


@pytest.fixture(scope="module")
def on_redis(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[tuple[Host, Put]]:
    with Redis() as server:
        settings = settings_over(template, tmp_path_factory.mktemp("host"), broker_url=server.url)
        with closing(queue_of(settings)) as queue, running(Host(settings)) as host:
            yield host, partial(put, queue)


@pytest.fixture(scope="module")
def in_folder(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[tuple[Host, Put]]:
    settings = settings_over(template, tmp_path_factory.mktemp("host"))
    with closing(queue_of(settings)) as queue, running(Host(settings)) as host:
        yield host, partial(put, queue)


@pytest.fixture(params=["on_redis", "in_folder"])
def either(request: pytest.FixtureRequest) -> tuple[Host, Put]:
    host_and_put: tuple[Host, Put] = request.getfixturevalue(request.param)
    return host_and_put


def test_garbage_harms_nobody(either: tuple[Host, Put]) -> None:
    host, put = either
    ran_once(host, host.submit())
    pids = host.pids()
    begin = len(host.lines())
    for each in garbage():
        before = len(host.lines())
        put(each)
        said = host.lines()[before:]
        assert len(said) <= 2, (each, said)  # one, and perhaps that of the message before
    put(*garbage())
    ran_once(host, host.submit())
    assert host.pids() == pids
    about_garbage = [line for line in host.lines()[begin:] if "experiment=" not in line]
    assert all("dropped a message" in line for line in about_garbage), about_garbage
    assert len(about_garbage) <= 2 * len(garbage())


def test_garbage_does_not_come_back_after_the_visibility_timeout(on_redis: tuple[Host, Put]) -> None:
    host, put = on_redis
    put(*garbage())
    with redis_py.Redis.from_url(host.settings.broker_url) as client:
        wait_until(lambda: not client.exists("unacked"))


@pytest.mark.slow
def test_garbage_that_lay_there_before_the_worker_came_harms_nobody(template: Path, tmp_path: Path) -> None:
    with Redis() as server, redis_py.Redis.from_url(server.url) as client:
        client.lpush(QUEUE, *garbage())
        with running(Host(settings_over(template, tmp_path, broker_url=server.url))) as host:
            ran_once(host, host.submit())
            assert len(host.workers()) == 1


def test_garbage_in_the_broadcast_harms_nobody(on_redis: tuple[Host, Put]) -> None:
    host, _ = on_redis
    pids = host.pids()
    with redis_py.Redis.from_url(host.settings.broker_url) as client:
        for each in (b"42", b"{}", b'{"properties": 1}', json.dumps(message(b"42")).encode()):
            wait_until(lambda each=each: client.publish("/0.celery.pidbox", each) == 1)  # once it listens
    ran_once(host, host.submit())
    assert host.pids() == pids


def test_half_a_file_and_strangers_in_the_folder_are_passed_over(in_folder: tuple[Host, Put]) -> None:
    host, _ = in_folder
    pids = host.pids()
    folder = host.settings.queue_dir / "messages"
    (folder / "half.ballast.msg").write_bytes(json.dumps(message()).encode()[:100])
    (folder / "a_folder.ballast.msg").mkdir()
    (folder / "README").write_text("hello")
    (folder / ".hidden.ballast.msg").write_text("{")
    (folder / "gone.ballast.msg").symlink_to("nowhere")
    ran_once(host, host.submit())
    assert host.pids() == pids
    assert (folder / "README").exists()


def test_a_hundred_rings_for_one_experiment_run_it_once(either: tuple[Host, Put]) -> None:
    host, _ = either
    experiment = host.submit(ring=False)
    for _ in range(100):
        host.ring()
    ran_once(host, experiment)
    ran_once(host, host.submit())
