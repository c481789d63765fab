"""The reconciler: ends the leases of the dead. It runs in every worker and needs no leader.

After an outage or a suspended laptop it waits one whole lease before it expires anything: until then the living have
had no chance to renew.
"""

import time

from core.settings import Settings
from core.store import claims, workers
from core.store.session import Store
from worker.heartbeat import every


class Reconciler:
    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._last_pass = _awake()
        self._patient_until = 0.0

    def start(self) -> None:
        every(self._settings.heartbeat_seconds, "reconciler", self.reconcile)

    def reconcile(self) -> None:
        lease = self._settings.lease_seconds
        with self._store.writing() as tx:
            now = _awake()
            if now - self._last_pass > lease / 2 + self._settings.heartbeat_seconds:
                self._patient_until = now + lease
            if now >= self._patient_until:
                claims.expire(tx, self._settings.max_failures)
                workers.mark_dead(tx, round(lease * 1000))
        self._last_pass = now


def _awake() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
