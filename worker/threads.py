"""The threads of a worker process that do one thing again and again for as long as it lives: heartbeat, reconciler,
watchdog. The poll is no such thread: it ends with leaving."""

import threading
import time
from collections.abc import Callable

import structlog

from core.store.errors import DatabaseBroken, DatabaseUnavailable

log = structlog.get_logger()


def every(seconds: float, name: str, action: Callable[[], None]) -> None:
    """Call `action` in a thread for as long as the process lives: leaving takes time, and the lease must hold."""

    def repeat() -> None:
        while True:
            try:
                action()
            except (DatabaseUnavailable, DatabaseBroken) as error:
                log.warning("training goes on", thread=name, error=str(error))
            except Exception:  # our own fault; a thread that ended here would cost the lease without a word
                log.exception("training goes on", thread=name)
            time.sleep(seconds)

    threading.Thread(target=repeat, name=name, daemon=True).start()
