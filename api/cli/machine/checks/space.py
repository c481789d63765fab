"""How much room database, checkpoints, data and queue take, and how much their disks have left."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from api.cli.machine.checks.finding import Finding
from api.cli.printing import byte_size
from core.errors import BallastError
from core.opening import local_folder
from core.settings import Settings
from core.store.session import Store

LITTLE_SPACE = 2 * 2**30  # bytes
_PATIENCE = 3.0  # seconds of counting: a data set may be a million files


def check_database_space(settings: Settings) -> Iterator[Finding]:
    if settings.embedded_database:
        file = settings.sqlite_file
        its_files = [file.with_name(file.name + end) for end in ("", "-wal")]
        yield from _of_disk(settings, "database", file.parent, its_files if file.exists() else [])
        return
    try:
        with closing(Store(settings.database_url)) as store, store.reading() as tx:
            size = tx.execute(select(func.pg_database_size(func.current_database()))).scalar_one()
    except (BallastError, SQLAlchemyError):
        return  # which is said of the database
    yield Finding("database space", "ok", f"{byte_size(size)}; its own host knows how much room is left")


def check_checkpoints_space(settings: Settings) -> Iterator[Finding]:
    folder = local_folder(settings.checkpoint_url)
    if folder is not None:  # what lies elsewhere fills no disk of this host
        yield from _of_folder(settings, "checkpoints", folder)


def check_data_space(settings: Settings) -> Iterator[Finding]:
    yield from _of_folder(settings, "data", settings.data_dir)


def check_queue_space(settings: Settings) -> Iterator[Finding]:
    if settings.embedded_broker:
        yield from _of_folder(settings, "queue", settings.queue_dir)


CHECKS: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "database space": check_database_space,
    "checkpoints space": check_checkpoints_space,
    "data space": check_data_space,
    "queue space": check_queue_space,
}


def _of_folder(settings: Settings, name: str, folder: Path) -> Iterator[Finding]:
    yield from _of_disk(settings, name, folder, _files_below(folder))


def _of_disk(settings: Settings, name: str, folder: Path, files: Iterable[Path]) -> Iterator[Finding]:
    """Nothing where there is no such folder yet. Where the disk is the home's, that is judged there."""
    if not folder.exists():
        return
    free = shutil.disk_usage(folder).free
    found = f"{_size(files)} in {folder}, {byte_size(free)} free"
    if free < LITTLE_SPACE and not (settings.home.exists() and settings.home.stat().st_dev == folder.stat().st_dev):
        todo = "make room on its disk; `ballast gc --dry-run` says what nobody needs any more"
        yield Finding(f"{name} space", "warning", found, todo)
    else:
        yield Finding(f"{name} space", "ok", found)


def _size(files: Iterable[Path]) -> str:
    """At least so much, where they are too many to be counted in time."""
    total, until = 0, time.monotonic() + _PATIENCE
    for file in files:
        with suppress(OSError):  # it has just gone, or is nobody's to look at
            total += file.lstat().st_size
        if time.monotonic() > until:
            return f"at least {byte_size(total)}"
    return byte_size(total)


def _files_below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)
