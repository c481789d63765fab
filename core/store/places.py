"""Places in the queue: how many are before each experiment, and when its turn comes, if nothing ended and nothing came.
In what words that is said is the concern of `outlook`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heapreplace, merge
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Select, case, select

from core.states import DeviceType, State
from core.store import turns
from core.store.slots import Slots, devices_for, slot_type
from core.store.tables import AnyRow, experiments, literally, workers

PLACES = 1000  # of the queue that are told; beyond, counting would cost more than it says

# Epochs that an attempt has still to train, or the next one will have: it goes on from the checkpoint.
EPOCHS_LEFT: ColumnElement[int] = experiments.c.epochs_total - case(
    (experiments.c.state == literally(State.RUNNING), experiments.c.attempt_epoch), else_=experiments.c.checkpoint_row
)


class Place(NamedTuple):
    """In the queue of those workers that may take it: of the CPUs or of the GPUs, wherever fewer are before it."""

    before: int  # how many
    seconds: float | None  # until its turn; None where that cannot be told
    experiment_id: int


def first_places(tx: Connection, column: Column[int], slots: Slots) -> dict[int, Place]:
    """Of the first of each value of `column`, at the head of the queue; of nothing that no worker may take."""
    if not slots.total:
        return {}
    running = tx.execute(_running()).all()
    orders = _orders(tx, column, slots)
    seconds = _turns(running, orders, slots)
    places: dict[int, Place] = {}
    for order in orders.values():
        for before, row in enumerate(order):
            if row.value is not None and (row.value not in places or before < places[row.value].before):
                places[row.value] = Place(before, seconds.get(row.id), row.id)
    return places


def _orders(tx: Connection, column: Column[int], slots: Slots) -> dict[DeviceType, list[AnyRow]]:
    """The head of the queue, in the order of turns, as each type of slot would take it."""
    shares = turns.shares(tx)
    devices = {device for slot in slots.types for device in devices_for(slot)}
    queues = {(owner, device): _queue(tx, column, owner, device) for owner in shares for device in devices}
    orders = {}
    for slot in slots.types:
        of_owners = {
            owner: merge(*(queues[owner, device] for device in devices_for(slot)), key=lambda row: (row.rank, row.id))
            for owner in shares
        }
        orders[slot] = list(islice(turns.in_turn(shares, of_owners), PLACES + 1))
    return orders


def _queue(tx: Connection, column: Column[int], owner: str, device: DeviceType) -> Sequence[AnyRow]:
    """The head of what an owner has queued for a device."""
    queued = _work(column.label("value"), experiments.c.rank).where(
        experiments.c.state == literally(State.QUEUED),
        experiments.c.owner == owner,
        experiments.c.device == device,
    )
    return tx.execute(queued.order_by(experiments.c.rank, experiments.c.id).limit(PLACES + 1)).all()


def _running() -> Select[Any]:
    """With the kind of device that it runs on."""
    return (
        _work(workers.c.device_kind)
        .join(workers, workers.c.id == experiments.c.worker_id)
        .where(experiments.c.state == literally(State.RUNNING))
    )


def _work(*columns: ColumnElement[Any]) -> Select[Any]:
    work = (experiments.c.id, experiments.c.pack_key, experiments.c.epoch_seconds, EPOCHS_LEFT.label("left"))
    return select(*work, *columns).select_from(experiments)


def _turns(running: Sequence[AnyRow], orders: Mapping[DeviceType, Sequence[AnyRow]], slots: Slots) -> dict[int, float]:
    """In how many seconds each is taken, by whoever is free first and may; of none that is behind one which is like
    none that has been measured."""
    queued = [row for order in orders.values() for row in order]
    seconds = _seconds(running, queued)
    free = _free_at([(slot_type(row.kind), seconds(row)) for row in running], slots)
    left = {slot: iter(order) for slot, order in orders.items()}
    taken: dict[int, float] = {}
    while free:
        at, slot = free[0]
        row = next((row for row in left[slot] if row.id not in taken), None)
        if row is None:
            heappop(free)
            continue
        taken[row.id] = at
        piece = seconds(row)
        if piece is None:
            break
        heapreplace(free, (at + piece, slot))
    return taken


def _free_at(pieces: Sequence[tuple[DeviceType, float | None]], slots: Slots) -> list[tuple[float, DeviceType]]:
    """When each slot is free, a heap; empty where that cannot be told."""
    busy: dict[DeviceType, list[float]] = {slot: [0.0] * slots.of(slot) for slot in slots.types}
    for slot, seconds in pieces:
        if seconds is None:
            return []
        if slot in busy:  # else its worker is leaving
            heapreplace(busy[slot], busy[slot][0] + seconds)
    free = [(at, slot) for slot, each in busy.items() for at in each]
    heapify(free)
    return free


def _seconds(running: Sequence[AnyRow], queued: Sequence[AnyRow]) -> Callable[[AnyRow], float | None]:
    """What an experiment takes, as far as that is known."""
    rows = {row.id: row for row in (*running, *queued)}.values()
    mean = epoch_seconds_by_pack_key((row.pack_key, row.epoch_seconds, 1) for row in rows if row.epoch_seconds)

    def seconds(row: AnyRow) -> float | None:
        each = row.epoch_seconds or mean.get(row.pack_key)
        return None if each is None else row.left * each

    return seconds


def epoch_seconds_by_pack_key(measured: Iterable[tuple[str, float, int]]) -> dict[str, float]:
    """What an epoch takes, by pack key: of (pack key, mean seconds, of so many)."""
    sums: dict[str, tuple[float, int]] = {}
    for pack_key, seconds, n in measured:
        total, count = sums.get(pack_key, (0.0, 0))
        sums[pack_key] = total + n * seconds, count + n
    return {pack_key: total / count for pack_key, (total, count) in sums.items()}
