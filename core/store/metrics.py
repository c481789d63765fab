"""What is going on, counted: for `/queue/stats` and `/metrics`. Every statement here is asked again and again: few, and
each by an index or of a small table (core/store/README.md, "Metrics").
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from sqlalchemy import Connection, func, select

from core.states import DeviceType, ErrorKind, State, WorkerState
from core.store import tallies
from core.store.clock import now_ms
from core.store.slots import Slots, serving_slots
from core.store.tables import experiments, literally, workers
from core.store.tallies import Tally
from core.store.workers import GpuUse, gpu_use_of, seen_alive


@dataclass(frozen=True, slots=True)
class Load:
    """What an owner has for a device."""

    owner: str
    device: DeviceType
    queued: int
    running: int
    oldest_seconds: float | None  # how long the first of the queued is in the queue; None: none is


@dataclass(frozen=True, slots=True)
class Queue:
    loads: list[Load]
    paused: int
    slots: Slots


@dataclass(frozen=True, slots=True)
class Gpu:
    """As a worker that is alive has seen it."""

    host: str
    device: str
    use: GpuUse


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is scraped."""

    loads: list[Load]
    workers: dict[tuple[WorkerState, str], int]  # that are alive, by state and kind of device
    epoch_seconds: dict[str, float]  # of what runs, the median by kind of device
    gpus: list[Gpu]
    totals: dict[tuple[Tally, ErrorKind | None], int]
    round_trip_seconds: float  # to the database, and back


def queue(tx: Connection) -> Queue:
    paused = select(func.count()).select_from(experiments).where(experiments.c.state == literally(State.PAUSED))
    return Queue(_loads(tx), tx.execute(paused).scalar_one(), serving_slots(tx))


def facts(tx: Connection) -> Facts:
    began = time.perf_counter()
    tx.execute(select(1))
    round_trip = time.perf_counter() - began
    states, gpus = _alive(tx)
    return Facts(_loads(tx), states, _epoch_seconds(tx), gpus, tallies.totals(tx), round_trip)


def oldest(loads: Iterable[Load]) -> float | None:
    """Of several."""
    return max((load.oldest_seconds for load in loads if load.oldest_seconds is not None), default=None)


def _loads(tx: Connection) -> list[Load]:
    """By owner and device, in their order."""
    which = (experiments.c.owner, experiments.c.device)
    waited = now_ms() - func.min(experiments.c.requeued_ms)
    queued = tx.execute(
        select(*which, func.count().label("n"), waited.label("waited_ms"))
        .where(experiments.c.state == literally(State.QUEUED))
        .group_by(*which)
    )
    running = tx.execute(
        select(*which, func.count().label("n")).where(experiments.c.state == literally(State.RUNNING)).group_by(*which)
    )
    queued_by = {(row.owner, DeviceType(row.device)): row for row in queued}
    running_by = {(row.owner, DeviceType(row.device)): int(row.n) for row in running}
    return [
        Load(
            *each,
            queued=queued_by[each].n if each in queued_by else 0,
            running=running_by.get(each, 0),
            oldest_seconds=max(0, queued_by[each].waited_ms or 0) / 1000 if each in queued_by else None,
        )
        for each in sorted({*queued_by, *running_by})
    ]


def _alive(tx: Connection) -> tuple[dict[tuple[WorkerState, str], int], list[Gpu]]:
    """Several processes may share a GPU: it is as the one seen last has seen it."""
    states: dict[tuple[WorkerState, str], int] = {}
    gpus: dict[tuple[str, str], Gpu] = {}
    for row in tx.execute(select(workers).where(seen_alive()).order_by(workers.c.seen_ms)):
        state = (WorkerState(row.state), row.kind)
        states[state] = states.get(state, 0) + 1
        if use := gpu_use_of(row):
            gpus[row.host, row.device] = Gpu(row.host, row.device, use)
    return states, list(gpus.values())


def _epoch_seconds(tx: Connection) -> dict[str, float]:
    running = tx.execute(
        select(workers.c.device_kind, experiments.c.epoch_seconds)
        .join(workers, workers.c.id == experiments.c.worker_id)
        .where(experiments.c.state == literally(State.RUNNING), experiments.c.epoch_seconds.is_not(None))
    )
    seconds: dict[str, list[float]] = {}
    for row in running:
        seconds.setdefault(row.kind, []).append(row.epoch_seconds)
    return {kind: median(each) for kind, each in seconds.items()}
