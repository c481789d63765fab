"""File systems that lock no files, as some of NFS, FUSE and 9p: what would be silent damage there is said before."""

import fcntl
import os
import tempfile
from pathlib import Path

from core.errors import BallastError


class NoLocks(BallastError):
    """Of two processes in this folder, neither could know of the other."""

    def __init__(self, folder: Path, error: OSError, todo: str) -> None:
        self.found = f"the file system of {folder} has no file locks ({os.strerror(error.errno or 0)})"
        self.todo = todo
        super().__init__(f"{self.found}: {todo}")


def require_locks(folder: Path, todo: str = "set BALLAST_HOME to a folder on a local disk") -> None:
    """Try both kinds, ours and those of SQLite, on a file that nobody else has. Where none can be made it says nothing:
    whoever writes there does. Raises NoLocks."""
    try:
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - its own errors are apart from those of locks
    except OSError:
        return
    with file:
        try:
            for lock in (fcntl.flock, fcntl.lockf):
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock(file, fcntl.LOCK_UN)  # NFS makes one kind of the other, and they would meet
        except OSError as error:
            raise NoLocks(folder, error, todo) from None
