"""Sweeps: submitted whole or not at all, read, grown, wished for and deleted.

Whoever changes a sweep locks its row first, then its members in the order of their ids.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from sqlalchemy import Connection, case, delete, func, insert, select, update

from core.spec import Spec
from core.states import ENDED, WAITING, Ask, State, Wish
from core.store import checkpoints, wishes
from core.store.clock import now_ms
from core.store.errors import NotFound, SweepChanged
from core.store.experiments import lock_all, lock_digest, prioritise, submit_members
from core.store.outlook import PAUSED, head_because, places_by, queued_because
from core.store.tables import LARGEST, AnyRow, experiments, is_id, sweeps
from core.store.workers import takers
from core.sweeps import Grid, refuse_too_many

_DELETED_AT_ONCE = 100  # members with their curves: a heartbeat must not wait long for SQLite


@dataclass(frozen=True, slots=True)
class Sweep:
    id: int
    name: str
    preset: str | None
    grids: list[Grid]
    created_ms: int
    counts: dict[State, int]  # of members, by every state
    epochs_done: int
    epochs_total: int
    eta_seconds: float | None  # None: nothing left, nothing measured yet, or nobody to train it
    waiting_because: str | None  # of one that is not over, and none of whose members is running


def submit(
    tx: Connection,
    grids: Sequence[Grid],
    specs: Sequence[Spec],
    *,
    name: str = "",
    preset: str | None = None,
    priority: int = 0,
) -> int:
    """The id of a new sweep, its members queued in their order."""
    row = insert(sweeps).values(
        name=name, preset=preset, grids=_json(grids), next_position=len(specs), created_ms=now_ms()
    )
    sweep_id: int = tx.execute(row.returning(sweeps.c.id)).scalar_one()
    submit_members(tx, specs, priority, sweep_id)
    return sweep_id


def get(tx: Connection, sweep_id: int) -> Sweep:
    """Raises NotFound."""
    row = tx.execute(select(sweeps).where(sweeps.c.id == sweep_id)).one_or_none() if is_id(sweep_id) else None
    if row is None:
        raise NotFound(sweep_id, "sweep")
    return _with_progress(tx, [row])[0]


def list_newest(tx: Connection, limit: int, before: int | None = None) -> list[Sweep]:
    """At most `limit` sweeps, newest first; with `before`, those with a smaller id."""
    query = select(sweeps).order_by(sweeps.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(sweeps.c.id < min(before, LARGEST))
    return _with_progress(tx, tx.execute(query).all())


def newest_of(tx: Connection, specs: Sequence[Spec]) -> int | None:
    """The newest sweep of just these specs, none of whose members is cancelled, or going to be; None if there is none.
    Whoever looks for the same meanwhile waits for the end of this transaction."""
    first = specs[0].digest
    lock_digest(tx, first)
    member = experiments.c.sweep_id
    candidates = select(member).where(experiments.c.digest == first, member.is_not(None)).distinct()
    wanted = {spec.digest for spec in specs}
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
) -> None:
    """Let its `grids` become the `larger` ones, and add those of their `specs` that the sweep has not. Raises NotFound,
    BadSweep, and SweepChanged where its grids are others by now."""
    sweep = _lock(tx, sweep_id)
    if _grids(sweep) != list(grids):
        raise SweepChanged(sweep_id)
    new = missing(tx, sweep_id, specs)
    submit_members(tx, new, priority, sweep_id, sweep.next_position)
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
    """The wish for every member that can have it. Raises NotFound."""
    _lock(tx, sweep_id)
    wishes.ask_all(tx, lock_all(tx, experiments.c.sweep_id == sweep_id), what)
    return get(tx, sweep_id)


def set_priority(tx: Connection, sweep_id: int, priority: int) -> Sweep:
    """Another place in the queue for every member that waits. Raises NotFound."""
    _lock(tx, sweep_id)
    waiting = (experiments.c.sweep_id == sweep_id) & experiments.c.state.in_(WAITING)
    prioritise(tx, lock_all(tx, waiting), priority)
    return get(tx, sweep_id)


def remove_some(tx: Connection, sweep_id: int) -> tuple[Sweep, set[str]]:
    """Delete some of the members that have ended, and the sweep with its last member. Returns what is left, and the
    folders of the checkpoints, for `files.tidy`. Raises NotFound."""
    row = _lock(tx, sweep_id)
    ended = (experiments.c.sweep_id == sweep_id) & experiments.c.state.in_(ENDED)
    some = [member.id for member in lock_all(tx, ended, limit=_DELETED_AT_ONCE)]
    folders = checkpoints.folders_of(tx, some)
    tx.execute(delete(experiments).where(experiments.c.id.in_(some)))
    (left,) = _with_progress(tx, [row])
    if not any(left.counts.values()):
        tx.execute(delete(sweeps).where(sweeps.c.id == sweep_id))
    return left, folders


def _lock(tx: Connection, sweep_id: int) -> AnyRow:
    locked = select(sweeps).where(sweeps.c.id == sweep_id).with_for_update()
    row = tx.execute(locked).one_or_none() if is_id(sweep_id) else None
    if row is None:
        raise NotFound(sweep_id, "sweep")
    return row


def _with_progress(tx: Connection, rows: Sequence[AnyRow]) -> list[Sweep]:
    left = experiments.c.epochs_total - experiments.c.attempt_epoch
    # Members that are alike, so that one which has been measured tells of those that have not.
    alike = tx.execute(
        select(
            experiments.c.sweep_id,
            experiments.c.state,
            experiments.c.pack_key,
            func.count().label("n"),
            func.sum(experiments.c.epochs_done).label("epochs_done"),
            func.sum(experiments.c.epochs_total).label("epochs_total"),
            func.sum(left * experiments.c.epoch_seconds).label("seconds"),
            func.sum(case((experiments.c.epoch_seconds.is_(None), left), else_=0)).label("unmeasured"),
            func.avg(experiments.c.epoch_seconds).label("epoch_seconds"),
        )
        .where(experiments.c.sweep_id.in_([row.id for row in rows]))
        .group_by(experiments.c.sweep_id, experiments.c.state, experiments.c.pack_key)
    )
    groups: dict[int, list[AnyRow]] = {row.id: [] for row in rows}
    for group in alike:
        groups[group.sweep_id].append(group)
    counts = {sweep_id: _counts(members) for sweep_id, members in groups.items()}
    places = places_by(tx, experiments.c.sweep_id) if any(map(_waits, counts.values())) else {}
    workers = takers(tx)
    because = {
        sweep_id: head_because(tx) if places.get(sweep_id) == 0 else queued_because(places.get(sweep_id), workers)
        for sweep_id, of_states in counts.items()
        if _waits(of_states)
    }
    return [_sweep(row, groups[row.id], counts[row.id], because.get(row.id), workers) for row in rows]


def _counts(members: Sequence[AnyRow]) -> dict[State, int]:
    counts = dict.fromkeys(State, 0)
    for group in members:
        counts[State(group.state)] += group.n
    return counts


def _waits(counts: Mapping[State, int]) -> bool:
    return bool(counts[State.QUEUED]) and not counts[State.RUNNING]


def _sweep(
    row: AnyRow, members: Sequence[AnyRow], counts: dict[State, int], because: str | None, workers: int
) -> Sweep:
    return Sweep(
        id=row.id,
        name=row.name,
        preset=row.preset,
        grids=_grids(row),
        created_ms=row.created_ms,
        counts=counts,
        epochs_done=sum(int(group.epochs_done) for group in members),
        epochs_total=sum(int(group.epochs_total) for group in members),
        eta_seconds=_eta_seconds(members, workers),
        waiting_because=because or (PAUSED if counts[State.PAUSED] and not counts[State.RUNNING] else None),
    )


def _eta_seconds(members: Sequence[AnyRow], workers: int) -> float | None:
    waiting = [group for group in members if group.state in (State.QUEUED, State.RUNNING)]
    measured: dict[str, list[float]] = {}
    for group in members:
        if group.epoch_seconds is not None:
            measured.setdefault(group.pack_key, []).append(group.epoch_seconds)
    if not waiting or not workers or not measured:
        return None
    of_its_like = {pack_key: fmean(seconds) for pack_key, seconds in measured.items()}
    of_any = fmean(of_its_like.values())
    seconds = sum(
        float(group.seconds or 0) + int(group.unmeasured) * of_its_like.get(group.pack_key, of_any) for group in waiting
    )
    return seconds / min(workers, sum(int(group.n) for group in waiting))


def _json(grids: Sequence[Grid]) -> str:
    return json.dumps([grid._asdict() for grid in grids])


def _grids(row: AnyRow) -> list[Grid]:
    return [Grid(**grid) for grid in json.loads(row.grids)]
