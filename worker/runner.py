"""Joins training to store: takes one claim to its end, writing each row as its epoch ends."""

import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import TypeVar

import stamina
import structlog
import torch
from sqlalchemy import Connection

from core.results import EpochResult
from core.settings import Settings
from core.states import ErrorKind, State
from core.store import claims
from core.store.claims import Claim
from core.store.errors import ClaimLost, StoreError
from core.store.experiments import ExperimentError
from core.store.session import Store, transient
from core.training import BadData, Member, load, provenance, train
from worker.heartbeat import Held

log = structlog.get_logger()

T = TypeVar("T")

_PATIENTLY = stamina.RetryingCaller(attempts=None, timeout=None, wait_max=2.0)


class DeviceBroken(Exception):
    """The device fails whatever it is asked from now on, in this process: only another process can use it."""


class Runner:
    def __init__(self, store: Store, settings: Settings, device: str) -> None:
        self._store = store
        self._data_dir = settings.data_dir
        self._locks_dir = settings.locks_dir
        self._device = device

    def run(self, held: Held) -> None:
        """Train what is held until it ends, a wish or leaving stops it, or a write is refused. Raises nothing that the
        experiment is to blame for: that ends the experiment, not the worker."""
        claim = held.claim
        says = log.bind(experiment=claim.experiment_id, attempt=claim.attempt)
        says.info("training", name=claim.spec.name)
        try:
            state = self._train(held)
        except ClaimLost:
            says.warning("the claim was lost: nothing more is written")
            return
        says.info("ended", state=state.value)

    def _train(self, held: Held) -> State:
        claim, pace = held.claim, _Pace()
        try:
            last = self._rows(held, pace)
        except BadData as error:
            return self._fail(claim, None, ErrorKind.BAD_DATA, str(error))
        except StoreError:
            raise  # not the experiment's fault
        except Exception as error:
            if isinstance(error, torch.AcceleratorError):
                raise DeviceBroken(f"{self._device}: {_first_line(error)}") from error
            if _is_out_of_memory(error):
                return self._fail(claim, None, ErrorKind.OUT_OF_MEMORY, f"{self._device}: {_first_line(error)}")
            message = f"{type(error).__name__}: {_first_line(error)}"
            return self._fail(claim, None, ErrorKind.INTERNAL, message, traceback.format_exc())
        if last is None:
            return self._write(lambda tx: claims.release(tx, claim))
        if last.diverged:
            return self._fail(claim, last, ErrorKind.DIVERGED, last.divergence(claim.spec))
        epoch_seconds = pace.measured(last)
        self._write(lambda tx: claims.finish(tx, claim, last, State.SUCCEEDED, epoch_seconds=epoch_seconds))
        return State.SUCCEEDED

    def _rows(self, held: Held, pace: "_Pace") -> EpochResult | None:
        """Train, writing every row but the last, which is returned: it is written with the end that it brings. None
        where training was stopped before."""
        claim = held.claim
        data = load(claim.spec.dataset, self._data_dir, self._locks_dir, self._device)
        what = provenance(claim.spec, data, self._device)
        self._write(partial(claims.describe, claim=claim, provenance=what))
        member = Member(claim.spec, wish=held.must_stop)
        for _, row in train([member], data, self._device):
            if row.diverged or row.epoch == claim.spec.epochs:
                return row
            held.wish = self._write(partial(claims.record, claim=claim, row=row, epoch_seconds=pace.measured(row)))
        return None

    def _fail(
        self, claim: Claim, row: EpochResult | None, kind: ErrorKind, message: str, trace: str | None = None
    ) -> State:
        error = ExperimentError(kind, message, trace)
        self._write(lambda tx: claims.finish(tx, claim, row, State.FAILED, error))
        return State.FAILED

    def _write(self, write: Callable[[Connection], T]) -> T:
        """One transaction, whole, again and again through an outage. Harmless to repeat: the fence comes first and rows
        are written once."""

        def transaction() -> T:
            with self._store.writing() as tx:
                return write(tx)

        return _PATIENTLY(transient, transaction)


class _Pace:
    """How long an epoch takes: the median over the last rows. Over all of a hundred thousand, it would take longer to
    find than an epoch."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=101)
        self._epoch = 0

    def measured(self, row: EpochResult) -> float:
        self._seconds.append(row.seconds / (row.epoch - self._epoch))
        self._epoch = row.epoch
        return median(self._seconds)


def _is_out_of_memory(error: Exception) -> bool:
    """torch has an error of its own for a GPU only."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or "no message"
