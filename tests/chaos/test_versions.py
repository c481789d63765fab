"""Versions beside each other. What migrates only adds, so that workers and API of the version before go on over
a database of this one; and what the first version has measured is there after all migrations.
"""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from api.client import Client, ClientError
from core.settings import Settings
from core.spec import Spec
from core.states import State
from core.store import schema
from tests.chaos.conftest import Summarize
from tests.chaos.trials import is_whole, undisturbed
from tests.e2e.processes import Process, wait_for_end, wait_for_epoch
from tests.e2e.processes import running as process_running
from tests.integration.hosts import DIGITS, Books, Host, launcher, running, settings_of
from tests.releases import NoHistory, Release, newest_before
from tests.servers import PATIENCE_S, Postgres, Redis, free_port, wait_until

pytestmark = pytest.mark.slow

MODELS: list[dict[str, Any]] = [
    {"model": {"name": "mlp"}, "epochs": 100},
    {"model": {"name": "cnn", "width": 4, "dropout": 0.5}, "epochs": 8},
    {"model": {"name": "resnet", "width": 2}, "epochs": 4},
]
FIRST = [DIGITS | each | {"epochs": epochs} for each, epochs in zip(MODELS, (20, 3, 2), strict=True)]
INTERRUPTED = DIGITS | {"epochs": 400}

_hosts = count()


