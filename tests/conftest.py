"""What many tests stand on: throwaway servers, and a fresh database of each kind. Safe under pytest-xdist: each of its
processes has servers of its own.
"""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from core.store import schema
from core.store.session import Store
from tests.servers import Postgres, Redis

# In the background of a script Ctrl-C is ignored, by whatever is started there too: the commands that tests send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What two files of tests share is told as their own is: with the numbers.
pytest.register_assert_rewrite("tests.unit.training.answers")

# No test downloads: torchvision asks a proxy that is not there, here and in every process that a test starts.
os.environ |= {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}

# A machine may be busy: neither an example nor the making of examples is held to a time.
settings.register_profile("ballast", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ballast")

_numbers = count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--alone", action="store_true", help="skip what starts a server or another process")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--alone"):
        sys.addaudithook(_start_nothing)


def _start_nothing(event: str, arguments: tuple[object, ...]) -> None:
    """But what training asks where its code comes from, and on what it runs."""
    if event == "subprocess.Popen" and arguments[0] not in ("git", "uname") and "PYTEST_CURRENT_TEST" in os.environ:
        pytest.skip("starts a process")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the trials of tests/chaos tell. Here, since under xdist the process that prints collects no tests."""
    reports = [each for some in terminalreporter.stats.values() for each in some if isinstance(each, pytest.TestReport)]
    told = [each for each in reports if each.when == "call" or each.skipped]
    lines = [line for report in told for name, line in report.user_properties if name == "chaos"]
    if lines:
        terminalreporter.section("chaos")
        for line in lines:
            terminalreporter.write_line(str(line))


@pytest.fixture
def a_process(request: pytest.FixtureRequest) -> None:
    """For tests whose process is started in a thread of its own."""
    if request.config.getoption("--alone"):
        pytest.skip("starts a process")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without a schema, of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ballast.db'}"
        return
    yield from _postgres_database(request.getfixturevalue("postgres"), "template0")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh, migrated database, of each kind."""
    if request.param == "sqlite":
        file = tmp_path / "ballast.db"
        shutil.copy(request.getfixturevalue("_sqlite_template"), file)
        yield f"sqlite:///{file}"
        return
    server, template = request.getfixturevalue("_postgres_template")
    yield from _postgres_database(server, template)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store on a fresh, migrated database, of each kind."""
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "ballast.db"
    schema.upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def _postgres_template(postgres: Postgres) -> tuple[Postgres, str]:
    postgres.execute("CREATE DATABASE migrated TEMPLATE template0")
    schema.upgrade(postgres.url_of("migrated"))
    return postgres, "migrated"


def _postgres_database(server: Postgres, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield server.url_of(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")
