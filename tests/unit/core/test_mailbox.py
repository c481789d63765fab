"""The queue folder and the doorbell: many processes on one folder lose nothing and read nothing by halves; a dead
broker holds nobody up.
"""

import json
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

import pytest
from celery import Celery
from redis import Redis as RedisClient
from structlog.testing import capture_logs

from core.broker import QUEUE
from core.broker.doorbell import TASK, BrokerUnreachable, Doorbell, celery_app, empty_folder, folder_options
from core.settings import Settings, load_settings
from tests.servers import PATIENCE_S, Redis, free_port, wait_until

_spawn = multiprocessing.get_context("spawn")


def embedded(home: Path) -> Settings:
    return load_settings(home=home, broker_url="", database_url="")


def on(url: str, home: Path) -> Settings:
    return load_settings(home=home, broker_url=url, database_url="")


@contextmanager
def channel_of(home: Path) -> Iterator[Any]:
    settings = embedded(home)
    app: Celery = celery_app(settings, "test", folder_options(settings))
    with app.connection_for_write() as connection:
        yield connection.default_channel
    app.close()


@contextmanager
def doorbell(settings: Settings) -> Iterator[Doorbell]:
    bell = Doorbell(settings)
    yield bell
    bell.close()


def messages(home: Path) -> list[Path]:
    return sorted((home / "queue" / "messages").glob("*.msg"))


def _put_many(home: Path, name: int, count: int) -> None:
    with channel_of(home) as channel:
        for number in range(count):
            channel._put(QUEUE, {"body": f"{name}/{number}", "padding": "x" * 20_000})


def _take_all(home: Path, done: Any, taken: Any) -> None:
    with channel_of(home) as channel:
        while True:
            ended = done.is_set()  # before the look that finds nothing
            try:
                taken.put(channel._get(QUEUE)["body"])
            except Empty:
                if ended:
                    return
                time.sleep(0.002)


def _bind_many(home: Path, name: int, count: int) -> None:
    with channel_of(home) as channel:
        for number in range(count):
            channel._queue_bind("exchange", "", "", f"queue-{name}-{number}")


def test_processes_that_put_and_get_at_once_lose_nothing_and_read_nothing_by_halves(tmp_path: Path) -> None:
    done, taken = _spawn.Event(), _spawn.Queue()
    putters = [_spawn.Process(target=_put_many, args=(tmp_path, name, 60)) for name in range(2)]
    takers = [_spawn.Process(target=_take_all, args=(tmp_path, done, taken)) for _ in range(2)]
    for process in (*takers, *putters):
        process.start()
    for process in putters:
        process.join()
    done.set()
    bodies = [taken.get(timeout=PATIENCE_S) for _ in range(120)]
    for process in takers:
        process.join()
    assert {process.exitcode for process in (*takers, *putters)} == {0}
    assert sorted(bodies) == sorted(f"{name}/{number}" for name in range(2) for number in range(60))
    assert taken.empty()
    assert list((tmp_path / "queue" / "messages").iterdir()) == []


def test_threads_that_get_at_once_take_each_message_once(tmp_path: Path) -> None:
    _put_many(tmp_path, 0, 100)
    taken: list[str] = []

    def take() -> None:
        with channel_of(tmp_path) as channel:
            while True:
                try:
                    taken.append(channel._get(QUEUE)["body"])
                except Empty:
                    return

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"0/{number}" for number in range(100))


def test_messages_come_in_the_order_in_which_they_were_put(tmp_path: Path) -> None:
    _put_many(tmp_path, 0, 20)
    with channel_of(tmp_path) as channel:
        assert [channel._get(QUEUE)["body"] for _ in range(20)] == [f"0/{number}" for number in range(20)]


def test_a_queue_gets_only_its_own_messages(tmp_path: Path) -> None:
    with channel_of(tmp_path) as channel:
        channel._put("other.ballast", {"body": "not mine"})
        with pytest.raises(Empty):
            channel._get(QUEUE)
        assert channel._get("other.ballast") == {"body": "not mine"}


