"""Backed up beside a service at work, wiped, restored: what had ended is byte for byte as before, and what ran
goes on (deploy/README.md, "Back up and restore").
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.client import Client
from core.store import schema
from tests.e2e.processes import (
    DIGITS,
    FAST,
    Process,
    Up,
    ballast,
    is_ready,
    reproducible_part,
    running,
    wait_for_end,
    wait_for_epoch,
)
from tests.servers import Postgres, Redis, free_port, wait_until

pytestmark = pytest.mark.slow

ENDED: list[dict[str, Any]] = [
    DIGITS | {"epochs": 12},
    DIGITS | {"model": {"name": "cnn", "width": 4, "dropout": 0.5}, "epochs": 3},
    DIGITS | {"epochs": 6, "seed": 1, "diagnostics": True},
]
LONG = DIGITS | {"epochs": 150}
SHORT_LEASES = FAST | {"lease_seconds": 3, "checkpoint_seconds": 0.5}


def begin(client: Client) -> tuple[list[int], int]:
    """Experiments that have ended, and one that is on its way."""
    ended: list[int] = [client.submit(fields)["id"] for fields in ENDED]
    for number in ended:
        assert wait_for_end(client, number)["state"] == "succeeded"
    long: int = client.submit(LONG)["id"]
    wait_for_epoch(client, long, 5)
    return ended, long


def answers(client: Client, numbers: Sequence[int]) -> dict[str, bytes]:
    """All that is told of them, as it is sent."""
    parts = ("", "/curve", "/events", "/predictions", "/weights")
    with httpx2.Client(base_url=client.url, trust_env=False) as http:
        paths = [f"/experiments/{number}{part}" for number in numbers for part in parts]
        return {path: http.get(path).raise_for_status().content for path in paths}


def goes_on(client: Client, long: int) -> None:
    """To its end, and its curve is that of one that nothing has befallen."""
    assert wait_for_end(client, long)["state"] == "succeeded"
    again = client.submit(LONG)["id"]
    assert wait_for_end(client, again)["state"] == "succeeded"
    assert reproducible_part(client.curve(long)) == reproducible_part(client.curve(again))


def test_a_home_that_was_wiped_is_restored_from_a_copy_made_beside_the_service(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy.db"
    with running(Up(home, "--workers", "2", **SHORT_LEASES)) as up:
        ended, long = begin(up.client)
        done = ballast("db", "backup", str(copy), home=home)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{copy}: ")
        assert done.stdout.endswith(f", {len(ended) + 1} experiments, revision {schema.REVISION}\n")
        again = ballast("db", "backup", str(copy), home=home)
        assert (again.returncode, again.stderr) == (1, f"ballast: {copy} is there already: nothing is overwritten\n")
        before = answers(up.client, ended)
    shutil.rmtree(home)
    home.mkdir()
    shutil.copy(copy, home / "ballast.db")
    with running(Up(home, "--workers", "2", **SHORT_LEASES)) as up:
        assert answers(up.client, ended) == before
        goes_on(up.client, long)


def test_a_database_that_was_dropped_is_restored_from_what_the_printed_line_has_dumped(
    postgres: Postgres, redis_server: Redis, tmp_path: Path
) -> None:
    postgres.execute("CREATE DATABASE restored TEMPLATE template0")
    url = postgres.url_of("restored") + "?options=-csearch_path%3Dmine"
    sql(postgres, "CREATE SCHEMA mine")
    settings = {
        "database_url": url,
        "broker_url": redis_server.url,
        "checkpoint_url": tmp_path / "checkpoints",
        "port": free_port(),
        "home": tmp_path / "home",
        **SHORT_LEASES,
    }
    assert ballast("db", "upgrade", **settings).returncode == 0
    dump = tmp_path / "ballast.dump"
    with served(settings, tmp_path) as client:
        ended, long = begin(client)
        done = ballast("db", "backup", str(dump), **settings)
        assert done.returncode == 1
        assert "nothing is copied yet" in done.stderr
        shell(postgres, done.stdout)
        before = answers(client, ended)
    postgres.execute("DROP DATABASE restored WITH (FORCE)", "CREATE DATABASE restored TEMPLATE template0")
    shell(postgres, f"pg_restore --clean --if-exists --no-owner --dbname={postgres.url_of('restored')} {dump}")
    with served(settings, tmp_path) as client:
        assert answers(client, ended) == before
        goes_on(client, long)
    postgres.execute("DROP DATABASE restored WITH (FORCE)")


@contextmanager
def served(settings: dict[str, object], folder: Path) -> Iterator[Client]:
    with (
        running(Process("api", log=folder / "api.log", **settings)) as api,
        running(Process("worker", "--processes", "2", log=folder / "worker.log", **settings)) as worker,
        closing(Client(f"http://127.0.0.1:{settings['port']}")) as client,
    ):
        wait_until(lambda: is_ready(client, api) and worker.popen.poll() is None)
        yield client


def shell(postgres: Postgres, line: str) -> None:
    path = f"{postgres.programs}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def sql(postgres: Postgres, statement: str) -> None:
    shell(postgres, f"psql -q {postgres.url_of('restored')} -c '{statement}'")
