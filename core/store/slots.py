"""On what an experiment may train, and who may take it: each worker is a slot, on the CPU or on a GPU. How many of an
owner's come before it is the concern of `places`, who gets it that of `claims`.
"""

from collections.abc import Iterable
from heapq import heapreplace
from typing import NamedTuple

from sqlalchemy import Connection

from core.spec import OF_A_GPU, Spec
from core.states import DeviceType
from core.store.errors import WrongDevice
from core.store.workers import serving_device_kinds

SLOT_TYPES = (DeviceType.CPU, DeviceType.GPU)


def slot_type(device_kind: str) -> DeviceType:
    """Of a worker that trains on this kind of device: "cpu", or a GPU's model."""
    return DeviceType.CPU if device_kind == "cpu" else DeviceType.GPU


def devices_for(slot: DeviceType) -> tuple[DeviceType, DeviceType]:
    """What a slot may take: experiments for any device, and those for its own."""
    return DeviceType.ANY, slot


def device_of(spec: Spec, wished: DeviceType) -> DeviceType:
    """On what it may train, where its user wishes that: a GPU, for what no CPU computes in. Raises WrongDevice."""
    if spec.precision != OF_A_GPU:
        return wished
    if wished is DeviceType.CPU:
        raise WrongDevice(OF_A_GPU)
    return DeviceType.GPU


def devices_of(specs: Iterable[Spec], wished: DeviceType) -> list[DeviceType]:
    """`device_of` each."""
    return [device_of(spec, wished) for spec in specs]


class Slots(NamedTuple):
    """How many workers can take an experiment, now or when they have ended one."""

    cpu: int
    gpu: int

    @property
    def total(self) -> int:
        return self.cpu + self.gpu

    @property
    def types(self) -> list[DeviceType]:
        """Those that there are."""
        return [each for each in SLOT_TYPES if self.of(each)]

    def of(self, slot: DeviceType) -> int:
        return self.gpu if slot is DeviceType.GPU else self.cpu

    def types_for(self, device: DeviceType) -> list[DeviceType]:
        """Those that there are and that may take what may train on `device`."""
        return [each for each in self.types if device in devices_for(each)]


def serving_slots(tx: Connection) -> Slots:
    """The workers that are alive and not leaving."""
    kinds = serving_device_kinds(tx)
    gpus = sum(n for kind, n in kinds.items() if slot_type(kind) is DeviceType.GPU)
    return Slots(kinds.get("cpu", 0), gpus)


def makespan(pieces: Iterable[tuple[DeviceType, float]], slots: Slots) -> float | None:
    """Seconds until all are done, where whoever is free takes the next that it may; None where nobody may take one of
    them."""
    busy = {each: [0.0] * slots.of(each) for each in slots.types}
    types_for = {device: slots.types_for(device) for device in DeviceType}
    for device, seconds in pieces:
        if not types_for[device]:
            return None
        heap = min((busy[each] for each in types_for[device]), key=lambda each: each[0])
        heapreplace(heap, heap[0] + seconds)
    return max(max(heap) for heap in busy.values())
