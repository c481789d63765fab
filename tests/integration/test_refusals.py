"""A broker that answers, and refuses: whoever trains goes on, work is found by polling, it is said once; and rings are
heard again when it is mended.
"""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_py

from core.broker import QUEUE, rehearsal
from core.states import State
from tests.integration.hosts import Host, ran_once, running, settings_over
from tests.servers import Redis, wait_until

FULL = "ACL SETUSER bob reset on >hunter2 +@all allkeys allchannels"
MENDED = (
    FULL,
    "CONFIG SET maxmemory 0",
    "REPLICAOF NO ONE",
    f"DEL {QUEUE}",
    "DEL unacked",
    "DEL _kombu.binding.ballast",
)
README = Path(__file__).parents[2] / "deploy" / "README.md"
OF_ANY_CONNECTION = {
    "hello",
    "auth",
    "client",
    "ping",
    "select",
    "multi",
    "exec",
    "discard",
    "info",
    "pubsub",
    "acl",
    "config",
}
SAID = "no rings are heard"

HARMS = {
    "gave its user few keys": "ACL SETUSER bob resetkeys resetchannels ~ballast* &ballast*",
}
MORE_HARMS = {
    "had a queue of another type": f"SET {QUEUE} x",
    "gave its user another password": "ACL SETUSER bob resetpass >other",
    "let its user take nothing": "ACL SETUSER bob -brpop",
    "let its user hear nothing": "ACL SETUSER bob resetchannels",
    "let its user keep no message": "ACL SETUSER bob resetkeys ~ballast* ~_kombu.*",
    "had a table of another type": "SET unacked x",
    "had no memory": "CONFIG SET maxmemory 1",
    "became a replica": "REPLICAOF 127.0.0.1 1",
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[tuple[Host, Redis]]:
    with Redis() as server:
        server.ask(*FULL.split())
        url = server.url.replace("redis://", "redis://bob:hunter2@")
        with running(Host(settings_over(template, tmp_path_factory.mktemp("host"), broker_url=url))) as host:
            yield host, server


@pytest.mark.parametrize("harm", HARMS)
def test_a_worker_trains_on_and_hears_again_after_redis(harm: str, fleet: tuple[Host, Redis]) -> None:
    host, server = fleet
    outlives(host, lambda: server.ask(*HARMS[harm].split()), lambda: mend(server), lambda: is_heard(server))


@pytest.mark.slow
@pytest.mark.parametrize("harm", MORE_HARMS)
def test_a_worker_outlives_also_that_redis(harm: str, fleet: tuple[Host, Redis]) -> None:
    host, server = fleet
    outlives(host, lambda: server.ask(*MORE_HARMS[harm].split()), lambda: mend(server), lambda: is_heard(server))


def test_the_rights_of_the_readme_are_enough_and_the_check_tries_every_command(template: Path, tmp_path: Path) -> None:
    """Redis itself tells what was refused, and which commands a doorbell and a worker have sent."""
    (rights,) = re.findall(r"`ACL SETUSER ballast on >\S+ (.+?)`", README.read_text())
    with Redis() as server, redis_py.Redis.from_url(server.url) as client:
        server.ask(*f"ACL SETUSER bob on >hunter2 {rights}".split())
        url = server.url.replace("redis://", "redis://bob:hunter2@")
        client.config_resetstat()
        with running(Host(settings_over(template, tmp_path, broker_url=url))) as host:  # whose launcher checks
            wait_until(lambda: is_heard(server))
            ran_once(host, host.submit())
        assert [entry for entry in client.acl_log() if entry["object"] != "client"] == []
        sent = {name.removeprefix("cmdstat_").partition("|")[0] for name in client.info("commandstats")}
    assert sent - {command[0].lower() for command in rehearsal._COMMANDS} <= OF_ANY_CONNECTION


@pytest.mark.slow
def test_a_worker_outlives_its_queue_folder(template: Path, tmp_path: Path) -> None:
    with running(Host(settings_over(template, tmp_path))) as host:
        folder, aside = host.settings.queue_dir, tmp_path / "aside"

        def a_file_in_its_place() -> None:
            folder.rename(aside)
            folder.write_text("somebody's")

        outlives(host, a_file_in_its_place, folder.unlink, lambda: is_taken(folder))


def outlives(host: Host, harm: Callable[[], None], mended: Callable[[], None], heard: Callable[[], bool]) -> None:
    pids, begin = host.pids(), len(host.lines())
    trained = host.submit(epochs=1_000_000, eval_every=10)
    host.wait_for_epoch(trained)
    harm()
    host.cancel(trained)
    assert host.wait_for_end(trained).state is State.CANCELLED
    assert host.kinds(trained) == ["submitted", "claimed", "requested", "cancelled"]  # by nobody else
    polled = host.submit(epochs=1_000_000, eval_every=10)
    host.wait_for_epoch(polled)
    time.sleep(5)  # in which it tries again, and again
    assert host.pids() == pids
    mended()
    done = host.experiment(polled).epochs_done
    host.wait_for_epoch(polled, done + 20)
    host.cancel(polled)
    assert host.wait_for_end(polled).state is State.CANCELLED
    wait_until(heard)  # once it has nothing to do: busy, it asks for no ring
    ran_once(host, host.submit(epochs=1))
    assert host.pids() == pids
    said = [line.partition("error=")[2] for line in host.lines()[begin:] if SAID in line]
    assert len(said) == len(set(said)), said
    assert "Traceback" not in "".join(host.lines()[begin:])


def mend(server: Redis) -> None:
    for command in MENDED:
        server.ask(*command.split())


def is_heard(server: Redis) -> bool:
    """A worker listens, to rings and to all."""
    with redis_py.Redis.from_url(server.url) as client:
        return client.info("clients")["blocked_clients"] > 0 and client.pubsub_numpat() > 0


def is_taken(folder: Path) -> bool:
    """Whether a worker takes what lies there."""
    lain = folder / "messages" / f"0_x.{QUEUE}.msg"
    if lain.parent.is_dir() and not list(lain.parent.glob("*.msg")):
        lain.write_text("{}")
        wait_until(lambda: not lain.exists())
        return True
    return False
