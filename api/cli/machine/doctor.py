"""`ballast doctor`: what is wrong on this machine, and what to do about it. Looks, and changes nothing."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from email.utils import parsedate_to_datetime
from importlib import metadata
from itertools import chain
from pathlib import Path
from shlex import quote as quoted
from threading import Thread
from typing import Literal, NamedTuple
from urllib.parse import quote

import httpx2
from sqlalchemy import make_url, select
from sqlalchemy.exc import SQLAlchemyError

from core.broker.doorbell import BrokerUnreachable, Doorbell
from core.errors import BallastError
from core.locks import NoLocks, require_locks
from core.opening import checkpoints_stay_here
from core.settings import Settings, SettingsError, load_settings
from core.store import schema
from core.store.clock import now_ms
from core.store.files import Files
from core.store.schema import SchemaState
from core.store.session import Store

_PACKAGES = ("sqlalchemy", "celery", "fastapi", "torch", "torchvision")
_CLOCKS_APART = 2.0  # seconds: a lease is 20
_LITTLE_SPACE = 2 * 2**30  # bytes
_PATIENCE = 5.0  # seconds, for all checks together
_DATA_SETS = {
    "MNIST": "mnist",
    "FashionMNIST": "fashion_mnist",
    "cifar-10-batches-py": "cifar10",
}  # by torchvision's name
_OTHER_HOME = "service home"
_ON_ITS_HOST = "run `ballast doctor` where the service runs, with its settings"
_WORKER = "install what a worker needs: pip install -c constraints.txt -e '.[worker]'"


class Finding(NamedTuple):
    name: str
    status: Literal["ok", "warning", "wrong"]  # wrong: nothing works before it is mended
    found: str
    todo: str = ""


def examine() -> Iterator[Finding]:
    """Versions, database, broker, checkpoints, data, devices and clocks, within some five seconds."""
    yield from _versions()
    try:
        settings = load_settings()
    except SettingsError as error:
        yield Finding("settings", "wrong", str(error), "correct the BALLAST_ variable that is named")
        return
    # At once, and nobody waits for the end of a thread: each may ask somebody who never answers.
    found: dict[str, list[Finding]] = {name: [] for name in _CHECKS}
    threads = {name: Thread(target=_look, args=(name, settings, found[name]), daemon=True) for name in _CHECKS}
    for thread in threads.values():
        thread.start()
    deadline = time.monotonic() + _PATIENCE
    for name, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            found[name] = [*found[name], _bad(name, f"no answer within {_PATIENCE:g} s")]
    elsewhere = any(finding.name == _OTHER_HOME for finding in found["service"])
    for finding in chain.from_iterable(found.values()):
        yield _of_this_home(finding, settings.home) if elsewhere else finding


def _of_this_home(finding: Finding, home: Path) -> Finding:
    """What lies in our home says nothing of a service that has another."""
    if not any(place in finding.found for place in (str(home), quote(str(home)))) or finding.name == _OTHER_HOME:
        return finding
    return finding._replace(found=f"{finding.found} (here, not of the service)")


def _look(name: str, settings: Settings, found: list[Finding]) -> None:
    try:
        for finding in _CHECKS[name](settings):
            found.append(finding)
    except Exception as error:  # whatever ails the machine: that is what the doctor was asked
        found.append(_bad(name, _first_line(error)))


def _bad(name: str, found: str) -> Finding:
    return Finding(name, "wrong" if name in _NEEDED else "warning", found, _TODO[name])


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _versions() -> Iterator[Finding]:
    known = {"ballast": _version("ballast"), "python": platform.python_version()}
    known |= {name: _version(name) for name in _PACKAGES}
    yield Finding("versions", "ok", ", ".join(f"{name} {version}" for name, version in known.items() if version))
    if not known["torch"]:
        yield Finding("torch", "warning", "not installed: this host cannot train", _WORKER)


def _version(package: str) -> str | None:
    try:
        return str(metadata.version(package))
    except metadata.PackageNotFoundError:
        return None


def _home(settings: Settings) -> Iterator[Finding]:
    try:
        place = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
        with tempfile.TemporaryFile(dir=place):  # rights alone know nothing of read-only disks
            free = shutil.disk_usage(place).free
    except OSError as error:
        yield _bad("home", f"cannot write to {settings.home} ({error.strerror})")
        return
    try:
        require_locks(place)
    except NoLocks as error:
        yield Finding("home", "wrong", error.found, error.todo)
        return
    found = f"{settings.home}, {free / 2**30:.0f} GiB free"
    if free < _LITTLE_SPACE:
        yield Finding("home", "warning", found, "make room, or set BALLAST_HOME to a larger disk")
    else:
        yield Finding("home", "ok", found)


def _database(settings: Settings) -> Iterator[Finding]:
    url = _shown(settings.database_url)
    try:
        if settings.embedded_database:
            require_locks(
                settings.sqlite_file.parent, "put it on a local disk, or set BALLAST_DATABASE_URL to PostgreSQL"
            )
    except NoLocks as error:
        yield Finding("database", "wrong", error.found, error.todo)
        return
    if settings.embedded_database and not settings.sqlite_file.exists():  # to open it would be to make it
        folder = settings.sqlite_file.parent
        there = folder.is_dir() or folder == settings.home  # which `ballast up` makes
        yield _schema(url, SchemaState.EMPTY, None) if there else _bad("database", f"there is no folder {folder}")
        return
    try:
        with closing(Store(settings.database_url)) as store:
            yield _schema(url, schema.state_of(store), schema.revision_of(store))
            yield _clock("database clock", _database_seconds(store))
    except (BallastError, SQLAlchemyError) as error:
        yield _bad("database", f"{url}: {_first_line(error)}")


def _shown(url: str) -> str:
    """Without a password, which may stand in the query too."""
    return make_url(url).set(query={}).render_as_string(hide_password=True)


def _schema(url: str, standing: SchemaState, revision: str | None) -> Finding:
    match standing:
        case SchemaState.CURRENT:
            return Finding("database", "ok", f"{url}, revision {revision}")
        case SchemaState.EMPTY:
            return Finding(
                "database", "warning", f"{url} has no tables yet", "run `ballast up`, or `ballast db upgrade`"
            )
        case SchemaState.BEHIND:
            found = f"{url} has revision {revision}, and this Ballast needs {schema.REVISION}"
            return Finding("database", "wrong", found, "run `ballast db upgrade`")
        case SchemaState.AHEAD:
            found = f"{url} has revision {revision}, newer than this Ballast's {schema.REVISION}"
            return Finding("database", "warning", found, "upgrade Ballast on this host too")


def _database_seconds(store: Store) -> float:
    with store.reading() as tx:
        return float(tx.execute(select(now_ms())).scalar_one()) / 1000


def _clock(name: str, seconds: float) -> Finding:
    apart = seconds - time.time()
    if abs(apart) <= _CLOCKS_APART:
        return Finding(name, "ok", f"within {_CLOCKS_APART:g} s of this host's")
    found = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} this host's"
    return Finding(name, "warning", found, "let both hosts keep time by NTP: times in lists are the database's")


def _broker(settings: Settings) -> Iterator[Finding]:
    if settings.embedded_broker and not settings.queue_dir.exists():  # to try it would be to make it
        yield Finding("broker", "ok", f"a folder, {settings.queue_dir}, which the first start makes")
        return
    with closing(Doorbell(settings)) as doorbell:
        try:
            doorbell.check()
        except BrokerUnreachable as error:
            found, _, todo = str(error).rpartition(": ")
            after = "; until then running workers find work by polling, and nothing else starts"
            yield Finding("broker", "warning", found, todo + after)
            return
    found = f"a folder, {settings.queue_dir}" if settings.embedded_broker else f"{doorbell.address} answers"
    yield Finding("broker", "ok", found)


def _checkpoints(settings: Settings) -> Iterator[Finding]:
    files = Files(settings.checkpoint_url)
    files.check()
    if checkpoints_stay_here(settings):
        found = f"{files.place}: another host cannot go on from there, in the home of this one"
        yield Finding("checkpoints", "warning", found, "mount one folder on all, and set BALLAST_CHECKPOINT_URL to it")
    else:
        yield Finding("checkpoints", "ok", files.place)


def _data(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    try:
        there = {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        yield Finding("data", "ok", f"{folder} is not there yet: the first download makes it")
        return
    except OSError as error:
        yield _bad("data", f"cannot read {folder} ({error.strerror})")
        return
    data_sets = [name for entry, name in _DATA_SETS.items() if entry in there and _holds_files(folder / entry)]
    folders = sorted(f"folders/{each.parent.name}" for each in folder.glob("folders/*/train"))
    yield Finding("data", "ok", f"{folder} seems to hold {', '.join(data_sets + folders) or 'nothing'}")


def _holds_files(folder: Path) -> bool:
    return any(entry.is_file() for entry in folder.rglob("*"))


def _devices(settings: Settings) -> Iterator[Finding]:
    """Asked of the worker's own code, in a process of its own: the API's host needs none of what a worker needs."""
    torch = _version("torch")
    if torch is None:
        return
    command = [sys.executable, "-P", "-m", "worker.devices"]
    seconds = _PATIENCE - 0.5  # so that the process ends before we do
    try:
        done = subprocess.run(
            command, env=settings.child_environment(), capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        yield _bad("devices", f"no answer within {seconds:g} s")
        return
    if done.returncode != 0:
        yield _bad("devices", (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
        return
    yield _usable(**json.loads(done.stdout), torch=torch)


def _usable(devices: list[str], gpus: int, torch: str) -> Finding:
    wanted = {int(device.removeprefix("cuda:")) for device in devices if device != "cpu"}
    if any(index >= gpus for index in wanted):
        found = f"{devices[0]} is wanted, and this host has {gpus} GPUs"
        return Finding("devices", "warning", found, "set BALLAST_DEVICE to auto, cpu or a GPU that is there")
    if wanted and torch.endswith("+cpu"):
        found = f"this host has {gpus} GPUs, and torch {torch} uses none"
        return Finding("devices", "warning", found, "install a torch with CUDA, or set BALLAST_DEVICE=cpu")
    return Finding("devices", "ok", f"a worker process for each of {', '.join(devices)}")


def _service(settings: Settings) -> Iterator[Finding]:
    with httpx2.Client(base_url=settings.url, timeout=2, trust_env=False) as http:
        try:
            answer = http.get("/version")
            told = answer.json()
            version = told["version"]
            home = told.get("home")  # an older one does not tell
            clock = parsedate_to_datetime(answer.headers["date"]).timestamp()
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            yield _bad("service", f"no Ballast answers at {settings.url}")
            return
        if version == _version("ballast"):
            yield Finding("service", "ok", f"{settings.url}, version {version}")
        else:
            found = f"{settings.url} has version {version}"
            yield Finding("service", "warning", found, "use the same version everywhere")
        if home and not _is_same(home, settings.home):
            found = f"{settings.url} has its home in {home}, and this looks at {settings.home}"
            todo = f"to look at that one: BALLAST_HOME={quoted(home)} ballast doctor"
            yield Finding(_OTHER_HOME, "warning", found, todo)
        yield _clock("service clock", clock + 0.5)  # the header has whole seconds, cut off
        yield _readiness(http)
        yield _workers(http)


def _is_same(told: str, home: Path) -> bool:
    """In JSON a path is Unicode, which it need not be on a disk."""
    return told == os.fsencode(home).decode("utf-8", "replace") or os.path.realpath(told) == os.path.realpath(home)


def _readiness(http: httpx2.Client) -> Finding:
    """Of its own database and broker, which need not be ours."""
    try:
        answer = http.get("/readyz")
        told = answer.json()
        found = f"database {told['database']}, revision {told['revision']}, broker {told['broker']}"
    except (httpx2.HTTPError, ValueError) as error:
        return Finding("readiness", "warning", f"the service does not tell: {_first_line(error)}", _ON_ITS_HOST)
    except KeyError:
        return Finding("readiness", "warning", f"the service is not ready: {told['detail']}", _ON_ITS_HOST)
    well = told["database"] == told["broker"] == "ok"
    return Finding("readiness", "ok", found) if well else Finding("readiness", "warning", found, _ON_ITS_HOST)


def _workers(http: httpx2.Client) -> Finding:
    try:
        answer = http.get("/workers")
    except httpx2.HTTPError as error:
        return Finding("workers", "warning", f"the service does not tell: {error}", _ON_ITS_HOST)
    if not answer.is_success:
        return Finding("workers", "warning", f"the service cannot tell: {answer.json()['detail']}", _ON_ITS_HOST)
    alive = [each for each in answer.json()["items"] if each["state"] in ("idle", "busy")]
    if not alive:
        return Finding("workers", "warning", "none is alive", "start some with `ballast worker`")
    return Finding("workers", "ok", f"{len(alive)} alive on {', '.join(sorted({each['host'] for each in alive}))}")


_CHECKS: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "home": _home,
    "database": _database,
    "broker": _broker,
    "checkpoints": _checkpoints,
    "data": _data,
    "devices": _devices,
    "service": _service,
}
_NEEDED = ("home", "database")
_TODO = {
    "home": "set BALLAST_HOME to a folder that you may write to",
    "database": "start it, or correct BALLAST_DATABASE_URL",
    "broker": "start Redis, or correct BALLAST_BROKER_URL",
    "checkpoints": "correct BALLAST_CHECKPOINT_URL, or pip install -e '.[s3]' for s3://",
    "data": "set BALLAST_DATA_DIR to a folder that you may read",
    "devices": _WORKER,
    "service": "start one with `ballast up`, or set BALLAST_URL",
}
