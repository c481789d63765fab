"""Where the rates are kept, for the cost of a sweep: the database of the settings, made or migrated first where it is
an embedded one that nobody serves.
"""

import socket
from collections.abc import Sequence
from contextlib import closing

from api.cli.machine.benchmark.measuring import Measured
from core.cost import network_of
from core.errors import BallastError
from core.opening import checked_store, open_store, sole_service
from core.settings import Settings
from core.store import benchmarks, schema
from core.store.benchmarks import Result
from core.store.errors import SchemaBehind, SchemaMissing


def keep(settings: Settings, measured: Sequence[Measured]) -> str | None:
    """None, or a sentence that says why they are not kept."""
    try:
        _make_ready(settings)
        with closing(open_store(settings)) as store, store.writing() as tx:
            for kind in dict.fromkeys(each.device_kind for each in measured):
                of_kind = [_result(each) for each in measured if each.device_kind == kind]
                benchmarks.keep(tx, socket.gethostname(), kind, of_kind)
    except BallastError as error:
        return f"the rates are not kept for `ballast sweep --dry-run`: {error}"
    return None


def _result(measured: Measured) -> Result:
    trial = measured.trial
    return Result(network_of(trial.spec.model), trial.spec.precision, measured.rate)


def _make_ready(settings: Settings) -> None:
    """As `ballast up` does. A database that others may be at work on is theirs to migrate."""
    try:
        checked_store(settings).close()
    except (SchemaMissing, SchemaBehind):
        if not settings.embedded_database:
            raise
        with sole_service(settings):
            schema.upgrade(settings.database_url)
