"""Settings over a fresh SQLite database and a broker of each kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import Settings
from tests.integration.hosts import settings_over
from tests.servers import Redis


@pytest.fixture(scope="session")
def template(_sqlite_template: Path) -> Path:
    """A migrated SQLite database, to be copied."""
    return _sqlite_template


@pytest.fixture
def on_redis(template: Path, tmp_path: Path) -> Iterator[Settings]:
    with Redis() as server:
        yield settings_over(template, tmp_path, broker_url=server.url)


@pytest.fixture
def in_folder(template: Path, tmp_path: Path) -> Settings:
    return settings_over(template, tmp_path)
