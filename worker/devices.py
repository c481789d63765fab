"""Which devices this host trains on: one process per GPU, else one a core, at most four.

python -P -m worker.devices prints them, and how many GPUs there are, as JSON: what `ballast doctor` asks.
"""

import json
import os

import pynvml

from core.settings import Settings, load_settings

MAX_CPU_PROCESSES = 4


def plan(settings: Settings, processes: int | None) -> list[str]:
    """One device name a process: at most `processes` GPUs, or so many processes on the CPU."""
    if settings.device != "auto":
        return [settings.device] * (processes or (_cpu_processes() if settings.device == "cpu" else 1))
    gpus = _gpu_count()
    if gpus:
        return [f"cuda:{index}" for index in range(gpus)][:processes]
    return ["cpu"] * (processes or _cpu_processes())


def _cpu_processes() -> int:
    return min(len(os.sched_getaffinity(0)), MAX_CPU_PROCESSES)


def _gpu_count() -> int:
    """From the driver, which does not know what CUDA_VISIBLE_DEVICES hides: asking torch would create a CUDA context in
    the launcher."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            return int(pynvml.nvmlDeviceGetCount())
        return sum(name.strip() not in ("", "-1") for name in visible.split(","))
    finally:
        pynvml.nvmlShutdown()


if __name__ == "__main__":
    print(json.dumps({"devices": plan(load_settings(), None), "gpus": _gpu_count()}))
