"""All checks at once, within some five seconds."""

import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from threading import Thread
from urllib.parse import quote

from api.cli.machine.checks import backends, host, service, space
from api.cli.machine.checks.finding import Finding, failed_check, first_line
from core.settings import Settings, SettingsError, load_settings

_PATIENCE = 5.0  # seconds, for all checks together

_CHECKS: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "home": host.check_home,
    "database": backends.check_database,
    "broker": backends.check_broker,
    "checkpoints": backends.check_checkpoints,
    "data": host.check_data,
    "devices": host.check_devices,
    **space.CHECKS,
    "service": service.check_service,
}


def examine() -> Iterator[Finding]:
    """Versions, database, broker, checkpoints, data, devices and clocks, within some five seconds."""
    yield from host.check_versions()
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
            found[name] = [*found[name], failed_check(name, f"no answer within {_PATIENCE:g} s")]
    elsewhere = any(finding.name == service.OTHER_HOME for finding in found["service"])
    for finding in chain.from_iterable(found.values()):
        yield _of_this_home(finding, settings.home) if elsewhere else finding


def _of_this_home(finding: Finding, home: Path) -> Finding:
    """What lies in our home says nothing of a service that has another."""
    if not any(place in finding.found for place in (str(home), quote(str(home)))) or finding.name == service.OTHER_HOME:
        return finding
    return finding._replace(found=f"{finding.found} (here, not of the service)")


def _look(name: str, settings: Settings, found: list[Finding]) -> None:
    try:
        for finding in _CHECKS[name](settings):
            found.append(finding)
    except Exception as error:  # whatever ails the machine: that is what the doctor was asked
        found.append(failed_check(name, first_line(error)))
