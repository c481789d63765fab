"""A share of a core, for hosts that must not be faster than each other, however idle the machine is."""

import atexit
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Self

_CPU = Path("/sys/fs/cgroup/cpu")
_PERIOD_US = 100_000

# Runs a command in the group.
_WITHIN = 'echo $$ > "$0" && exec "$@"'


class NoCells(Exception):
    """This machine lends no control groups."""


class Cell:
    """Whatever is started in it has so much of a core together: a control group of the kernel's first kind, which is
    what a container's `--cpus` was. Raises NoCells."""

    _numbers = count(1)

    def __init__(self, cores: float) -> None:
        self._folder = _CPU / f"ballast-{os.getpid()}-{next(self._numbers)}"
        try:
            self._folder.mkdir()
            (self._folder / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (self._folder / "cpu.cfs_quota_us").write_text(str(round(cores * _PERIOD_US)))
        except OSError as error:
            raise NoCells(f"no share of a core can be given here: {error}") from None
        atexit.register(self.close)

    def command_within(self, command: Sequence[str]) -> list[str]:
        """Becomes that command, in the cell."""
        return ["sh", "-c", _WITHIN, str(self._folder / "cgroup.procs"), *command]

    def close(self) -> None:
        """Once what was in it has ended."""
        atexit.unregister(self.close)
        for _ in range(100):
            with suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
