"""What can be said of an experiment beside its state: what it waits for, how long it will take, whether it stalls."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapreplace
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Select, case, select

from core.spec import OF_A_GPU
from core.states import State
from core.store import turns
from core.store.checkpoints import RESERVED_MS
from core.store.clock import rfc3339
from core.store.experiments import Experiment, get
from core.store.tables import AnyRow, experiments, literally
from core.store.workers import count_serving, serving_device_kinds

NO_WORKER = "no worker is alive: start one with `ballast worker`, unless one is starting"
NO_GPU = f"no worker with a GPU is alive, and no CPU computes in {OF_A_GPU}"
PAUSED = "it is paused: resume it to queue it again"

_PLACES = 1000  # of the queue that are told; beyond, counting would cost more than it says
_STALLED_MS = 600_000
_STALLED_EPOCHS = 5


# Epochs that an attempt has still to train, or the next one will have: it goes on from the checkpoint.
EPOCHS_LEFT: ColumnElement[int] = experiments.c.epochs_total - case(
    (experiments.c.state == literally(State.RUNNING), experiments.c.attempt_epoch), else_=experiments.c.checkpoint_row
)


class Outlook(NamedTuple):
    waiting_because: str | None = None
    eta_seconds: float | None = None
    stalled: bool = False


class Place(NamedTuple):
    """In the queue."""

    before: int  # how many
    seconds: float | None  # until its turn; None where that cannot be told


def outlook(tx: Connection, found: Sequence[Experiment]) -> list[Outlook]:
    """Of each of `found`, in order."""
    waiting = [experiment for experiment in found if experiment.state is State.QUEUED]
    workers = count_serving(tx) if waiting else 0
    places = first_places(tx, experiments.c.id, workers) if waiting else {}
    limits = turns.limits(tx) if waiting else {}
    choosy = any(_is_reserved(each) or _needs_gpu(each) for each in waiting)
    kinds = serving_device_kinds(tx) if choosy else set()
    return [_outlook(each, places.get(each.id), workers, kinds, limited_because(each.owner, limits)) for each in found]


def _outlook(
    experiment: Experiment, place: Place | None, workers: int, kinds: set[str], limited: str | None
) -> Outlook:
    match experiment.state:
        case State.QUEUED if workers and _needs_gpu(experiment) and kinds <= {"cpu"}:
            return Outlook(waiting_because=NO_GPU)
        case State.QUEUED if workers and _is_reserved(experiment) and experiment.checkpoint_device_kind not in kinds:
            return Outlook(waiting_because=_reserved_because(experiment))
        case State.QUEUED:
            return Outlook(waiting_because=queued_because(place, workers, limited=limited))
        case State.PAUSED:
            return Outlook(waiting_because=PAUSED)
        case State.RUNNING:
            return Outlook(eta_seconds=_eta_seconds(experiment), stalled=_stalled(experiment))
    return Outlook()


def _needs_gpu(experiment: Experiment) -> bool:
    return bool(experiment.spec.get("precision") == OF_A_GPU)


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


def queued_because(place: Place | None, workers: int, whose: str = "it", limited: str | None = None) -> str:
    """For one at this place; None: its owner is `limited`, or too many are before it to be counted."""
    if not workers:
        return NO_WORKER
    if place is None and limited:
        return limited
    if place is None:
        return f"more than {_PLACES} are before {whose} in the queue"
    where = f"{whose} is the next in the queue" if place.before == 0 else f"{place.before} before {whose} in the queue"
    return f"{where}, and its turn comes in about {_roughly(place.seconds)}" if place.seconds else where


def _roughly(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min" if seconds < 90 * 60 else f"{round(seconds / 3600)} h"


def head_because(tx: Connection) -> str | None:
    """Why the head of the queue waits."""
    head = _queue(tx, experiments.c.id, 1)
    return outlook(tx, [get(tx, head[0].value)])[0].waiting_because if head else None


def first_places(tx: Connection, column: Column[int], workers: int) -> dict[int, Place]:
    """Of the first of each value of `column`, at the head of the queue."""
    running = tx.execute(_work(experiments.c.id).where(experiments.c.state == literally(State.RUNNING))).all()
    queued = _queue(tx, column, _PLACES + 1)
    turns = _turns(running, queued, workers)
    places: dict[int, Place] = {}
    for before, (row, seconds) in enumerate(zip(queued, turns, strict=True)):
        places.setdefault(row.value, Place(before, seconds))
    return places


def _queue(tx: Connection, column: Column[int], limit: int) -> list[AnyRow]:
    """The head of the queue, in the order of turns."""
    shares = turns.shares(tx)
    queued = _work(column).where(experiments.c.state == literally(State.QUEUED))
    first = queued.order_by(experiments.c.rank, experiments.c.id).limit(limit)
    queues = {owner: tx.execute(first.where(experiments.c.owner == owner)).all() for owner in shares}
    return list(islice(turns.in_turn(shares, queues), limit))


def _work(column: Column[int]) -> Select[Any]:
    return select(column.label("value"), experiments.c.pack_key, experiments.c.epoch_seconds, EPOCHS_LEFT.label("left"))


def _turns(running: Sequence[AnyRow], queued: Sequence[AnyRow], workers: int) -> Iterator[float | None]:
    """In how many seconds each of `queued` is taken; None from the first on that is behind one which is like none that
    has been measured."""
    mean = epoch_seconds_by_pack_key(
        (row.pack_key, row.epoch_seconds, 1) for row in (*running, *queued) if row.epoch_seconds
    )

    def seconds(row: AnyRow) -> float | None:
        each = row.epoch_seconds or mean.get(row.pack_key)
        return None if each is None else row.left * each

    pieces = [seconds(row) for row in running]
    known = [piece for piece in pieces if piece is not None]
    free = worker_loads(known, workers) if workers and len(known) == len(pieces) else None
    for row in queued:
        yield free[0] if free else None
        piece = seconds(row)
        if free and piece is not None:
            heapreplace(free, free[0] + piece)
        else:
            free = None


def epoch_seconds_by_pack_key(measured: Iterable[tuple[str, float, int]]) -> dict[str, float]:
    """What an epoch takes, by pack key: of (pack key, mean seconds, of so many)."""
    sums: dict[str, tuple[float, int]] = {}
    for pack_key, seconds, n in measured:
        total, count = sums.get(pack_key, (0.0, 0))
        sums[pack_key] = total + n * seconds, count + n
    return {pack_key: total / count for pack_key, (total, count) in sums.items()}


def worker_loads(pieces: Iterable[float], workers: int) -> list[float]:
    """How many seconds each worker is at work, a heap: whoever is free takes the next piece."""
    busy = [0.0] * workers
    for piece in pieces:
        heapreplace(busy, busy[0] + piece)
    return busy


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
