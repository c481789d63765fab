"""Leaving in order: one event that the whole process looks at.

Set by SIGTERM and SIGINT (through Celery), by a remote shutdown, and by the leash: when standard input ends, the parent
is dead. What happens then: worker/README.md, "Leaving".
"""

import os
import sys
import threading


class Leave:
    def __init__(self) -> None:
        self._event = threading.Event()
        self.status = 0  # with which the process is to end; any other than 0 and the launcher restarts it

    def begin(self, status: int = 0) -> None:
        """Fit to be called inside a signal handler. Who says it first decides on the status."""
        if not self._event.is_set():
            self.status = status
            self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """True as soon as the process is leaving, False after `seconds`."""
        return self._event.wait(seconds)

    def on_end_of_input(self) -> None:
        """Leave when standard input ends."""
        threading.Thread(target=self._read_leash, name="leash", daemon=True).start()

    def _read_leash(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        self._event.set()