@pytest.mark.parametrize("garbage", [b"", b"{", b"\xff\xfe\x00", b"null", b"[1, 2]", b'"text"', b'{"body": '])
def test_what_is_no_message_is_dropped_in_one_line_and_the_next_one_comes(tmp_path: Path, garbage: bytes) -> None:
    with channel_of(tmp_path) as channel, capture_logs() as logs:
        (tmp_path / "queue" / "messages" / f"0_first.{QUEUE}.msg").write_bytes(garbage)
        channel._put(QUEUE, {"body": "next"})
        assert channel._get(QUEUE) == {"body": "next"}
        with pytest.raises(Empty):
            channel._get(QUEUE)
    assert list((tmp_path / "queue" / "messages").iterdir()) == []
    assert len(logs) == 1


def test_queues_bound_by_many_processes_at_once_are_all_there_and_no_reader_sees_half_a_table(tmp_path: Path) -> None:
    binders = [_spawn.Process(target=_bind_many, args=(tmp_path, name, 40)) for name in range(2)]
    with channel_of(tmp_path) as channel:
        for process in binders:
            process.start()
        seen = 0
        while any(process.is_alive() for process in binders):
            table = channel.get_table("exchange")  # raises on half a file
            assert len(table) >= seen
            seen = len(table)
        assert {process.exitcode for process in binders} == {0}
        queues = {binding.queue for binding in channel.get_table("exchange")}
    assert queues == {f"queue-{name}-{number}" for name in range(2) for number in range(40)}


def test_binding_the_same_queue_again_changes_nothing_and_deleting_it_takes_it_away(tmp_path: Path) -> None:
    with channel_of(tmp_path) as channel:
        for queue in ("a", "b", "a"):
            channel._queue_bind("exchange", "", "", queue)
        assert sorted(binding.queue for binding in channel.get_table("exchange")) == ["a", "b"]
        channel._delete("a", "exchange", "", "")
        assert [binding.queue for binding in channel.get_table("exchange")] == ["b"]
        assert channel.get_table("another") == []


def test_emptying_forgets_every_message_and_needs_no_folder(tmp_path: Path) -> None:
    settings = embedded(tmp_path)
    empty_folder(settings)
    _put_many(tmp_path, 0, 3)
    empty_folder(settings)
    with channel_of(tmp_path) as channel, pytest.raises(Empty):
        channel._get(QUEUE)


def test_a_ring_on_the_folder_is_one_message_for_a_worker(tmp_path: Path) -> None:
    with doorbell(embedded(tmp_path)) as bell:
        bell.check()
        bell.ring()
    (file,) = messages(tmp_path)
    assert json.loads(file.read_text())["headers"]["task"] == TASK


def test_a_ring_outlives_a_folder_that_was_taken_away(tmp_path: Path) -> None:
    with doorbell(embedded(tmp_path)) as bell:
        empty_folder(embedded(tmp_path))
        bell.ring()


def test_a_ring_on_redis_is_one_message_that_carries_nothing(tmp_path: Path, redis_server: Redis) -> None:
    with RedisClient.from_url(redis_server.url) as client, doorbell(on(redis_server.url, tmp_path)) as bell:
        client.flushall()
        bell.check()
        bell.ring()
        (text,) = client.lrange(QUEUE, 0, -1)
    headers = json.loads(text)["headers"]
    assert (headers["task"], headers["argsrepr"], headers["kwargsrepr"]) == (TASK, "()", "{}")


def test_a_doorbell_rings_again_when_redis_is_back(tmp_path: Path, redis_server: Redis) -> None:
    with doorbell(on(redis_server.url, tmp_path)) as bell, capture_logs() as logs:
        bell.ring()
        redis_server.stop()
        bell.ring()
        bell.ring()
        redis_server.start()
        bell.ring()
        bell.ring()
        with RedisClient.from_url(redis_server.url) as client:
            assert client.llen(QUEUE) >= 1
    assert len(logs) == 1  # said once an outage


