"""Worker processes that are frozen, but never while they hold up everybody else."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import psutil

from core.settings import Settings
from tests.servers import wait_until


def freeze(process: psutil.Process, settings: Settings) -> None:
    """SIGSTOP, but not in the middle of a transaction on SQLite: that would keep everybody from writing, until the
    process thaws or is killed. PostgreSQL ends such a one after ten seconds."""
    process.suspend()
    wait_until(lambda: _is_stopped(process))
    while settings.embedded_database and not _others_can_write(settings.sqlite_file):
        process.resume()
        time.sleep(0.01)
        process.suspend()
        wait_until(lambda: _is_stopped(process))


def _is_stopped(process: psutil.Process) -> bool:
    """With all its threads: one that waits for the disk may still be about to take a lock."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/stat")
    try:
        return {task.read_text().rpartition(")")[2].split()[0] for task in tasks} == {"T"}
    except (FileNotFoundError, ProcessLookupError):  # a thread has just ended
        return False


def _others_can_write(file: Path) -> bool:
    with closing(sqlite3.connect(file, timeout=0.2)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
    return True
