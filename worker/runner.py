"""Joins training to store: takes one claim to its end, from its newest checkpoint on (worker/README.md, "From the
ring to the first step")."""

import time
import traceback
from collections import deque
from functools import partial
from statistics import median
from typing import NamedTuple

import stamina
import structlog
import torch
from sqlalchemy import Connection

from core.results import Checkpoint, Command, EpochResult, Provenance
from core.settings import Settings
from core.spec import AnyDataset, ImageFolder
from core.states import ErrorKind, State
from core.store import attempts, checkpoints
from core.store.checkpoints import Pointer
from core.store.errors import CheckpointDamaged, CheckpointUnreachable, ClaimLost, StoreError
from core.store.events import EventKind
from core.store.experiments import ExperimentError
from core.store.files import Files, tidy
from core.store.leases import Claim
from core.store.session import UNFORESEEN, Store
from core.training import (
    BadCheckpoint,
    BadData,
    BadDevice,
    Data,
    Member,
    devices,
    load,
    precision,
    provenance,
    require_readable,
    train,
)
from worker.held import Held
from worker.writer import Writer

log = structlog.get_logger()

_BRIEFLY = stamina.RetryingCaller(attempts=None, timeout=10.0, wait_max=2.0)  # hours of training are worth seconds


class DeviceBroken(Exception):
    """The device fails whatever it is asked from now on, in this process: only another process can use it."""


class _End(NamedTuple):
    """How training ended: with its last row and the checkpoint after it, or, without a row, before its end."""

    row: EpochResult | None
    checkpoint: Checkpoint | None
    epoch_seconds: float


class Runner:
    def __init__(self, store: Store, files: Files, settings: Settings, device: str, name: str) -> None:
        self._store = store
        self._files = files
        self._settings = settings
        self._device = device
        self._name = name  # what people call it
        self.device_kind = devices.kind(device)
        self._last: tuple[AnyDataset, Data] | None = None  # of the run before

    def run(self, held: Held) -> None:
        """Train what is held until it ends, a wish or leaving stops it, or a write is refused. Raises nothing that the
        experiment is to blame for: that ends the experiment, not the worker."""
        claim = held.claim
        log.info("training", name=claim.spec.name)
        try:
            with Writer(self._store, self._files, held, self.device_kind) as writer:
                state = self._train_to_an_end(held, writer)
        except ClaimLost:
            log.warning("the claim was lost: nothing more is written")
            return
        finally:
            self._give_back_memory()
        log.info("ended", state=state.value)

    def _give_back_memory(self) -> None:
        try:
            devices.release(self._device)
        except torch.AcceleratorError as error:
            raise DeviceBroken(f"{self._name}: {_first_line(error)}") from error

    def _train_to_an_end(self, held: Held, writer: Writer) -> State:
        spec = held.claim.spec
        try:
            end = self._train_until_it_stops(held, writer)
            held.stopped = True
            if end.row is None:
                return writer.release()
            if end.row.diverged:
                return writer.fail(end.row, ExperimentError(ErrorKind.DIVERGED, end.row.divergence(spec)))
            return writer.succeed(end.row, end.checkpoint, end.epoch_seconds)
        except BadData as error:
            return writer.fail(None, ExperimentError(ErrorKind.BAD_DATA, str(error)))
        except BadDevice as error:
            return writer.fail(None, ExperimentError(ErrorKind.BAD_DEVICE, str(error)))
        except (StoreError, *UNFORESEEN):
            raise  # not the experiment's fault: another attempt may fare better
        except Exception as error:
            self._last = None  # memory may be what it failed for
            return writer.fail(None, self._error_of(error, held.claim))

    def _error_of(self, error: Exception, claim: Claim) -> ExperimentError:
        """What the experiment ends with, whose training raised `error`. Raises DeviceBroken: it is not to blame."""
        if isinstance(error, torch.AcceleratorError):
            raise DeviceBroken(f"{self._name}: {_first_line(error)}") from error
        if devices.is_out_of_memory(error):
            spec = claim.spec
            sizes = f"batch_size {spec.batch_size or 'null'}, {spec.model.model_dump_json()}"
            return ExperimentError(
                ErrorKind.OUT_OF_MEMORY, f"{self._name}: {_first_line(error)} (with {sizes}: choose smaller ones)"
            )
        message = f"{type(error).__name__}: {_first_line(error)}"
        return ExperimentError(ErrorKind.INTERNAL, message, traceback.format_exc())

    def _train_until_it_stops(self, held: Held, writer: Writer) -> _End:
        """Train to the end, or until it must stop. All rows but the last, and all checkpoints but that after it, are on
        their way into the store."""
        claim = held.claim
        data = self._data(claim.spec.dataset)
        what = provenance(claim.spec, data, self._device)
        _refuse_other_data(claim, what.dataset.sha256)
        writer.trains_under(what.numerics_key)
        pointer, content = self._farthest_checkpoint(held, writer)
        if held.must_stop():
            return _End(None, None, 0.0)
        self._tidy(claim)
        writer.write_and_wait(lambda tx: self._begin(tx, claim, what, pointer))
        return self._record_rows(held, writer, data, content, since=pointer.epoch if pointer else 0)

    def _data(self, dataset: AnyDataset) -> Data:
        """Those of the run before where it had the same, as members of a sweep do; but for a folder of images, which
        may hold others by now."""
        if self._last is None or self._last[0] != dataset or isinstance(dataset, ImageFolder):
            self._last = None  # first, so that there is room
            self._last = dataset, load(dataset, self._settings.data_dir, self._settings.locks_dir, self._device)
        return self._last[1]

    def _begin(self, tx: Connection, claim: Claim, what: Provenance, pointer: Pointer | None) -> None:
        attempts.begin(tx, claim, what, pointer)
        for sentence in precision.warnings(claim.spec.precision, self._device):
            attempts.note(tx, claim, EventKind.WARNING, sentence)

    def _record_rows(self, held: Held, writer: Writer, data: Data, content: bytes | None, since: int) -> _End:
        spec = held.claim.spec
        pace, next_command = _Pace(since), _NextCommand(held, self._settings.checkpoint_seconds)
        last: EpochResult | None = None
        final: Checkpoint | None = None
        for _, result in train([Member(spec, content, next_command)], data, self._device):
            if isinstance(result, Checkpoint):
                next_command.saved()
                if last is not None:
                    final = result
                else:
                    writer.save(result)
            elif result.diverged or result.epoch == spec.epochs:
                last = result
                next_command.last_row_is_there = True
                pace.add(result)
            else:
                writer.record(result, pace.add(result))
        return _End(last, final, pace.epoch_seconds)

    def _farthest_checkpoint(self, held: Held, writer: Writer) -> tuple[Pointer, bytes] | tuple[None, None]:
        """The farthest that can be read. Where none can, it starts again, and its rows are compared with those that
        stand."""
        claim = held.claim

        def is_waited_for(error: Exception) -> bool:
            """Not one that is not there, as of another host."""
            away = isinstance(error, CheckpointUnreachable) and not isinstance(error.__cause__, FileNotFoundError)
            return away and not held.must_stop()

        pointers = writer.write_and_wait(lambda tx: checkpoints.farthest_first(tx, claim.experiment_id))
        for pointer in pointers:
            if held.must_stop():
                break
            try:
                content = _BRIEFLY(is_waited_for, self._files.read, pointer.path, pointer.sha256)
                require_readable(content)
            except (CheckpointDamaged, BadCheckpoint) as error:
                writer.write_and_wait(partial(attempts.give_up, claim=claim, pointer=pointer, why=str(error)))
            except CheckpointUnreachable as error:
                writer.write_and_wait(
                    partial(attempts.note, claim=claim, kind=EventKind.CHECKPOINT_UNREACHABLE, detail=str(error))
                )
            else:
                return pointer, content
        return None, None

    def _tidy(self, claim: Claim) -> None:
        """Remove what a killed process has left half done."""
        try:
            tidy(self._store, self._files, [claim.folder])
        except StoreError as error:
            log.warning("old checkpoints are left behind", error=str(error))


