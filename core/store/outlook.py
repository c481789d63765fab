"""What can be said of an experiment beside its state: what it waits for, how long it will take, whether it stalls."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from core.states import DeviceType, State
from core.store import turns
from core.store.checkpoints import RESERVED_MS
from core.store.clock import rfc3339
from core.store.experiments import Experiment
from core.store.places import PLACES, Place, first_places
from core.store.slots import Slots, serving_slots
from core.store.tables import experiments
from core.store.workers import serving_device_kinds

NO_WORKER = "no worker is alive: start one with `ballast worker`, unless one is starting"
NO_GPU = "no worker with a GPU is alive, and it may train on nothing else: `ballast worker --devices all` starts some"
NO_CPU = "no worker on a CPU is alive, and it may train on nothing else: `ballast worker --devices cpu` starts some"
PAUSED = "it is paused: resume it to queue it again"

_STALLED_MS = 600_000
_STALLED_EPOCHS = 5


class Outlook(NamedTuple):
    waiting_because: str | None = None
    eta_seconds: float | None = None
    stalled: bool = False


def outlook(tx: Connection, found: Sequence[Experiment]) -> list[Outlook]:
    """Of each of `found`, in order."""
    waiting = [experiment for experiment in found if experiment.state is State.QUEUED]
    slots = serving_slots(tx) if waiting else Slots(0, 0)
    places = first_places(tx, experiments.c.id, slots) if waiting else {}
    limits = turns.limits(tx) if waiting else {}
    kinds = set(serving_device_kinds(tx)) if any(map(_is_reserved, waiting)) else set()
    return [_outlook(each, places.get(each.id), slots, kinds, limited_because(each.owner, limits)) for each in found]


def _outlook(
    experiment: Experiment, place: Place | None, slots: Slots, kinds: set[str], limited: str | None
) -> Outlook:
    match experiment.state:
        case State.QUEUED if nobody := nobody_because({experiment.device}, slots):
            return Outlook(waiting_because=nobody)
        case State.QUEUED if _is_reserved(experiment) and experiment.checkpoint_device_kind not in kinds:
            return Outlook(waiting_because=_reserved_because(experiment))
        case State.QUEUED:
            return Outlook(waiting_because=queued_because(place, limited=limited))
        case State.PAUSED:
            return Outlook(waiting_because=PAUSED)
        case State.RUNNING:
            return Outlook(eta_seconds=_eta_seconds(experiment), stalled=_stalled(experiment))
    return Outlook()


def nobody_because(devices: Collection[DeviceType], slots: Slots) -> str | None:
    """Why nobody takes what may train on one of `devices`, whatever its place; None where somebody may."""
    if not slots.total:
        return NO_WORKER
    if any(slots.types_for(device) for device in devices):
        return None
    return NO_GPU if DeviceType.GPU in devices else NO_CPU


def _is_reserved(experiment: Experiment) -> bool:
    return experiment.checkpoint_device_kind is not None and _reserved_until_ms(experiment) > experiment.read_ms


def _reserved_until_ms(experiment: Experiment) -> int:
    return (experiment.requeued_ms or 0) + RESERVED_MS


def _reserved_because(experiment: Experiment) -> str:
    until = rfc3339(_reserved_until_ms(experiment))[11:16]
    kind = experiment.checkpoint_device_kind
    return f"until {until} UTC it waits for the kind of device that wrote its checkpoint, {kind}"


def limited_because(owner: str, limits: Mapping[str, int]) -> str | None:
    """Why one has no place in the queue, where that may be since its owner may not have more running."""
    return f"of {owner} only {limits[owner]} may run at once" if owner in limits else None


def queued_because(place: Place | None, whose: str = "it", limited: str | None = None) -> str:
    """For one at this place; None: its owner is `limited`, or too many are before it to be counted."""
    if place is None and limited:
        return limited
    if place is None:
        return f"more than {PLACES} are before {whose} in the queue"
    where = f"{whose} is the next in the queue" if place.before == 0 else f"{place.before} before {whose} in the queue"
    return f"{where}, and its turn comes in about {_roughly(place.seconds)}" if place.seconds else where


def _roughly(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min" if seconds < 90 * 60 else f"{round(seconds / 3600)} h"


def _eta_seconds(experiment: Experiment) -> float | None:
    if experiment.epoch_seconds is None:
        return None
    return (experiment.epochs_total - experiment.attempt_epoch) * experiment.epoch_seconds


def _stalled(experiment: Experiment) -> bool:
    """Its worker lives, and no row has come for far longer than rows take."""
    if experiment.progress_ms is None or (experiment.lease_until_ms or 0) < experiment.read_ms:
        return False
    row_seconds = (experiment.epoch_seconds or 0) * int(experiment.spec.get("eval_every", 1))
    return experiment.read_ms - experiment.progress_ms > max(_STALLED_MS, _STALLED_EPOCHS * 1000 * row_seconds)
