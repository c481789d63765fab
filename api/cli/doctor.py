"""`ballast doctor`: what is wrong on this machine, and what to do about it. Looks, and changes nothing."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.utils import parsedate_to_datetime
from importlib import metadata
from typing import Literal, NamedTuple

import httpx2
import typer
from sqlalchemy import make_url, select

from api.cli.printing import AsJson, print_json, print_table
from core.doorbell import Doorbell
from core.errors import BallastError
from core.opening import checked_store
from core.settings import Settings, SettingsError, load_settings
from core.store import schema
from core.store.clock import now_ms
from core.store.errors import SchemaBehind, SchemaMissing
from core.store.session import Store

app = typer.Typer()

_PACKAGES = ("sqlalchemy", "celery", "fastapi", "torch", "torchvision")
_CLOCKS_APART = 2.0  # seconds: a lease is 20
_LITTLE_SPACE = 2 * 2**30  # bytes
_DEVICES_SECONDS = 20
_DEVICES = """
import json
from core.settings import load_settings
from worker.devices import plan
print(json.dumps(plan(load_settings(), None)))
"""


class Finding(NamedTuple):
    name: str
    status: Literal["ok", "warning", "wrong"]  # wrong: nothing works before it is mended
    found: str
    todo: str = ""


@app.command(epilog="Example: ballast doctor")
def doctor(as_json: AsJson = False) -> None:
    """Look at versions, database, broker, data, devices and clocks: what is wrong, and what to do."""
    findings = _findings()
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(Finding._fields, findings)
    if any(finding.status == "wrong" for finding in findings):
        raise typer.Exit(1)


def _findings() -> list[Finding]:
    try:
        settings = load_settings()
    except SettingsError as error:
        return [*_versions(), Finding("settings", "wrong", str(error), "correct the BALLAST_ variable that is named")]
    checks: list[Callable[[Settings], Iterator[Finding]]] = [_home, _database, _broker, _data, _devices, _service]
    # At once: each may have to wait for somebody who does not answer.
    with ThreadPoolExecutor(len(checks)) as pool:
        found = list(pool.map(lambda check: list(check(settings)), checks))
    return [*_versions(), *(finding for each in found for finding in each)]


def _versions() -> Iterator[Finding]:
    known = {"ballast": _version("ballast"), "python": platform.python_version()}
    known |= {name: _version(name) for name in _PACKAGES}
    said = ", ".join(f"{name} {version}" for name, version in known.items() if version)
    yield Finding("versions", "ok", said)
    if not known["torch"]:
        yield Finding(
            "torch", "warning", "not installed", "to train here: pip install -c constraints.txt -e '.[worker]'"
        )


def _version(package: str) -> str | None:
    try:
        return str(metadata.version(package))
    except metadata.PackageNotFoundError:
        return None


def _home(settings: Settings) -> Iterator[Finding]:
    place = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    if not os.access(place, os.W_OK):
        yield Finding("home", "wrong", f"cannot write to {place}", "set BALLAST_HOME to a folder that you may write to")
        return
    free = shutil.disk_usage(place).free
    found = f"{settings.home}, {free / 2**30:.0f} GiB free"
    if free < _LITTLE_SPACE:
        yield Finding("home", "warning", found, "make room, or set BALLAST_HOME to a larger disk")
    else:
        yield Finding("home", "ok", found)


def _database(settings: Settings) -> Iterator[Finding]:
    url = make_url(settings.database_url).render_as_string(hide_password=True)
    try:
        with closing(checked_store(settings)) as store:
            yield Finding("database", "ok", f"{url}, revision {schema.revision_of(store)}")
            yield _clock("database clock", _database_seconds(store))
    except SchemaMissing:
        yield Finding("database", "warning", f"{url} has no tables yet", "run `ballast up`, or `ballast db upgrade`")
    except SchemaBehind:
        yield Finding("database", "wrong", f"{url} is older than this Ballast", "run `ballast db upgrade`")
    except BallastError as error:
        yield Finding("database", "wrong", f"{url}: {error}", "start it, or correct BALLAST_DATABASE_URL")


def _database_seconds(store: Store) -> float:
    with store.reading() as tx:
        return float(tx.execute(select(now_ms())).scalar_one()) / 1000


def _clock(name: str, seconds: float) -> Finding:
    apart = seconds - time.time()
    found = f"{abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this host's"
    if abs(apart) > _CLOCKS_APART:
        return Finding(name, "warning", found, "let both hosts keep time by NTP: times in lists are the database's")
    return Finding(name, "ok", found)


def _broker(settings: Settings) -> Iterator[Finding]:
    if settings.embedded_broker:
        yield Finding("broker", "ok", f"a folder, {settings.queue_dir}")
        return
    with closing(Doorbell(settings)) as doorbell:
        try:
            doorbell.check()
        except BallastError as error:
            yield Finding("broker", "warning", str(error), "until then workers poll: work starts up to a second later")
            return
    yield Finding("broker", "ok", "answers")


def _data(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    if not folder.is_dir():
        yield Finding("data", "ok", f"{folder} is not there yet: the first download makes it")
        return
    try:
        there = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        yield Finding("data", "warning", f"cannot read {folder} ({error.strerror})", "correct BALLAST_DATA_DIR")
        return
    kind = "" if os.access(folder, os.W_OK) else ", read-only: nothing can be downloaded into it"
    yield Finding("data", "ok", f"{folder} holds {', '.join(there) or 'nothing'}{kind}")


def _devices(settings: Settings) -> Iterator[Finding]:
    """In a process of its own: the API's host needs none of what a worker needs."""
    if _version("torch") is None:
        return
    command = [sys.executable, "-P", "-c", _DEVICES]
    try:
        done = subprocess.run(
            command,
            env=settings.child_environment(),
            capture_output=True,
            text=True,
            timeout=_DEVICES_SECONDS,
            check=True,
        )
        devices: list[str] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = str(getattr(error, "stderr", None) or error).strip().splitlines()[-1]
        yield Finding(
            "devices", "warning", reason, "install what a worker needs: pip install -c constraints.txt -e '.[worker]'"
        )
        return
    yield Finding("devices", "ok", f"a worker process for each of {', '.join(devices)}")


def _service(settings: Settings) -> Iterator[Finding]:
    try:
        with httpx2.Client(base_url=settings.url, timeout=3, trust_env=False) as http:
            answer = http.get("/version")
            version = answer.json()["version"]
            clock = parsedate_to_datetime(answer.headers["date"]).timestamp()
            workers = http.get("/workers").json()["items"]
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError):
        todo = "start one with `ballast up`, or set BALLAST_URL"
        yield Finding("service", "warning", f"no Ballast answers at {settings.url}", todo)
        return
    if version == _version("ballast"):
        yield Finding("service", "ok", f"{settings.url}, version {version}")
    else:
        yield Finding("service", "warning", f"{settings.url} has version {version}", "use the same version everywhere")
    yield _clock("service clock", clock + 0.5)  # the header has whole seconds, cut off
    alive = [each for each in workers if each["state"] in ("idle", "busy")]
    if alive:
        yield Finding("workers", "ok", f"{len(alive)} alive on {', '.join(sorted({each['host'] for each in alive}))}")
    else:
        yield Finding("workers", "warning", "none is alive", "start some with `ballast worker`")
