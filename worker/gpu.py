"""How full a process's GPU is, as the driver tells. Asked in a thread of its own: a driver may hang for ever, and no
heartbeat waits for it.
"""

import os
import time

import pynvml
import structlog

from core.store.workers import GpuUse
from worker.threads import every

log = structlog.get_logger()

_MIB = 1024 * 1024
_STALE_AFTER = 4  # periods: what the driver said before it fell silent is no news


class GpuMeter:
    """Of the GPU that this process was given, by what it is shown as CUDA_VISIBLE_DEVICES (worker/devices.py)."""

    def __init__(self, uuid: str, seconds: float) -> None:
        """`uuid`: of the GPU, as torch tells it, where it is not said by one."""
        shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        self._uuid = shown if shown.startswith("MIG-") else uuid
        self._seconds = seconds
        self._last: tuple[float, GpuUse] | None = None
        self._initialized = False

    def start(self) -> None:
        every(self._seconds, "gpu", self.read)

    def read(self) -> None:
        try:
            if not self._initialized:
                pynvml.nvmlInit()
                self._initialized = True
            self._last = time.monotonic(), _use(pynvml.nvmlDeviceGetHandleByUUID(self._uuid))
        except pynvml.NVMLError as error:
            if self._last is not None:
                log.warning("how full the GPU is, the driver does not tell any more", error=str(error))
            self._last = None

    def last_use(self) -> GpuUse | None:
        """None where the driver does not tell, or not any more."""
        last = self._last  # another thread may forget it
        if last is None or time.monotonic() - last[0] > _STALE_AFTER * self._seconds:
            return None
        return last[1]


def _use(handle: object) -> GpuUse:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        utilisation = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except pynvml.NVMLError:  # as of a MIG slice
        utilisation = None
    return GpuUse(memory.used // _MIB, memory.total // _MIB, utilisation)
