"""The application, and under a real uvicorn."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from api.access import LOOPBACK_HOSTS
from api.main import create_app
from api.metrics import Metrics
from core.broker.doorbell import Doorbell
from core.store.session import Store
from tests.unit.api.builders import FILES, HOME

LAB = "ballast.lab"  # where one is found that asks for tokens

_applications: dict[bool, FastAPI] = {}


def application(store: Store, doorbell: Doorbell, home: Path = HOME, needs_token: bool = False) -> FastAPI:
    """The same for all tests, one after the other, over what each has: its document takes a while to make."""
    if needs_token not in _applications:
        hosts = LOOPBACK_HOSTS | ({LAB} if needs_token else set())
        _applications[needs_token] = create_app(store, doorbell, FILES, home, hosts, needs_token)
    app = _applications[needs_token]
    app.state.store, app.state.doorbell, app.state.home_folder = store, doorbell, home
    app.state.metrics = Metrics()
    return app


@contextmanager
def serving(store: Store, doorbell: Doorbell, port: int = 0, home: Path = HOME) -> Iterator[str]:
    """Its URL; on a port of our choice, to be away and come back."""
    listener = socket.create_server(("127.0.0.1", port))
    app = application(store, doorbell, home)
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
