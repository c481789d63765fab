"""The application under a real uvicorn."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from api.main import create_app
from core.doorbell import Doorbell
from core.store.session import Store
from tests.unit.api.builders import FILES, HOME


@contextmanager
def serving(store: Store, doorbell: Doorbell, port: int = 0, home: Path = HOME) -> Iterator[str]:
    """Its URL; on a port of our choice, to be away and come back."""
    listener = socket.create_server(("127.0.0.1", port))
    app = create_app(store, doorbell, FILES, home)
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
