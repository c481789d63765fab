"""Sweeps: submitted whole or not at all, read, grown, wished for and deleted.

Whoever changes a sweep locks its row first, then its members in the order of their ids.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from statistics import fmean

from sqlalchemy import Connection, delete, func, insert, select, update

from core.grids import Grid, seeds_in_order
from core.spec import Spec
from core.states import ENDED, WAITING, Ask, DeviceType, State, Wish
from core.store import checkpoints, turns, wishes
from core.store.clock import now_ms
from core.store.errors import NotFound, SweepChanged
from core.store.experiments import get as get_experiment
from core.store.experiments import lock_digest, submit_members
from core.store.moves import lock_all
from core.store.outlook import PAUSED, limited_because, nobody_because, outlook, queued_because
from core.store.places import EPOCHS_LEFT, Place, epoch_seconds_by_pack_key, first_places
from core.store.ranks import change_priority
from core.store.session import actor_of
from core.store.slots import Slots, devices_of, makespan, serving_slots
from core.store.tables import LARGEST, AnyRow, experiments, is_id, sweeps
from core.sweep_faults import refuse_too_many

_DELETED_AT_ONCE = 100  # members with their curves: a heartbeat must not wait long for SQLite


@dataclass(frozen=True, slots=True)
class Sweep:
    id: int
    name: str
    preset: str | None
    owner: str
    device: DeviceType  # for which it was submitted
    grids: list[Grid]
    extends: int | None  # the sweep whose members its own go on from
    created_ms: int
    counts: dict[State, int]  # of members, by every state
    epochs_done: int
    epochs_total: int
    # The time of its own work, once it is its turn, on the workers that there are. None: nothing left, nothing measured
    # yet, or nobody to train it.
    eta_seconds: float | None
    waiting_because: str | None  # what stands before those of its members that are queued, or that it is paused


def submit(
    tx: Connection,
    grids: Sequence[Grid],
    specs: Sequence[Spec],
    *,
    name: str = "",
    preset: str | None = None,
    priority: int = 0,
    device: DeviceType = DeviceType.ANY,
    devices: Sequence[DeviceType] | None = None,
    extends: int | None = None,
) -> int:
    """The id of a new sweep of who acts, its members queued seed by seed; for `device`, unless `devices` says for what
    each is. Raises QueueFull, WrongDevice."""
    owner = actor_of(tx)
    devices = devices_of(specs, device) if devices is None else devices
    turns.remember(tx, owner)
    row = insert(sweeps).values(
        owner=owner,
        name=name,
        preset=preset,
        grids=_json(grids),
        next_position=len(specs),
        extends=extends,
        device=device,
        created_ms=now_ms(),
    )
    sweep_id: int = tx.execute(row.returning(sweeps.c.id)).scalar_one()
    submit_members(tx, specs, devices, priority, sweep_id, owner, seeds=seeds_in_order(grids))
    return sweep_id


def get(tx: Connection, sweep_id: int) -> Sweep:
    """Raises NotFound."""
    row = tx.execute(select(sweeps).where(sweeps.c.id == sweep_id)).one_or_none() if is_id(sweep_id) else None
    if row is None:
        raise NotFound(sweep_id, "sweep")
    return _with_progress(tx, [row])[0]


def owner_of(tx: Connection, sweep_id: int) -> str:
    """Raises NotFound."""
    owner: str | None = tx.execute(select(sweeps.c.owner).where(sweeps.c.id == min(sweep_id, LARGEST))).scalar()
    if owner is None:
        raise NotFound(sweep_id, "sweep")
    return owner


def list_newest(tx: Connection, limit: int, before: int | None = None) -> list[Sweep]:
    """At most `limit` sweeps, newest first; with `before`, those with a smaller id."""
    query = select(sweeps).order_by(sweeps.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(sweeps.c.id < min(before, LARGEST))
    return _with_progress(tx, tx.execute(query).all())


def newest_with_digests(tx: Connection, specs: Sequence[Spec]) -> int | None:
    """The newest sweep of just these specs, none of whose members is cancelled, or going to be; None if there is none.
    Whoever looks for the same meanwhile waits for the end of this transaction."""
    wanted = {spec.digest for spec in specs}
    one = min(wanted)  # whatever the order of the specs: who looks for the same must wait at the same lock
    lock_digest(tx, one)
    member = experiments.c.sweep_id
    candidates = select(member).where(experiments.c.digest == one, member.is_not(None)).distinct()
    for sweep_id in tx.execute(candidates.order_by(member.desc())).scalars().all():
        there = tx.execute(
            select(experiments.c.digest, experiments.c.state, experiments.c.requested).where(member == sweep_id)
        ).all()
        cancelled = any(row.state == State.CANCELLED or row.requested == Wish.CANCEL for row in there)
        if not cancelled and {row.digest for row in there} == wanted:
            return int(sweep_id)
    return None


def grow(
    tx: Connection,
    sweep_id: int,
    grids: Sequence[Grid],
    larger: Sequence[Grid],
    specs: Sequence[Spec],
    priority: int = 0,
    device: DeviceType | None = None,
) -> None:
    """Let its `grids` become the `larger` ones, and add those of their `specs` that the sweep has not; for `device`, or
    where none is said, for that for which the sweep was submitted. Raises NotFound, BadSweep, QueueFull, WrongDevice,
    and SweepChanged where its grids are others by now."""
    sweep = lock(tx, sweep_id)
    if _grids(sweep) != list(grids):
        raise SweepChanged(sweep_id)
    new = missing(tx, sweep_id, specs)
    submit_members(
        tx,
        new,
        devices_of(new, device or DeviceType(sweep.device)),
        priority,
        sweep_id,
        sweep.owner,
        seeds=seeds_in_order(larger),
        first_position=sweep.next_position,
    )
    tx.execute(
        update(sweeps)
        .where(sweeps.c.id == sweep_id)
        .values(grids=_json(larger), next_position=sweep.next_position + len(new))
    )


def missing(tx: Connection, sweep_id: int, specs: Sequence[Spec]) -> list[Spec]:
    """Those of `specs` that no member has. Raises BadSweep where there would be too many members."""
    there = set(tx.execute(select(experiments.c.digest).where(experiments.c.sweep_id == sweep_id)).scalars())
    new = [spec for spec in specs if spec.digest not in there]
    refuse_too_many(len(there) + len(new))
    return new


def ask(tx: Connection, sweep_id: int, what: Ask) -> Sweep:
    """The wish for every member that can have it. Raises NotFound, and QueueFull where not all may be queued."""
    lock(tx, sweep_id)
    wishes.ask_all(tx, lock_all(tx, experiments.c.sweep_id == sweep_id), what)
    return get(tx, sweep_id)


def set_priority(tx: Connection, sweep_id: int, priority: int) -> Sweep:
    """Another place in the queue for every member that waits. Raises NotFound."""
    lock(tx, sweep_id)
    waiting = (experiments.c.sweep_id == sweep_id) & experiments.c.state.in_(WAITING)
    change_priority(tx, lock_all(tx, waiting), priority)
    return get(tx, sweep_id)


def remove_some(tx: Connection, sweep_id: int) -> tuple[Sweep, set[str]]:
    """Delete some of the members that have ended, and the sweep with its last member. Returns what is left, and the
    folders of the checkpoints, for `files.tidy`. Raises NotFound."""
    row = lock(tx, sweep_id)
    ended = (experiments.c.sweep_id == sweep_id) & experiments.c.state.in_(ENDED)
    some = [member.id for member in lock_all(tx, ended, limit=_DELETED_AT_ONCE)]
    folders = checkpoints.folders_of(tx, some)
    tx.execute(delete(experiments).where(experiments.c.id.in_(some)))
    (left,) = _with_progress(tx, [row])
    if not any(left.counts.values()):
        tx.execute(delete(sweeps).where(sweeps.c.id == sweep_id))
    return left, folders


def lock(tx: Connection, sweep_id: int) -> AnyRow:
    """A sweep's row, locked until the end of the transaction: it neither grows nor goes. Raises NotFound."""
    locked = select(sweeps).where(sweeps.c.id == sweep_id).with_for_update()
    row = tx.execute(locked).one_or_none() if is_id(sweep_id) else None
    if row is None:
        raise NotFound(sweep_id, "sweep")
    return row


