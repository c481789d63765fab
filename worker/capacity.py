"""How many worker processes the cores and the memory of this host bear, as its container may limit them. On which
devices they train is for worker.devices.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from joblib.externals.loky import cpu_count

# A worker process that trained a cnn of 64 channels with batches of 16 on the whole of MNIST's 0 and 1, evaluated and
# saved, was resident with 0.54 GiB at its peak. The rest is for larger networks and batches.
PROCESS_BYTES = 3 * 2**28

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Capacity:
    cores: int  # that this process may use
    available: int  # bytes of memory that it may still take

    @property
    def processes(self) -> int:
        """One a core, and no more than there is memory for; at least one."""
        return max(1, min(self.cores, self.available // PROCESS_BYTES))

    @property
    def short_of_memory(self) -> bool:
        return self.processes < self.cores

    def __str__(self) -> str:
        if self.cores == 1:
            return "a worker process for the one core"
        if not self.short_of_memory:
            return f"a worker process for each of {self.cores} cores"
        count = "1 worker process" if self.processes == 1 else f"{self.processes} worker processes"
        fitting = self.available // PROCESS_BYTES or "less than one"
        memory = f"{self.available / 2**30:.1f} GiB available, {PROCESS_BYTES / 2**30:g} GiB each"
        return f"{count}: {self.cores} cores, and memory for {fitting} ({memory})"


def capacity() -> Capacity:
    """What is free now."""
    try:
        cgroups = Path("/proc/self/cgroup").read_text()
    except OSError:  # another system than Linux
        cgroups = ""
    available = min(psutil.virtual_memory().available, room_in(cgroups, _ROOT))
    return Capacity(cpu_count(), int(available))  # by affinity, and the container's quota


def room_in(cgroups: str, root: Path) -> float:
    """Bytes that a process may still take whose /proc/self/cgroup reads `cgroups`, where these are mounted at `root`:
    the least that one of them leaves. Infinite where none has a limit."""
    return max(0, min(map(_room, _folders(cgroups, root)), default=math.inf))


def _folders(cgroups: str, root: Path) -> Iterator[Path]:
    """Of its memory, of version 1 and 2, and all above. In a container they may be named as the host sees them: its own
    is then the root."""
    for line in cgroups.splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds in ("", "memory"):
            top = root / kinds
            inside = Path(path[1:])
            yield from (top / part for part in [inside, *inside.parents])


def _room(folder: Path) -> float:
    """What its files can be pushed out for, such as those of a data set, is room."""
    for limit, used, files in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            bound = (folder / limit).read_text().strip()
            if bound != "max":
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                return int(bound) - int((folder / used).read_text()) + int(stat[files])
        except OSError:
            continue
    return math.inf
