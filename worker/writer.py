"""What a claim yields, on its way into the store: rows and checkpoints, in order, under the fence, by one thread.

So training goes on while the database is away, until a thousand rows wait; then it waits too. Only a refused fence ends
it. A checkpoint's bytes lie safe before its pointer is written, and its pointer comes after the rows before it
(worker/README.md, "The writer").
"""

import posixpath
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

import stamina
import structlog
from sqlalchemy import Connection

from core.results import Checkpoint, EpochResult, NumericsKey
from core.states import State
from core.store import attempts, checkpoints, leases
from core.store.checkpoints import Saved
from core.store.errors import CheckpointUnreachable, ClaimLost, DatabaseBroken, DatabaseUnavailable, StoreError
from core.store.events import EventKind
from core.store.experiments import ExperimentError
from core.store.files import Files
from core.store.session import Store
from core.tokens import WORKER
from worker.held import Held, note_refusal

log = structlog.get_logger()

T = TypeVar("T")

MOST_ROWS = 1000  # that wait

_BRIEFLY = stamina.RetryingCaller(attempts=None, timeout=5.0).on(CheckpointUnreachable)  # the last is worth seconds

# Through an outage, and through a full disk until somebody mends it: nothing but the fence ends it.
_PATIENTLY = stamina.RetryingCaller(attempts=None, timeout=None, wait_max=2.0).on((DatabaseUnavailable, DatabaseBroken))


class Writer:
    """Use it as a context. Its methods raise what has ended the writing: ClaimLost, or what is our own fault."""

    def __init__(self, store: Store, files: Files, held: Held, device_kind: str) -> None:
        self._store = store
        self._files = files
        self._held = held
        self._claim = held.claim
        self._device_kind = device_kind
        self._numerics = ""
        self._thread = ThreadPoolExecutor(1, "writer")
        self._room = threading.Semaphore(MOST_ROWS)
        self._checkpoints = 0  # that were to be saved, so far
        self._newest: Checkpoint | None = None  # which alone is still wanted: an outage may be long
        self._newest_lock = threading.Lock()  # of the two above
        self._fault: BaseException | None = None
        self._why_not_written = ""  # the last checkpoint

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """What still waits is wanted by nobody: who ends in order has seen it written."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def trains_under(self, numerics: NumericsKey) -> None:
        """Of the checkpoints to come."""
        self._numerics = numerics.as_json()

    def record(self, row: EpochResult, epoch_seconds: float) -> None:
        """Write a row, soon."""

        def write() -> None:
            self._held.wish = self._transaction(lambda tx: attempts.record(tx, self._claim, row, epoch_seconds))
            self._room.release()

        while not self._room.acquire(timeout=0.1) and not self._held.must_stop():
            pass
        self._soon(write)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, soon; an older one that still waits is not wanted any more."""
        with self._newest_lock:
            self._checkpoints += 1
            self._newest, number = checkpoint, self._checkpoints
        self._soon(lambda: self._save_if_newest(number))

    def _save_if_newest(self, number: int) -> None:
        with self._newest_lock:
            if number < self._checkpoints:
                return
            checkpoint, self._newest = self._newest, None
        assert checkpoint is not None
        if saved := self._write_checkpoint(checkpoint, self._files.write):
            self._point_to(saved, lambda tx: attempts.save(tx, self._claim, saved))

    def write_and_wait(self, write: Callable[[Connection], T]) -> T:
        """One transaction, after all that waits."""
        return self._soon(lambda: self._transaction(write)).result()

    def release(self) -> State:
        return self.write_and_wait(lambda tx: leases.release(tx, self._claim))

    def fail(self, row: EpochResult | None, error: ExperimentError) -> State:
        """Also after a fault of our own, which ends the experiment as any other does."""

        def write() -> None:
            if isinstance(self._fault, ClaimLost):
                raise self._fault
            self._transaction(lambda tx: attempts.finish(tx, self._claim, row, State.FAILED, error))

        self._thread.submit(write).result()
        return State.FAILED

    def succeed(self, row: EpochResult, checkpoint: Checkpoint | None, epoch_seconds: float) -> State:
        """With the last row, and the checkpoint after it."""

        def write() -> None:
            saved = checkpoint and self._write_checkpoint(checkpoint, lambda *what: _BRIEFLY(self._files.write, *what))
            self._point_to(
                saved, lambda tx: attempts.finish(tx, self._claim, row, State.SUCCEEDED, None, epoch_seconds, saved)
            )

        self._soon(write).result()
        return State.SUCCEEDED

    def _soon(self, write: Callable[[], T]) -> Future[T]:
        return self._thread.submit(self._unless_ended, write)

    def _unless_ended(self, write: Callable[[], T]) -> T:
        """After a fault nothing more is written, and training stops at its next step."""
        if self._fault is not None:
            raise self._fault
        try:
            return write()
        except BaseException as fault:
            self._fault, self._held.lost = fault, True
            raise

    def _transaction(self, write: Callable[[Connection], T]) -> T:
        """Whole, again and again. Harmless to repeat: the fence comes first, and rows are written once."""

        def transaction() -> T:
            with self._store.writing(WORKER) as tx:
                return write(tx)

        try:
            return _PATIENTLY(transaction)
        except ClaimLost:
            note_refusal(self._store, self._claim)
            raise

    def _write_checkpoint(self, checkpoint: Checkpoint, write: Callable[[str, bytes], str]) -> Saved | None:
        """None where it cannot be written, which is told once: training is worth more than the checkpoint."""
        epoch, step, iteration, content = checkpoint
        path = f"{self._claim.folder}/{self._claim.attempt}-{epoch}-{step}.safetensors"
        try:
            sha256 = write(path, content)
        except CheckpointUnreachable as error:
            if self._why_not_written != error.reason:
                why = str(error)
                log.warning("no checkpoint: training goes on", error=why)
                self._transaction(lambda tx: attempts.note(tx, self._claim, EventKind.CHECKPOINT_FAILED, why))
            self._why_not_written = error.reason
            return None
        self._why_not_written = ""
        return Saved(epoch, step, iteration, path, sha256, self._numerics, self._device_kind)

    def _point_to(self, saved: Saved | None, write: Callable[[Connection], list[str]]) -> None:
        try:
            without_pointer = self._transaction(write)
        except ClaimLost:
            if saved is not None:
                self._remove_unless_pointed_to(saved)
            raise
        self._remove(without_pointer)

    def _remove_unless_pointed_to(self, saved: Saved) -> None:
        """What a lost claim has written, unless it is pointed to: the answer to a commit may have been lost."""
        try:
            with self._store.reading() as tx:
                left_over = checkpoints.paths_without_pointer(tx, [saved.path])
        except StoreError as error:
            log.warning("a checkpoint is left behind", error=str(error))
        else:
            self._remove(left_over)

    def _remove(self, paths: list[str]) -> None:
        """With folders that are empty then: of what was deleted, or of what this one has extended."""
        try:
            self._files.remove(paths)
            for folder in {posixpath.dirname(path) for path in paths}:
                self._files.remove_empty(folder)
        except CheckpointUnreachable as error:
            log.warning("an old checkpoint is left behind", error=str(error))
