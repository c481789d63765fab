"""What can be said of an experiment beside its state: what it waits for, how long it will take, whether it stalls."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Column, Connection, Select, select

from core.states import State
from core.store.checkpoints import RESERVED_MS
from core.store.clock import rfc3339
from core.store.experiments import Experiment, get
from core.store.tables import experiments, literally
from core.store.workers import kinds, takers

NO_WORKER = "no worker is alive: start one with `ballast worker`, unless one is starting"
PAUSED = "it is paused: resume it to queue it again"

_PLACES = 1000  # of the queue that are told; beyond, counting would cost more than it says
_STALLED_MS = 600_000
_STALLED_EPOCHS = 5


class Outlook(NamedTuple):
    waiting_because: str | None = None
    eta_seconds: float | None = None
    stalled: bool = False


def outlook(tx: Connection, found: Sequence[Experiment]) -> list[Outlook]:
    """Of each of `found`, in order."""
    waiting = [experiment for experiment in found if experiment.state is State.QUEUED]
    places, workers = (places_by(tx, experiments.c.id), takers(tx)) if waiting else ({}, 0)
    there = kinds(tx) if any(map(_is_reserved, waiting)) else set()
    return [_outlook(experiment, places, workers, there) for experiment in found]


def _outlook(experiment: Experiment, places: dict[int, int], workers: int, there: set[str]) -> Outlook:
    match experiment.state:
        case State.QUEUED if workers and _is_reserved(experiment) and experiment.checkpoint_kind not in there:
            return Outlook(waiting_because=_reserved_because(experiment))
        case State.QUEUED:
            return Outlook(waiting_because=queued_because(places.get(experiment.id), workers))
        case State.PAUSED:
            return Outlook(waiting_because=PAUSED)
        case State.RUNNING:
            return Outlook(eta_seconds=_eta_seconds(experiment), stalled=_stalled(experiment))
    return Outlook()


def _is_reserved(experiment: Experiment) -> bool:
    return experiment.checkpoint_kind is not None and _reserved_until_ms(experiment) > experiment.read_ms


def _reserved_until_ms(experiment: Experiment) -> int:
    return (experiment.requeued_ms or 0) + RESERVED_MS


def _reserved_because(experiment: Experiment) -> str:
    until = rfc3339(_reserved_until_ms(experiment))[11:16]
    return f"until {until} UTC it waits for the kind of device that wrote its checkpoint, {experiment.checkpoint_kind}"


def queued_because(place: int | None, workers: int) -> str:
    """For one that so many are before; None: too many to count."""
    if not workers:
        return NO_WORKER
    if place is None:
        return f"more than {_PLACES} are before it in the queue"
    return "it is the next in the queue" if place == 0 else f"{place} before it in the queue"


def head_because(tx: Connection) -> str | None:
    """Why the head of the queue waits."""
    found = tx.execute(_queue(experiments.c.id).limit(1)).scalar()
    return None if found is None else outlook(tx, [get(tx, found)])[0].waiting_because


def places_by(tx: Connection, column: Column[int]) -> dict[int, int]:
    """How many are before the first of each value of `column`, at the head of the queue."""
    places: dict[int, int] = {}
    for place, value in enumerate(tx.execute(_queue(column).limit(_PLACES + 1)).scalars()):
        places.setdefault(value, place)
    return places


def _queue(column: Column[int]) -> Select[int]:
    queued = select(column).where(experiments.c.state == literally(State.QUEUED))
    return queued.order_by(experiments.c.rank, experiments.c.id)


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
