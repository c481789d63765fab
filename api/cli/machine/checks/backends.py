"""What the service stands on, at the addresses of our settings: database, broker, checkpoints."""

from collections.abc import Iterator
from contextlib import closing

from sqlalchemy import make_url, select
from sqlalchemy.exc import SQLAlchemyError

from api.cli.machine.checks.clocks import compare_clock
from api.cli.machine.checks.finding import Finding, failed_check, first_line
from core.broker.doorbell import BrokerUnreachable, Doorbell
from core.errors import BallastError
from core.locks import NoLocks, require_locks
from core.opening import checkpoints_stay_here
from core.settings import Settings
from core.store import schema
from core.store.clock import now_ms
from core.store.files import Files
from core.store.schema import SchemaState
from core.store.session import Store


def check_database(settings: Settings) -> Iterator[Finding]:
    url = _without_password(settings.database_url)
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
        yield (
            _schema_finding(url, SchemaState.EMPTY, None)
            if there
            else failed_check("database", f"there is no folder {folder}")
        )
        return
    try:
        with closing(Store(settings.database_url)) as store:
            yield _schema_finding(url, schema.state_of(store), schema.revision_of(store))
            yield compare_clock("database clock", _database_seconds(store))
    except (BallastError, SQLAlchemyError) as error:
        yield failed_check("database", f"{url}: {first_line(error)}")


def _without_password(url: str) -> str:
    """Without a password, which may stand in the query too."""
    return make_url(url).set(query={}).render_as_string(hide_password=True)


def _schema_finding(url: str, state: SchemaState, revision: str | None) -> Finding:
    match state:
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


def check_broker(settings: Settings) -> Iterator[Finding]:
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


def check_checkpoints(settings: Settings) -> Iterator[Finding]:
    files = Files(settings.checkpoint_url)
    files.check()
    if checkpoints_stay_here(settings):
        found = f"{files.place}: another host cannot go on from there, in the home of this one"
        yield Finding("checkpoints", "warning", found, "mount one folder on all, and set BALLAST_CHECKPOINT_URL to it")
    else:
        yield Finding("checkpoints", "ok", files.place)
