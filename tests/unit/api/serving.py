"""The application, and under a real uvicorn."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from api.main import create_app
from core.doorbell import Doorbell
from core.store.session import Store
from tests.unit.api.builders import FILES

_made: list[FastAPI] = []


def application(store: Store, doorbell: Doorbell) -> FastAPI:
    """The same for all tests, one after the other, over what each has: its document takes a while to make."""
    if not _made:
        _made.append(create_app(store, doorbell, FILES))
    _made[0].state.store, _made[0].state.doorbell = store, doorbell
    return _made[0]


@contextmanager
def serving(store: Store, doorbell: Doorbell, port: int = 0) -> Iterator[str]:
    """Its URL; on a port of our choice, to be away and come back."""
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(application(store, doorbell), log_config=None, lifespan="off", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
