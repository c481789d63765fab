"""The guard: kills what is left of the workers, some time after their launcher has ended.

A worker leaves by its leash, which a thread of it reads. One that is frozen, or in a computation that never lets go of
Python's lock, reads nothing, and nobody is left to end it. The kernel would, by PR_SET_PDEATHSIG, but at once: nobody
could leave in order (and it strikes as soon as the *thread* ends that started the worker). So the launcher keeps this
small process beside its workers, in a session of its own and on a leash too, and with nothing to do that could hang.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence


class Guard:
    """The launcher's end of it."""

    def __init__(self, seconds: float) -> None:
        self._command = [sys.executable, "-P", "-m", "worker.guard", str(seconds)]
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._sent: list[int] = []  # what the process was told last
        return subprocess.Popen(
            self._command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def watch(self, pids: Sequence[int]) -> None:
        """Those that it is to kill; each a child that was not waited for yet, since others' pids are soon somebody
        else's. Cheap where nothing has changed."""
        with contextlib.suppress(OSError):  # it has just died, or there is no room for it: the next time
            if self._process is None or self._process.poll() is not None:
                self._process = self._start()
            if pids == self._sent:
                return
            assert self._process.stdin
            self._process.stdin.write(f"{' '.join(map(str, pids))}\n".encode())
            self._sent = list(pids)


def main(seconds: float) -> None:
    """Hear of workers, a line of pids each time they change, until the launcher ends, whatever ends it."""
    workers: list[int] = []  # descriptors, which never come to mean another process
    for line in sys.stdin:
        for worker in workers:
            os.close(worker)
        workers = [worker for pid in line.split() for worker in _descriptors(int(pid))]
    deadline = time.monotonic() + seconds
    for worker in workers:
        select.select([worker], [], [], max(0.0, deadline - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(worker, signal.SIGKILL)


def _descriptors(pid: int) -> list[int]:
    try:
        return [os.pidfd_open(pid)]
    except (OSError, AttributeError):  # it has just ended, or this system lends no such descriptors
        return []


if __name__ == "__main__":
    main(float(sys.argv[1]))