def _with_progress(tx: Connection, rows: Sequence[AnyRow]) -> list[Sweep]:
    # By what they are like, so that the members that have been measured tell of those that have not.
    groups_of_members = tx.execute(
        select(
            experiments.c.sweep_id,
            experiments.c.state,
            experiments.c.pack_key,
            experiments.c.device,
            EPOCHS_LEFT.label("left"),
            func.count().label("n"),
            func.min(experiments.c.position).label("first"),
            func.sum(experiments.c.epochs_done).label("epochs_done"),
            func.sum(experiments.c.epochs_total).label("epochs_total"),
            func.count(experiments.c.epoch_seconds).label("measured"),
            func.avg(experiments.c.epoch_seconds).label("epoch_seconds"),
        )
        .where(experiments.c.sweep_id.in_([row.id for row in rows]))
        .group_by(
            experiments.c.sweep_id, experiments.c.state, experiments.c.pack_key, experiments.c.device, EPOCHS_LEFT
        )
    )
    groups: dict[int, list[AnyRow]] = {row.id: [] for row in rows}
    for group in groups_of_members:
        groups[group.sweep_id].append(group)
    counts = {sweep_id: _counts(members) for sweep_id, members in groups.items()}
    slots = serving_slots(tx)
    waits = any(of_states[State.QUEUED] for of_states in counts.values())
    places = first_places(tx, experiments.c.sweep_id, slots) if waits else {}
    limits = turns.limits(tx) if waits else {}
    because = {
        row.id: _because(
            tx, groups[row.id], counts[row.id], places.get(row.id), slots, limited_because(row.owner, limits)
        )
        for row in rows
    }
    return [_sweep(row, groups[row.id], counts[row.id], because[row.id], slots) for row in rows]