def spec_of(number: int) -> dict[str, Any]:
    return DIGITS | MODELS[number % len(MODELS)] | {"seed": number // len(MODELS) % 2}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The last version with an older schema than ours."""
    return release(schema.REVISION, tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The last version that knew the first migration alone."""
    return release("0002", tmp_path_factory.mktemp("first"))


def release(revision: str, folder: Path) -> Release:
    try:
        return newest_before(revision, folder)
    except NoHistory as reason:
        pytest.skip(str(reason))


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    postgres.execute("CREATE DATABASE versions TEMPLATE template0")
    yield postgres.url_of("versions")
    postgres.execute("DROP DATABASE versions WITH (FORCE)")


def settings_at(folder: Path, database_url: str, redis: Redis) -> Settings:
    return settings_of(
        folder / "home",
        database_url=f"{database_url}?connect_timeout=60",  # the machine is busy
        broker_url=redis.url,
        checkpoint_url=str(folder / "checkpoints"),
        checkpoint_seconds=0.5,
        port=free_port(),
    )


def host_of(settings: Settings, version: Release | None, workers: int = 2) -> Host:
    """That trains, of a version of before or, without, of this one."""
    own = settings.model_copy(update={"home": settings.home / f"of-{next(_hosts)}"})
    if version is None:
        return Host(own, workers)
    return Host(own, workers, [version.python, *launcher(workers)[1:]], {"PYTHONPATH": ""})


def stop(host: Host) -> None:
    """In order."""
    host.send(signal.SIGTERM)
    assert host.launcher.wait(PATIENCE_S) == 0, host.log_text()


def served_by(version: Release, settings: Settings, *words: str) -> Process:
    return Process(
        *words, log=settings.home / f"{words[0]}.log", command=version.ballast, **settings.model_dump(exclude={"log"})
    )


def all_whole(books: Books, specs: dict[int, dict[str, Any]], settings: Settings) -> None:
    for number, fields in specs.items():
        spec = Spec.model_validate(fields)
        is_whole(books, number, undisturbed(spec, settings.data_dir, settings.locks_dir))
        assert "lease_lost" not in books.kinds(number)


def test_api_and_workers_of_the_version_before_go_on_over_this_versions_database(
    before: Release, database_of_its_own: str, redis_server: Redis, tmp_path: Path, summarize: Summarize
) -> None:
    settings = settings_at(tmp_path, database_of_its_own, redis_server)
    settings.home.mkdir()
    with (
        process_running(served_by(before, settings, "api")) as api,
        running(host_of(settings, before)) as old,
        closing(Client(settings.url)) as client,
    ):
        wait_until(lambda: answers(client, api))
        assert "newer than this Ballast" in api.log_text()
        specs = {client.submit(spec_of(n))["id"]: spec_of(n) for n in range(4)}
        specs |= {old.submit(**spec_of(n)): spec_of(n) for n in (4, 5)}  # by our code
        wait_until(lambda: any(old.experiment(each).state is State.SUCCEEDED for each in specs))
        with running(host_of(settings, None)) as new:  # beside them, and then in their place
            stop(old)
            later = {client.submit(spec_of(n))["id"]: spec_of(n) for n in (6, 7)}
            for number in specs | later:
                assert new.wait_for_end(number).state is State.SUCCEEDED
            all_whole(new, specs | later, settings)
            curves = [client.curve(number) for number in specs]
        assert all(each["complete"] for each in curves)  # as the old API tells it
    summarize("version before over this version's database", trials=len(specs | later), details=[before.commit[:7]])


def test_ten_rolling_restarts_after_all_migrations_lose_nothing_that_the_first_version_began(
    first: Release, before: Release, empty_database: str, redis_server: Redis, tmp_path: Path, summarize: Summarize
) -> None:
    settings = settings_at(tmp_path, empty_database, redis_server)
    settings.home.mkdir()
    with (
        process_running(served_by(first, settings, "up", "--workers", "2")) as up,
        closing(Client(settings.url)) as client,
    ):
        wait_until(lambda: answers(client, up))
        of_first = [client.submit(fields)["id"] for fields in FIRST]
        for number in of_first:
            assert wait_for_end(client, number)["state"] == "succeeded"
        interrupted = client.submit(INTERRUPTED)["id"]
        wait_for_epoch(client, interrupted, 5)
        told = [client.curve(number) for number in (*of_first, interrupted)]
        up.send(signal.SIGTERM)
        assert up.popen.wait(PATIENCE_S) == 0

    before.upgrade(settings.database_url)
    front = served_by(before, settings, "api")
    with process_running(front), closing(Client(settings.url)) as client, ExitStack() as hosts:
        wait_until(lambda: answers(client, front))
        host = hosts.enter_context(running(host_of(settings, before)))
        load = load_of(client, 0)
        wait_until(lambda: client.experiment(min(load))["epochs_done"] > 0)
        schema.upgrade(settings.database_url)  # under load
        for restart in range(10):
            following = hosts.enter_context(running(host_of(settings, None if restart % 2 == 0 else before)))
            load |= load_of(client, len(load))
            stop(host)
            host = following
        for number in (*load, interrupted):
            assert host.wait_for_end(number).state is State.SUCCEEDED
        all_whole(host, load, settings)
    ours = Process("api", log=tmp_path / "api.log", **settings.model_dump(exclude={"log"}))
    with process_running(ours) as api, closing(Client(settings.url)) as client:
        wait_until(lambda: answers(client, api))
        now = [client.curve(each["id"]) for each in told]
    assert all(each["complete"] for each in now)
    assert [shortened(each, like=old) for each, old in zip(now, told, strict=True)] == list(map(rows_of, told))
    assert now[-1]["epoch"] == list(range(1, INTERRUPTED["epochs"] + 1))
    details = [f"first {first.commit[:7]}, before {before.commit[:7]}"]
    summarize("ten rolling restarts over a database of the first version", trials=len(load), details=details)


def load_of(client: Client, number: int) -> dict[int, dict[str, Any]]:
    return {client.submit(spec_of(each))["id"]: spec_of(each) for each in (number, number + 1)}


def rows_of(curve: dict[str, Any]) -> dict[str, Any]:
    """What was measured, by columns."""
    return {"loss": curve["loss"], **{name: column for name, column in curve.items() if isinstance(column, list)}}


def shortened(curve: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """To the columns and the rows of a curve of before: today's bits may be others, and rows that stand stay."""
    loss = {name: column[: len(like["loss"][name])] for name, column in curve["loss"].items()}
    columns = {name: curve[name][: len(column)] for name, column in rows_of(like).items() if name != "loss"}
    return {"loss": loss, **columns}


def answers(client: Client, process: Process) -> bool:
    assert process.popen.poll() is None, process.log_text()
    with suppress(ClientError):
        client.workers()
        return True
    return False
