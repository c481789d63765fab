"""The heartbeat of a worker: renews its lease and reads wishes, in a thread that training cannot hold up."""

import contextlib
import threading
import time

import structlog

from core.settings import Settings
from core.states import WorkerState
from core.store import leases, workers
from core.store.errors import ClaimLost, DatabaseBroken, DatabaseUnavailable, StoreError
from core.store.session import Store
from core.tokens import WORKER
from worker.ending import WISH_NOT_OBEYED, end_process
from worker.gpu import GpuMeter
from worker.held import Held, note_refusal
from worker.leave import Leave
from worker.threads import every

log = structlog.get_logger()

_TO_WRITE = 10  # times as long as a step may take: a large checkpoint on its way to a slow place


class Heartbeat:
    def __init__(
        self, store: Store, settings: Settings, worker_id: int, leave: Leave, gpu: GpuMeter | None = None
    ) -> None:
        self._store = store
        self._settings = settings
        self._worker_id = worker_id
        self._leave = leave
        self._gpu = gpu
        self.held: Held | None = None
        # At a time; or a beat begun earlier would come after the goodbye and take it back.
        self._one_beat = threading.Lock()

    def start(self) -> None:
        every(self._settings.heartbeat_seconds, "heartbeat", self.beat)

    def beat(self) -> None:
        with self._one_beat:
            held = self.held
            if held is not None:
                if not held.lost:
                    self._renew(held)
                self._end_unless_it_stops(held)
            with self._store.writing(WORKER) as tx:
                workers.report(tx, self._worker_id, self._state(held), held.claim.experiment_id if held else None)
                if self._gpu is not None:
                    workers.report_gpu(tx, self._worker_id, self._gpu.last_use())

    def _renew(self, held: Held) -> None:
        try:
            with self._store.writing(WORKER) as tx:
                held.wish = leases.renew(tx, held.claim, round(self._settings.lease_seconds * 1000))
        except ClaimLost:
            held.lost = True
            note_refusal(self._store, held.claim)
        except (DatabaseUnavailable, DatabaseBroken):
            held.unobeyed_since = None  # what waits for the database has stopped training already, perhaps
            raise

    def _end_unless_it_stops(self, held: Held) -> None:
        """End the process if training has had its time to stop: that is how a call to the device ends that never
        returns."""
        if held.wish is None and not held.lost:
            held.unobeyed_since = None
            return
        now = time.monotonic()
        held.unobeyed_since = held.unobeyed_since or now
        patience = self._settings.wish_seconds * (_TO_WRITE if held.stopped else 1)
        if now - held.unobeyed_since < patience or self.held is not held:
            return
        log.critical("training does not stop: the process ends", wish=held.wish)
        with contextlib.suppress(StoreError), self._store.writing(WORKER) as tx:
            leases.release(tx, held.claim)
        end_process(WISH_NOT_OBEYED)

    def beat_now(self) -> None:
        """Out of turn, when there is news. A database that is away learns of it at the next beat, or by our silence."""
        with contextlib.suppress(DatabaseUnavailable, DatabaseBroken):
            self.beat()

    def _state(self, held: Held | None) -> WorkerState:
        if self._leave.is_set():
            return WorkerState.LEAVING if held else WorkerState.GONE
        return WorkerState.BUSY if held else WorkerState.IDLE
