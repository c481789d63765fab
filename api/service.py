"""API and workers under one roof: what `ballast up` and `ballast demo` start, and stop in order."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import IO

import structlog
import uvicorn

from core.broker.doorbell import Doorbell, empty_folder
from core.errors import BallastError
from core.opening import open_store, sole_service
from core.restarts import RestartedProcess
from core.settings import Settings
from core.store import schema, tokens
from core.store.files import Files
from core.store.session import Store

log = structlog.get_logger()


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
def api_server(settings: Settings, listener: socket.socket) -> Iterator[Callable[[], bool]]:
    """Serve the API from a thread while the context lasts: signals belong to the main thread, which decides in what
    order things stop. Yields whether it still serves. Raises BallastError where the database or the broker cannot be
    used."""
    from api.access import LOOPBACK_HOSTS
    from api.main import create_app  # FastAPI: half a second, which only those who serve should wait for
    from api.pace import Pace

    with ExitStack() as stack:
        doorbell = Doorbell(settings)
        stack.callback(doorbell.close)
        doorbell.check()
        store = open_store(settings)
        stack.callback(store.close)
        _require_tokens(settings, store)
        hosts = LOOPBACK_HOSTS | settings.known_hosts
        needs_token = not settings.open_to_this_host
        files = Files(settings.checkpoint_url)
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(store, doorbell, files, settings.home, hosts, needs_token, Pace(settings.broker_url)),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
                server_header=False,
                workers=1,  # these two else by WEB_CONCURRENCY and FORWARDED_ALLOW_IPS
                forwarded_allow_ips=settings.proxies,
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="api")
        thread.start()
        while thread.is_alive() and not server.started:
            time.sleep(0.01)
        try:
            if not thread.is_alive():
                raise CannotServe(f"the API did not start at {settings.address}: its log says why")
            yield lambda: _serves(thread)
        finally:
            server.should_exit = True
            thread.join()


def _require_tokens(settings: Settings, store: Store) -> None:
    """Raises CannotServe where others can reach the API, and anybody could do everything."""
    if settings.open_to_this_host:
        return
    with store.reading() as tx:
        if tokens.exist(tx):
            return
    raise CannotServe(
        "others could reach this service, and do everything, since there is no token: make one by `ballast token "
        "create NAME --scope admin` (after `ballast db upgrade`); or leave BALLAST_HOST, BALLAST_ALLOWED_HOSTS and "
        "BALLAST_TRUSTED_PROXIES unset, to serve this host only"
    )


def _serves(thread: threading.Thread) -> bool:
    if not thread.is_alive():
        log.error("the API has ended: stopping")
    return thread.is_alive()


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
def launcher(settings: Settings, workers: int | None, output: IO[bytes] | None) -> Iterator[RestartedProcess]:
    """The worker launcher, in a session of its own (Ctrl-C is ours to pass on) and on a leash (it ends when we do)."""
    command = [*launcher_command(workers), "--leash"]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env=settings.child_environment(),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    process = RestartedProcess("the workers' launcher", start)
    try:
        yield process
    finally:
        _end(process.running, settings.grace_seconds + 1)


def _end(process: subprocess.Popen[bytes] | None, seconds: float) -> None:
    if process is None:
        return
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def service(settings: Settings, workers: int | None, output: IO[bytes] | None = None) -> Iterator[Callable[[], bool]]:
    """API and workers over a migrated database; `output` takes what the workers say. Yields what is to be called again
    and again: it starts another launcher for one that died, and is False once API or workers have ended for good.

    Raises BallastError with nothing left behind.
    """
    with sole_service(settings), bind(settings) as listener:  # before anything is touched that another may be using
        if settings.embedded_broker:
            empty_folder(settings)
        schema.upgrade(settings.database_url)
        with api_server(settings, listener) as serves, launcher(settings, workers, output) as workers_launcher:
            yield lambda: serves() and _keep_running(workers_launcher)


def _keep_running(process: RestartedProcess) -> bool:
    """False once it has ended for good."""
    status = process.status()
    if status is None:
        return True
    # It was told to leave, or cannot start and has said why: what may pass, such as a database that is away, a second
    # one waits for.
    if status == 0 or (status > 0 and not process.deaths):
        log.error("the workers have ended: stopping")
        return False
    process.restart_when_due()
    return True
