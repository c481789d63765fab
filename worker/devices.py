"""Which devices this host trains on: one process per GPU, else as many on the CPU as it bears (worker.capacity).

The process of a GPU sees that one alone, by its UUID: a number would mean another GPU as soon as one falls off the bus.

python -P -m worker.devices prints them, what each process is shown, how many GPUs there are, and what was found of the
CPU where it is trained on, as JSON: what `ballast doctor` and `ballast bench` ask.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import pynvml

from core.errors import BallastError
from core.settings import GPU, load_settings
from worker.capacity import capacity

_DEVICES = re.compile(rf"auto|all|cpu|{GPU}(,{GPU})*")
_ENTRY = re.compile(r"\d+$|GPU-|MIG-")  # of CUDA_VISIBLE_DEVICES; at anything else CUDA stops reading


class DevicesMistyped(BallastError):
    """`--devices` and `--processes` that mean nothing."""


class NoGpu(BallastError):
    """All GPUs are wanted of a host that has none."""


@dataclass(frozen=True, slots=True)
class Device:
    """What one process trains on."""

    name: str  # for people: "cpu", or "cuda:3" for the fourth GPU of this host
    visible: str | None = None  # all that its process is shown as CUDA_VISIBLE_DEVICES; None: what we are shown

    @property
    def name_inside(self) -> str:
        """What torch calls it in its process."""
        return self.name if self.visible is None else "cuda:0"


def plan(devices: str, processes: int | None) -> list[Device]:
    """The device of each process. `auto`: at most `processes` GPUs, or so many processes on the CPU. A GPU that is not
    there is planned too: its process says so. Raises DevicesMistyped, NoGpu."""
    _check(devices, processes)
    if devices == "cpu":
        return _on_cpu(processes)
    gpus = _gpus()
    if devices == "auto":
        return gpus[:processes] or _on_cpu(processes)
    if devices == "all":
        if not gpus:
            raise NoGpu("the driver knows of no GPU that --devices all could mean: say --devices cpu")
        return gpus
    known = {gpu.name: gpu for gpu in gpus}
    return [known.get(name, Device(name)) for name in devices.split(",")] * (processes or 1)


def in_words(planned: Sequence[Device]) -> str:
    names = ", ".join(dict.fromkeys(device.name for device in planned))
    return f"1 worker on {names}" if len(planned) == 1 else f"{len(planned)} workers on {names}"


def _check(devices: str, processes: int | None) -> None:
    if not _DEVICES.fullmatch(devices):
        raise DevicesMistyped(f"--devices {devices[:100]} means nothing: say all, cpu, cuda:0 or cuda:0,cuda:1")
    names = devices.split(",")
    if len(set(names)) < len(names):
        raise DevicesMistyped(f"--devices {devices} names a GPU twice: say --devices {names[0]} --processes 2")
    if processes and (devices == "all" or len(names) > 1):
        raise DevicesMistyped("--processes is for the CPU or a single GPU: leave it out, and each GPU has one process")


def _on_cpu(processes: int | None) -> list[Device]:
    return [Device("cpu")] * (processes or capacity().processes)


def _gpus() -> list[Device]:
    """Asked of the driver: torch would create a CUDA context in the launcher."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [Device(f"cuda:{index}", entry) for index, entry in enumerate(_entries())]
    finally:
        pynvml.nvmlShutdown()


def _entries() -> list[str]:
    """One of CUDA_VISIBLE_DEVICES a GPU: as we were given them, of whatever kind; the driver knows nothing of these."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [_uuid(index) for index in range(pynvml.nvmlDeviceGetCount())]
    return list(takewhile(_ENTRY.match, map(str.strip, given.split(","))))


def _uuid(index: int) -> str:
    try:
        return str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index)))
    except pynvml.NVMLError:  # as of one that fell off the bus
        return ""  # no GPU at all, rather than one that is another process's


if __name__ == "__main__":
    planned = plan(load_settings().device, None)
    names, visible = [device.name for device in planned], [device.visible for device in planned]
    on_cpu = str(capacity()) if "cpu" in names else ""
    print(json.dumps({"devices": names, "visible": visible, "gpus": len(_gpus()), "on_cpu": on_cpu}))