def _counts(members: Sequence[AnyRow]) -> dict[State, int]:
    counts = dict.fromkeys(State, 0)
    for group in members:
        counts[State(group.state)] += group.n
    return counts


def _because(
    tx: Connection,
    members: Sequence[AnyRow],
    counts: Mapping[State, int],
    place: Place | None,
    slots: Slots,
    limited: str | None,
) -> str | None:
    if not counts[State.QUEUED]:
        return PAUSED if counts[State.PAUSED] and not counts[State.RUNNING] else None
    first = place is not None and place.before == 0
    if counts[State.RUNNING] and (first or not slots.total):
        return None
    if place is not None and first:
        return outlook(tx, [get_experiment(tx, place.experiment_id)])[0].waiting_because
    nobody = nobody_because({DeviceType(group.device) for group in members if group.state == State.QUEUED}, slots)
    return nobody or queued_because(place, "its next" if counts[State.RUNNING] else "it", limited)


def _sweep(
    row: AnyRow, members: Sequence[AnyRow], counts: dict[State, int], because: str | None, slots: Slots
) -> Sweep:
    return Sweep(
        id=row.id,
        name=row.name,
        preset=row.preset,
        owner=row.owner,
        device=DeviceType(row.device),
        grids=_grids(row),
        extends=row.extends,
        created_ms=row.created_ms,
        counts=counts,
        epochs_done=sum(int(group.epochs_done) for group in members),
        epochs_total=sum(int(group.epochs_total) for group in members),
        eta_seconds=_eta_seconds(members, slots),
        waiting_because=because,
    )


def _eta_seconds(members: Sequence[AnyRow], slots: Slots) -> float | None:
    mean = epoch_seconds_by_pack_key(
        (group.pack_key, group.epoch_seconds, group.measured) for group in members if group.measured
    )
    waiting = [group for group in members if group.state in (State.RUNNING, State.QUEUED)]
    if not waiting or not mean:
        return None
    of_any = fmean(mean.values())
    waiting.sort(key=lambda group: (group.state != State.RUNNING, group.first))
    pieces = (_pieces(group, mean.get(group.pack_key, of_any)) for group in waiting)
    return makespan(chain.from_iterable(pieces), slots)


def _pieces(group: AnyRow, seconds: float) -> Iterable[tuple[DeviceType, float]]:
    """Seconds of each; of one that runs, as this attempt has been measured."""
    measured = group.epoch_seconds if group.state == State.RUNNING else None
    return repeat((DeviceType(group.device), group.left * float(measured or seconds)), group.n)


def _json(grids: Sequence[Grid]) -> str:
    return json.dumps([grid._asdict() for grid in grids])


def _grids(row: AnyRow) -> list[Grid]:
    return [Grid(**grid) for grid in json.loads(row.grids)]
