"""The loop of a worker: claim an experiment, run it, claim again until SQL has nothing for this device. One at a time a
process. How one is run is the runner's; what calls the loop, ring and poll, is the app's."""

import threading

import structlog

from core import logs
from core.settings import Settings
from core.states import WorkerState
from core.store import claims, workers
from core.store.errors import DatabaseBroken, DatabaseUnavailable
from core.store.session import Store
from core.tokens import WORKER
from worker.ending import DEVICE_BROKEN, end_process
from worker.heartbeat import Heartbeat
from worker.held import Held
from worker.leave import Leave
from worker.runner import DeviceBroken, Runner

log = structlog.get_logger()


class Loop:
    def __init__(
        self, store: Store, settings: Settings, worker_id: int, leave: Leave, heartbeat: Heartbeat, runner: Runner
    ) -> None:
        self._store = store
        self._lease_ms = round(settings.lease_seconds * 1000)
        self._device_kind = runner.device_kind
        self._worker_id = worker_id
        self._leave = leave
        self._heartbeat = heartbeat
        self._runner = runner
        self._busy = threading.Lock()

    def run_queued(self) -> None:
        """Run what is queued, one after the other, until nothing is. Called by every ring and every poll; whoever comes
        while it runs goes away at once."""
        if not self._busy.acquire(blocking=False):
            return
        try:
            if self._run_next():
                while self._run_next():
                    pass
                self._heartbeat.beat_now()
        except (DatabaseUnavailable, DatabaseBroken) as error:
            log.warning("trying again at the next poll", error=str(error))
        except DeviceBroken as error:  # nothing more is written: the lease ends by itself, and counts as a failure
            log.critical("the device is broken: another process takes over", error=str(error))
            end_process(DEVICE_BROKEN)
        except Exception:  # our own fault; whoever polls must live on. What was held goes back when its lease ends
            log.exception("trying again at the next poll")
        finally:
            self._busy.release()

    def wait_until_idle(self, seconds: float) -> bool:
        """Once leaving: whether what runs has stopped within `seconds`. Nothing is claimed any more."""
        return self._busy.acquire(timeout=seconds)

    def _run_next(self) -> bool:
        if self._leave.is_set():
            return False
        with self._store.writing(WORKER) as tx:
            claim = claims.claim(tx, self._worker_id, self._lease_ms, self._device_kind)
            if claim:
                workers.report(tx, self._worker_id, WorkerState.BUSY, claim.experiment_id)
        if claim is None:
            return False
        with logs.on_every_line(experiment=claim.experiment_id, attempt=claim.attempt, owner=claim.owner):
            self._heartbeat.held = Held(claim, self._leave)
            try:
                self._runner.run(self._heartbeat.held)
            finally:
                self._heartbeat.held = None
        return True