def test_a_redis_that_refuses_to_take_a_message_fails_nobody(tmp_path: Path, redis_server: Redis) -> None:
    with RedisClient.from_url(redis_server.url) as client, doorbell(on(redis_server.url, tmp_path)) as bell:
        client.flushall()
        client.config_set("maxmemory", "1")
        try:
            with capture_logs() as logs:
                bell.ring()
        finally:
            client.config_set("maxmemory", "0")
        assert client.llen(QUEUE) == 0
    assert len(logs) == 1


@contextmanager
def mute() -> Iterator[str]:
    """An address that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://:hunter2@127.0.0.1:{listener.getsockname()[1]}/0"


@contextmanager
def dead() -> Iterator[str]:
    yield f"redis://:hunter2@127.0.0.1:{free_port()}/0"


@pytest.mark.parametrize("broker", [mute, dead])
def test_a_ring_at_a_dead_address_is_over_soon_and_raises_nothing(tmp_path: Path, broker: Any) -> None:
    with broker() as url, doorbell(on(url, tmp_path)) as bell, capture_logs() as logs:
        bell.ring()
    assert [entry["log_level"] for entry in logs] == ["warning"]


@pytest.mark.parametrize("broker", [mute, dead])
def test_a_check_says_which_broker_does_not_answer_and_what_to_do_without_its_password(
    tmp_path: Path, broker: Any
) -> None:
    with broker() as url, doorbell(on(url, tmp_path)) as bell:
        with pytest.raises(BrokerUnreachable) as caught:
            bell.check()
        address = url.rpartition("@")[2]
    sentence = str(caught.value)
    assert sentence.startswith(f"the broker at redis://{address} does not answer (")
    assert sentence.endswith("): start Redis, or correct BALLAST_BROKER_URL")
    assert "hunter2" not in sentence


class Harm(NamedTuple):
    """What somebody does to a Redis, what the check must name, and how it is mended."""

    commands: tuple[str, ...]
    named: str


FULL = "ACL SETUSER bob reset on >hunter2 +@all allkeys allchannels"
HARMS = {
    "a user of a few keys": Harm(
        ("ACL SETUSER bob resetkeys resetchannels ~ballast* &ballast*",), "_kombu.binding.ballast"
    ),
    "a user without the keys of taken messages": Harm(("ACL SETUSER bob resetkeys ~ballast* ~_kombu.*",), "unacked"),
    "a user without channels": Harm(("ACL SETUSER bob resetchannels",), "/0.celery.pidbox"),
    "a user who may not take": Harm(("ACL SETUSER bob -brpop",), "BRPOP ballast"),
    "a user who may not put": Harm(("ACL SETUSER bob -lpush",), "LPUSH ballast"),
    "a user who may not ping": Harm(("ACL SETUSER bob -ping",), "ping"),
    "another password": Harm(("ACL SETUSER bob resetpass >other",), "username-password"),
    "a key of another type": Harm(("SET ballast x",), "LLEN ballast: WRONGTYPE"),
    "a key of another type that kombu keeps": Harm(("SET unacked x",), "HGET unacked: WRONGTYPE"),
    "no memory": Harm(("CONFIG SET maxmemory 1",), "maxmemory"),
    "a replica": Harm(("REPLICAOF 127.0.0.1 1",), "read only replica"),
}
MENDED = (FULL, "CONFIG SET maxmemory 0", "REPLICAOF NO ONE", "FLUSHALL")


@contextmanager
def harmed(server: Redis, *commands: str) -> Iterator[None]:
    for command in commands:
        server.ask(*command.split())
    try:
        yield
    finally:
        for command in MENDED:
            server.ask(*command.split())


def of_bob(server: Redis) -> str:
    return server.url.replace("redis://", "redis://bob:hunter2@")


@pytest.mark.parametrize("harm", HARMS)
def test_a_check_says_what_a_redis_that_answers_refuses(harm: str, tmp_path: Path, redis_server: Redis) -> None:
    commands, named = HARMS[harm]
    server = redis_server
    with harmed(server, FULL, *commands), doorbell(on(of_bob(server), tmp_path)) as bell:
        with pytest.raises(BrokerUnreachable) as caught:
            bell.check()
        sentence = str(caught.value)
        assert f"{redis_server.url} refuses what must be done there (" in sentence
        assert named in sentence
        assert "BALLAST_BROKER_URL" in sentence
        assert "hunter2" not in sentence
        for command in MENDED:
            server.ask(*command.split())
        bell.check()


def test_a_check_leaves_nothing_and_takes_nothing(tmp_path: Path, redis_server: Redis) -> None:
    with RedisClient.from_url(redis_server.url) as client, doorbell(on(redis_server.url, tmp_path)) as bell:
        client.flushall()
        bell.check()
        assert client.keys() == []
        bell.ring()
        before = everything_in(client)
        bell.check()
        assert everything_in(client) == before


def everything_in(client: Any) -> dict[bytes, bytes]:
    return {key: client.dump(key) for key in client.scan_iter()}


def test_a_check_wakes_nobody_who_waits_for_rings(tmp_path: Path, redis_server: Redis) -> None:
    with RedisClient.from_url(redis_server.url) as client, doorbell(on(redis_server.url, tmp_path)) as bell:
        client.flushall()
        heard: list[Any] = []
        waiting = threading.Thread(target=lambda: heard.append(client.blpop([QUEUE], timeout=2)))
        waiting.start()
        with RedisClient.from_url(redis_server.url) as other:
            wait_until(lambda: other.info("clients")["blocked_clients"] == 1)
        bell.check()
        waiting.join()
        assert heard == [None]


def test_a_check_leaves_nothing_in_the_folder(tmp_path: Path) -> None:
    with doorbell(embedded(tmp_path)) as bell:
        bell.ring()
        before = sorted(tmp_path.rglob("*"))
        bell.check()
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("where", ["queue", "queue/messages", "queue/control"])
def test_a_file_in_the_place_of_the_folder_is_a_sentence_and_no_ring_fails(tmp_path: Path, where: str) -> None:
    (tmp_path / where).parent.mkdir(exist_ok=True)
    (tmp_path / where).write_text("somebody's")
    with doorbell(embedded(tmp_path)) as bell:
        with pytest.raises(BrokerUnreachable, match=r"the queue folder .* cannot be used .*BALLAST_HOME"):
            bell.check()
        with capture_logs() as logs:
            bell.ring()
            bell.ring()
        assert len(logs) == 1
        (tmp_path / where).unlink()
        bell.check()
        bell.ring()
    assert len(messages(tmp_path)) == 1


def test_a_pipe_or_a_folder_among_the_messages_holds_nobody_up(tmp_path: Path) -> None:
    with channel_of(tmp_path) as channel:
        for name, make in (("0_pipe", os.mkfifo), ("1_folder", Path.mkdir)):
            make(tmp_path / "queue" / "messages" / f"{name}.{QUEUE}.msg")
        channel._put(QUEUE, {"body": "next"})
        assert channel._get(QUEUE) == {"body": "next"}
        with pytest.raises(Empty):
            channel._get(QUEUE)


@pytest.mark.parametrize("garbage", [b"", b"{", b"\xff\xfe", b"42", b"[42]", b"[[1]]"])
def test_a_damaged_table_is_none_and_is_written_anew(tmp_path: Path, garbage: bytes) -> None:
    with channel_of(tmp_path) as channel:
        (tmp_path / "queue" / "control" / "exchange.exchange").write_bytes(garbage)
        assert channel.get_table("exchange") == []
        channel._queue_bind("exchange", "", "", "a")
        assert [binding.queue for binding in channel.get_table("exchange")] == ["a"]
