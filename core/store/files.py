"""The bytes of checkpoints, behind `BALLAST_CHECKPOINT_URL`: whatever fsspec knows. A file appears whole or never."""

import hashlib
import os
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from core.store import checkpoints
from core.store.errors import CheckpointDamaged, CheckpointUnreachable
from core.store.session import Store

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class Files:
    """One place for checkpoints. Paths are below its URL, with slashes. Every method raises CheckpointUnreachable."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.place = re.sub("//[^/@]*@", "//", url)  # for people: without a password
        self._opened: tuple[AbstractFileSystem, str] | None = None

    def check(self) -> None:
        """Whether the place can be looked into, and a folder written into. Changes nothing."""
        with self._place("") as (system, root):
            if "file" in system.protocol:
                _try_to_write(Path(root))
            else:
                system.exists(root)

    def write(self, path: str, content: bytes) -> str:
        """Returns the SHA-256 of what lies there now, safe from a power cut where it is a local disk."""
        with self._place(path) as (system, file):
            if "file" in system.protocol:
                _write_durably(Path(file), content)
            else:
                system.pipe_file(file, content)  # whole or not at all, by itself
        return hashlib.sha256(content).hexdigest()

    def read(self, path: str, sha256: str) -> bytes:
        """Raises CheckpointDamaged where it is not what was written."""
        with self._place(path) as (system, file):
            content: bytes = system.cat_file(file)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise CheckpointDamaged(f"checkpoint {path} is damaged: its checksum is not the one that was written down")
        return content

    def paths_in(self, folder: str) -> list[str]:
        """The paths in a folder; none where there is no such folder."""
        with self._place(folder) as (system, there):
            names = system.ls(there, detail=False) if system.exists(there) else []
        return [f"{folder}/{name.rpartition('/')[2]}" for name in names]

    def remove(self, paths: Iterable[str]) -> None:
        """What is not there is removed already."""
        for path in paths:
            with self._place(path) as (system, file), suppress(FileNotFoundError):
                system.rm_file(file)

    def remove_empty(self, folder: str) -> None:
        with self._place(folder) as (system, there):
            if "file" in system.protocol and system.exists(there) and not system.ls(there):
                system.rmdir(there)

    @contextmanager
    def _place(self, path: str) -> "Iterator[tuple[AbstractFileSystem, str]]":
        try:
            if self._opened is None:
                from fsspec.core import url_to_fs  # not before it is needed: the API imports this room

                self._opened = url_to_fs(self.url)
            system, root = self._opened
            yield system, f"{root.rstrip('/')}/{path}"
        except Exception as error:  # whatever a file system raises; s3fs has errors of its own
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
            raise CheckpointUnreachable(path, self.place, reason) from error


def tidy(store: Store, files: Files, folders: Iterable[str]) -> None:
    """Remove what nobody points to from `folders`, none of which a claim is writing into. Raises StoreError."""
    for folder in folders:
        if there := files.paths_in(folder):
            with store.reading() as tx:
                left_over = checkpoints.paths_without_pointer(tx, there)
            files.remove(left_over)
        files.remove_empty(folder)


def _try_to_write(folder: Path) -> None:
    """Into what there is of it already: the rest is made with the first file. Raises OSError."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    with tempfile.TemporaryFile(dir=there):  # rights alone know nothing of read-only disks
        pass


def _write_durably(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as output:
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        temporary.replace(file)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(file.parent, os.O_RDONLY)  # the name is safe only when its folder is
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
