"""A copy of a SQLite database beside a service at work, by SQLite's own backup. Of PostgreSQL, the line that makes one
(deploy/README.md, "Back up and restore").
"""

import os
import shlex
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import URL, make_url

from core.store import schema
from core.store.errors import BackupFailed
from core.store.session import Store


class Copied(NamedTuple):
    size: int  # bytes
    experiments: int
    revision: str  # of its schema


def copy_sqlite(file: Path, target: Path) -> Copied:
    """One moment of the database in `target`, which appears whole, looked through and safe from a power cut, or not at
    all; nobody waits. Raises BackupFailed where there is something already, where `file` is no database of ours, and
    where the copy is not whole; OSError."""
    if target.exists():
        raise BackupFailed(f"{target} is there already: nothing is overwritten")
    if not target.parent.is_dir():
        raise BackupFailed(f"there is no folder {target.parent}")
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        temporary.touch(mode=0o600, exist_ok=False)  # it holds what the database holds
        with closing(sqlite3.connect(file, timeout=30)) as source, closing(sqlite3.connect(temporary)) as copy:
            source.backup(copy)  # one reading transaction, which in WAL holds up nobody
            experiments, revision = _looked_through(copy)
        _sync(temporary)
        size = temporary.stat().st_size
        temporary.rename(target)
        _sync(target.parent)
    except sqlite3.Error as error:
        raise BackupFailed(f"{file} cannot be copied to {target} ({error})") from error
    finally:
        for left in (temporary, *(temporary.with_name(f"{temporary.name}-{end}") for end in ("wal", "shm", "journal"))):
            with suppress(FileNotFoundError):
                left.unlink()
    return Copied(size, experiments, revision)


def _looked_through(copy: sqlite3.Connection) -> tuple[int, str]:
    """How many experiments it has, and its revision. Raises BackupFailed, sqlite3.Error."""
    found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise BackupFailed(f"the copy is not whole, so the database may be damaged: {found}")
    (experiments,) = copy.execute("SELECT count(*) FROM experiments").fetchone()
    (revision,) = copy.execute("SELECT version_num FROM alembic_version").fetchone()
    return experiments, revision


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def postgresql_line(store: Store, url: str, target: Path) -> str:
    """What a shell makes a copy by, without a password. Raises DatabaseUnavailable, DatabaseBroken."""
    with store.reading() as tx:
        place = schema.schema_of(tx)
    words = ["pg_dump", "--format=custom", "--no-owner", "--no-acl", f"--schema={place}", f"--file={target}"]
    return shlex.join([*words, f"--dbname={_without_password(make_url(url)).render_as_string(hide_password=False)}"])


def _without_password(url: URL) -> URL:
    """As libpq reads it, which knows no drivers."""
    query = {name: value for name, value in url.query.items() if name not in ("password", "sslpassword", "options")}
    return URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
