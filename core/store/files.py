"""The bytes of checkpoints, behind `BALLAST_CHECKPOINT_URL`: whatever fsspec knows. A file appears whole or never."""

import hashlib
import os
import posixpath
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.store import checkpoints
from core.store.errors import CheckpointDamaged, CheckpointUnreachable
from core.store.session import Store

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


_FOLDER = re.compile(r"(?P<of>(?P<id>\d+)-\d+)(-(?P<mark>[0-9a-f]{8}))?")  # as `checkpoints.folder` and `Files.own` say


class File(NamedTuple):
    """What lies in a folder of an experiment's."""

    path: str
    size: int  # bytes
    written_s: float  # by the clock of the place
    experiment_id: int
    folder: str  # as `checkpoints.folder` says it
    own: bool  # else of another database


class Files:
    """One place for checkpoints. Paths are below its URL, with slashes. Every method raises CheckpointUnreachable.

    `mark` is the database's own, eight digits in the names of its folders: of what another has written nothing is
    removed, though both may point to it, as a restored copy does (core/store/README.md, "Checkpoints").
    """

    def __init__(self, url: str, mark: str = "") -> None:
        self.url = url
        self._mark = mark
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
            system.invalidate_cache()  # others write there too
            names = system.ls(there, detail=False) if system.exists(there) else []
        return [f"{folder}/{name.rpartition('/')[2]}" for name in names]

    def everything(self) -> list[File]:
        """All that lies in folders of experiments, of other databases too."""
        with self._place("") as (system, root):
            system.invalidate_cache()
            there = system.find(root, maxdepth=2, detail=True) if system.exists(root) else {}
        return [file for name, info in there.items() if (file := self._file(name, info))]

    def _file(self, name: str, info: dict[str, Any]) -> File | None:
        folder, _, own_name = name.rpartition("/")
        folder = folder.rpartition("/")[2]
        known = _FOLDER.fullmatch(folder)
        if known is None:
            return None
        written = next((info[key] for key in ("mtime", "LastModified", "created") if key in info), 0.0)
        seconds = written.timestamp() if isinstance(written, datetime) else float(written)
        path = f"{folder}/{own_name}"
        return File(path, info["size"] or 0, seconds, int(known["id"]), known["of"], self._is_own(folder))

    def own(self, folder: str) -> str:
        """Where this database writes what belongs into `folder`."""
        known = _FOLDER.fullmatch(folder)
        return f"{folder}-{self._mark}" if self._mark and known and not known["mark"] else folder

    def _is_own(self, folder: str) -> bool:
        """What has no mark was written before there were any."""
        known = _FOLDER.fullmatch(folder)
        return not self._mark or known is None or known["mark"] in (None, self._mark)

    def remove(self, paths: Iterable[str]) -> None:
        """What is not there is removed already; what another database has written stays."""
        for path in paths:
            if not self._is_own(posixpath.dirname(path)):
                continue
            with self._place(path) as (system, file), suppress(FileNotFoundError):
                system.rm_file(file)

    def remove_empty(self, folder: str) -> None:
        if not self._is_own(folder):
            return
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
    for folder in dict.fromkeys(each for name in folders for each in (name, files.own(name))):
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
