"""The application over a real store and a real queue folder, and a client that stands on loopback."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from core.broker.doorbell import Doorbell
from core.settings import Settings, load_settings
from core.store.session import Store
from tests.unit.api.builders import FILES, HOME
from tests.unit.api.serving import application, serving
from tests.unit.api.typed import Ballast

BASE_URL = "http://127.0.0.1:8000"


@pytest.fixture
def sqlite_url(_sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh, migrated database of the one kind."""
    return f"sqlite:///{shutil.copy(_sqlite_template, tmp_path / 'ballast.db')}"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home", database_url="", broker_url="")


@pytest.fixture
def doorbell(settings: Settings) -> Iterator[Doorbell]:
    doorbell = Doorbell(settings)
    yield doorbell
    doorbell.close()


@pytest.fixture
def client(store: Store, doorbell: Doorbell) -> Iterator[TestClient]:
    app = application(store, doorbell)
    with TestClient(app, base_url=BASE_URL, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def shared_client(_sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One application on SQLite for a whole module: for requests that must leave no trace."""
    home = tmp_path_factory.mktemp("home")
    shutil.copy(_sqlite_template, home / "ballast.db")
    settings = load_settings(home=home, database_url="", broker_url="")
    store, doorbell = Store(settings.database_url), Doorbell(settings)
    app = create_app(store, doorbell, FILES, HOME)
    with TestClient(app, base_url=BASE_URL, raise_server_exceptions=False) as client:
        yield client
    doorbell.close()
    store.close()


@pytest.fixture
def served(store: Store, doorbell: Doorbell) -> Iterator[str]:
    """The URL of the application under a real uvicorn, on a free port."""
    with serving(store, doorbell) as url:
        yield url


@pytest.fixture
def ballast(served: str, tmp_path: Path) -> Ballast:
    folder = tmp_path / "user"
    folder.mkdir()
    return Ballast(served, folder)