class _NextCommand:
    """What training is told between two steps: here the wish of a user, and all else that is held against it, becomes a
    command. Called so often that it must be cheap."""

    def __init__(self, held: Held, seconds: float) -> None:
        self._held = held
        self._seconds = seconds
        self.last_row_is_there = False
        self.saved()

    def saved(self) -> None:
        self._save_at = time.monotonic() + self._seconds

    def __call__(self) -> Command:
        if self._held.lost:
            return Command.DROP
        if self._held.must_stop():
            return Command.STOP
        return Command.SAVE if self.last_row_is_there or time.monotonic() >= self._save_at else Command.GO_ON


class _Pace:
    """How long an epoch takes: the median over the last rows. Over all of a hundred thousand, it would take longer to
    find than an epoch."""

    def __init__(self, epoch: int) -> None:
        self._seconds: deque[float] = deque(maxlen=101)
        self._epoch = epoch
        self.epoch_seconds = 0.0

    def add(self, row: EpochResult) -> float:
        """Returns the seconds of an epoch, with this row among them."""
        self._seconds.append(row.seconds / (row.epoch - self._epoch))
        self._epoch = row.epoch
        self.epoch_seconds = median(self._seconds)
        return self.epoch_seconds


def _refuse_other_data(claim: Claim, sha256: str) -> None:
    before = claim.data_sha256
    if before is not None and before != sha256:
        raise BadData(
            f"the images of {claim.spec.dataset.name} here are others than those that it was trained on so far "
            f"(SHA-256 {sha256[:12]} instead of {before[:12]}): give all hosts the same images, and retry it; "
            "or submit it again, to be trained on these"
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or "no message"
