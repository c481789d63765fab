"""What the service at `BALLAST_URL` says of itself, over HTTP: version, home, clock, readiness, workers."""

import os
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from shlex import quote

import httpx2

from api.cli.machine.checks.clocks import compare_clock
from api.cli.machine.checks.finding import Finding, failed_check, first_line, installed_version
from core.address import service_token
from core.settings import Settings

OTHER_HOME = "service home"
_ON_ITS_HOST = "run `ballast doctor` where the service runs, with its settings"


def check_service(settings: Settings) -> Iterator[Finding]:
    token = service_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx2.Client(base_url=settings.url, timeout=2, trust_env=False, headers=headers) as http:
        try:
            answer = http.get("/version")
            reply = answer.json()
            version = reply["version"]
            home = reply.get("home")  # an older one says none
            clock = parsedate_to_datetime(answer.headers["date"]).timestamp()
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            yield failed_check("service", f"no Ballast answers at {settings.url}")
            return
        if version == installed_version("ballast"):
            yield Finding("service", "ok", f"{settings.url}, version {version}")
        else:
            found = f"{settings.url} has version {version}"
            yield Finding("service", "warning", found, "use the same version everywhere")
        if home and not _is_same_folder(home, settings.home):
            found = f"{settings.url} has its home in {home}, and this looks at {settings.home}"
            todo = f"to look at that one: BALLAST_HOME={quote(home)} ballast doctor"
            yield Finding(OTHER_HOME, "warning", found, todo)
        yield compare_clock("service clock", clock + 0.5)  # the header has whole seconds, cut off
        yield _readiness(http)
        yield _workers(http)


def _is_same_folder(reply: str, home: Path) -> bool:
    """In JSON a path is Unicode, which it need not be on a disk."""
    return reply == os.fsencode(home).decode("utf-8", "replace") or os.path.realpath(reply) == os.path.realpath(home)


def _readiness(http: httpx2.Client) -> Finding:
    """Of its own database and broker, which need not be ours."""
    try:
        answer = http.get("/readyz")
        reply = answer.json()
        found = f"database {reply['database']}, revision {reply['revision']}, broker {reply['broker']}"
    except (httpx2.HTTPError, ValueError) as error:
        return Finding("readiness", "warning", f"the service does not tell: {first_line(error)}", _ON_ITS_HOST)
    except KeyError:
        return Finding("readiness", "warning", f"the service is not ready: {reply['detail']}", _ON_ITS_HOST)
    well = reply["database"] == reply["broker"] == "ok"
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
