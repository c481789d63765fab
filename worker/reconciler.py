"""The reconciler: ends the leases of the dead. It runs in every worker and needs no leader.

After an outage or a suspended laptop it waits one whole lease before it expires anything: until then the living have
had no chance to renew. A new process waits too: it cannot know what was before it.
"""

import time
from collections.abc import Callable

from core.settings import Settings
from core.store import leases, workers
from core.store.errors import DatabaseUnavailable
from core.store.session import Store
from core.tokens import WORKER
from worker.threads import every


class Reconciler:
    def __init__(self, store: Store, settings: Settings, clock: Callable[[], float] | None = None) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock or _seconds_through_sleep
        self._last_pass = self._clock()
        self._patient_until = self._last_pass + settings.lease_seconds

    def start(self) -> None:
        every(self._settings.heartbeat_seconds, "reconciler", self.reconcile)

    def reconcile(self) -> None:
        lease, heartbeat = self._settings.lease_seconds, self._settings.heartbeat_seconds
        with self._store.writing(WORKER) as tx:
            now = self._clock()
            # The lease must last for who renewed a heartbeat before the gap, and then a heartbeat after it.
            if now - self._last_pass > max(lease - 2 * heartbeat, 2 * heartbeat):
                self._patient_until = now + lease
            if now >= self._patient_until:
                leases.expire(tx, self._settings.max_failures)
                workers.mark_dead(tx, round(lease * 1000))
                if self._clock() - now > heartbeat:  # it was away in the middle of this: nothing of it holds
                    raise DatabaseUnavailable("the database was away for a while: leases are left as they are")
        self._last_pass = now


# Both go on while the machine sleeps: the one of Linux, the other where there is no such (macOS).
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _seconds_through_sleep() -> float:
    return time.clock_gettime(_CLOCK)
