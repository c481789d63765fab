"""What must not stay dead: a process that is started again, ever more slowly while it dies again and again."""

import subprocess
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()

RESTART_AFTER = (0.5, 1, 2, 4, 8, 15, 30)  # seconds, by how often it died in a row
STEADY_SECONDS = 60  # alive for so long: the row is forgotten
NOT_STARTED = 127  # the status of what could not be started, as a shell has it


class RestartedProcess:
    """A process and those that take its place; which exit status ends it for good is its owner's to say."""

    def __init__(self, what: str, start: Callable[[], subprocess.Popen[bytes]], **about: object) -> None:
        self._what = what
        self._about = about  # stands on every line of the log
        self._start = start
        self.deaths = 0  # in a row
        self._try_to_start()

    def _try_to_start(self) -> None:
        self._started = time.monotonic()
        self._restart_at: float | None = None
        try:
            self._process: subprocess.Popen[bytes] | None = self._start()
        except OSError as error:  # no memory for another, or no number
            log.error(f"{self._what} cannot be started", error=str(error), **self._about)
            self._process = None

    @property
    def running(self) -> subprocess.Popen[bytes] | None:
        """The process, while it lives."""
        return self._process if self.status() is None else None

    def status(self) -> int | None:
        """With which it ended; None while it runs."""
        return NOT_STARTED if self._process is None else self._process.poll()

    def restart_when_due(self) -> None:
        """To be called again and again once it is dead."""
        now = time.monotonic()
        if self._restart_at is None:
            self.deaths = 1 if now - self._started > STEADY_SECONDS else self.deaths + 1
            wait = RESTART_AFTER[min(self.deaths, len(RESTART_AFTER)) - 1]
            self._restart_at = now + wait
            log.error(f"{self._what} died", **self._about, status=self.status(), restart_in_seconds=wait)
        elif now >= self._restart_at:
            self._try_to_start()
