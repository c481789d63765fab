"""Opening the store in order: what must hold before a process may work on a database. Each failure is one sentence."""

import fcntl
import hashlib
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

from core.errors import BallastError
from core.locks import NoLocks, require_locks
from core.settings import Settings
from core.store import schema
from core.store.errors import CheckpointUnreachable, SchemaMissing
from core.store.files import Files
from core.store.session import Store

log = structlog.get_logger()


_DATABASE_ELSEWHERE = "set BALLAST_DATABASE_URL to a file on a local disk, or to PostgreSQL"


class HomeUnusable(BallastError):
    """`BALLAST_HOME` cannot be written, or is in use."""


def prepare_home(settings: Settings) -> None:
    """Make `BALLAST_HOME`. Raises HomeUnusable, NoLocks."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        probe = settings.home / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise HomeUnusable(
            f"cannot write to {settings.home} ({error.strerror}): set BALLAST_HOME to a folder that you may write to"
        ) from None
    _require_locks(settings)


def _require_locks(settings: Settings) -> None:
    """Where processes share a folder, of messages or of SQLite's. Raises NoLocks."""
    require_locks(settings.home)
    if settings.embedded_database and settings.sqlite_file.parent != settings.home:
        require_locks(settings.sqlite_file.parent, _DATABASE_ELSEWHERE)


@contextmanager
def sole_service(settings: Settings) -> Iterator[None]:
    """Held by the one API process of an embedded home and of a SQLite file; the kernel lets go of it when the process
    ends, whatever ends it. Raises HomeUnusable, NoLocks."""
    files = []
    if settings.embedded_broker or settings.embedded_database:
        prepare_home(settings)
    if settings.embedded_broker:
        files.append(settings.home / "service.lock")
    if settings.embedded_database:
        files.append(settings.sqlite_file.with_name(f"{settings.sqlite_file.name}.lock"))
    with ExitStack() as stack:
        for file in files:
            stack.enter_context(_locked(file))
        yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        file = path.open("a+")
    except OSError as error:
        raise HomeUnusable(f"cannot write to {path.parent} ({error.strerror}): correct BALLAST_DATABASE_URL") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise HomeUnusable(
                f"{path.parent} is served already, by {holder}: stop that one, or set BALLAST_HOME to another folder"
            ) from None
        except OSError as error:
            raise NoLocks(path.parent, error, "put what it holds on a local disk") from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def open_store(settings: Settings) -> Store:
    """A store that this process may use. Raises StoreError: unreachable, a revision behind, another machine's file."""
    store = checked_store(settings)
    if settings.embedded_database:
        with store.writing() as tx:
            schema.adopt(tx, machine_id(), socket.gethostname())
    return store


def checked_store(settings: Settings) -> Store:
    """A store whose database is there and has our schema. Changes nothing. Raises StoreError, NoLocks."""
    require_sqlite_file(settings)
    if settings.embedded_database or settings.embedded_broker:
        _require_locks(settings)
    store = Store(settings.database_url)
    try:
        schema.require(store)
    except BallastError:
        store.close()
        raise
    return store


def require_sqlite_file(settings: Settings) -> None:
    """To open one that is not there would be to make it. Raises SchemaMissing."""
    if settings.embedded_database and not settings.sqlite_file.exists():
        raise SchemaMissing


def files_of(settings: Settings, store: Store) -> Files:
    """Where checkpoints lie, and where this database removes nothing but its own. Raises StoreError."""
    identity = _sqlite_identity(settings) if settings.embedded_database else _postgresql_identity(store)
    return Files(settings.checkpoint_url, mark=hashlib.sha256(identity.encode()).hexdigest()[:8])


def _sqlite_identity(settings: Settings) -> str:
    """Of a copy beside it, or on another machine, it is another; of a whole home that was moved, the same."""
    file, home = settings.sqlite_file.resolve(), settings.home.resolve()
    place = local_folder(settings.checkpoint_url)
    if file.is_relative_to(home) and place is not None and place.is_relative_to(home):
        return str(file.relative_to(home))
    return f"{file} on {machine_id()}"


def _postgresql_identity(store: Store) -> str:
    with store.reading() as tx:
        return schema.identity(tx)


def local_folder(checkpoint_url: str) -> Path | None:
    """The folder where checkpoints lie; None where it is none of this host."""
    scheme, _, place = checkpoint_url.partition("://")
    return Path(place).resolve() if scheme in ("file", "local") else None


def warn_of_checkpoints(settings: Settings) -> None:
    """Says what is wrong with the place where checkpoints lie; training goes on without. Raises CheckpointUnreachable
    where nothing can ever lie: no such kind of place is known, or what it needs is not installed."""
    try:
        Files(settings.checkpoint_url).check()
    except CheckpointUnreachable as error:
        if isinstance(error.__cause__, ValueError | ImportError):
            raise
        log.warning(str(error))
    if checkpoints_stay_here(settings):
        log.warning(
            "other hosts cannot go on from this host's checkpoints, which lie in its BALLAST_HOME: mount one folder on "
            "all, and set BALLAST_CHECKPOINT_URL to it",
            checkpoints=settings.checkpoint_url,
        )


def checkpoints_stay_here(settings: Settings) -> bool:
    """Whether they are known to lie on this host alone while others share its database. A home is one host's; of a
    folder elsewhere whoever has set it knows best."""
    place = local_folder(settings.checkpoint_url)
    return not settings.embedded_database and place is not None and place.is_relative_to(settings.home.resolve())


def machine_id() -> str:
    file = Path("/etc/machine-id")
    return file.read_text().strip() if file.exists() else f"{uuid.getnode():x}"
