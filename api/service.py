"""API and workers under one roof: what `ballast up` and `ballast demo` start, and stop in order."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import IO

import uvicorn

from core.doorbell import Doorbell, empty_folder
from core.errors import BallastError
from core.opening import open_store, sole_service
from core.settings import Settings
from core.store import schema
from core.store.files import Files


class CannotServe(BallastError):
    """The address is taken, or the API does not start."""


class CannotTrain(BallastError):
    """This installation has no torch."""


class Stop:
    """Asked for by SIGTERM and Ctrl-C, which mean the same: leave in order. A plain flag, since a handler that sets an
    Event while we wait on it may hang for ever."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True


def bind(settings: Settings) -> socket.socket:
    """A socket that listens at the address of the settings. Raises CannotServe."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(2048)  # at once: two that are only bound do not notice each other
    except OSError as error:
        listener.close()
        raise CannotServe(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}): stop what does, or set BALLAST_PORT"
        ) from None
    return listener


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def api(settings: Settings, listener: socket.socket) -> Iterator[None]:
    """Serve the API from a thread while the context lasts: signals belong to the main thread, which decides in what
    order things stop. Raises BallastError where the database or the broker cannot be used."""
    from api.main import create_app  # FastAPI: half a second, which only those who serve should wait for

    with ExitStack() as stack:
        doorbell = Doorbell(settings)
        stack.callback(doorbell.close)
        doorbell.check()
        store = open_store(settings)
        stack.callback(store.close)
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(store, doorbell, Files(settings.checkpoint_url)),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
                server_header=False,
                workers=1,  # these two else by WEB_CONCURRENCY and FORWARDED_ALLOW_IPS
                forwarded_allow_ips="127.0.0.1,::1",
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api")
        thread.start()
        while thread.is_alive() and not server.started:
            time.sleep(0.01)
        try:
            if not thread.is_alive():
                raise CannotServe(f"the API did not start at {settings.address}: its log says why")
            yield
        finally:
            server.should_exit = True
            thread.join()


def require_torch() -> None:
    """Raises CannotTrain."""
    if find_spec("torch") is None:
        raise CannotTrain("this host cannot train: pip install -c constraints.txt -e '.[worker]'")


def launcher_command(processes: int | None, devices: str | None = None) -> list[str]:
    """What serves the devices of this host. Raises CannotTrain."""
    require_torch()
    which = [] if devices is None else ["--devices", devices]
    count = [] if processes is None else ["--processes", str(processes)]
    return [sys.executable, "-P", "-m", "worker", *which, *count]


@contextmanager
def launcher(settings: Settings, workers: int | None, log: IO[bytes] | None) -> Iterator[subprocess.Popen[bytes]]:
    """The worker launcher, in a session of its own (Ctrl-C is ours to pass on) and on a leash (it ends when we do)."""
    process = subprocess.Popen(
        [*launcher_command(workers), "--leash"],
        env=settings.child_environment(),
        stdin=subprocess.PIPE,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(settings.grace_seconds + 1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def service(settings: Settings, workers: int | None, log: IO[bytes] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """API and workers over a migrated database; `log` takes what the workers say. Yields the launcher.

    Raises BallastError with nothing left behind.
    """
    with sole_service(settings), bind(settings) as listener:  # before anything is touched that another may be using
        if settings.embedded_broker:
            empty_folder(settings)
        schema.upgrade(settings.database_url)
        with api(settings, listener), launcher(settings, workers, log) as process:
            yield process
