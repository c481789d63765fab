"""Experiments: submitted, read, listed, given another priority, deleted. Their states change in `moves`; what is
done to many at once is the concern of `sweeps`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

from sqlalchemy import Connection, Insert, delete, func, insert, select

from core.spec import Spec
from core.states import ENDED, WAITING, DeviceType, ErrorKind, State, Wish
from core.store import checkpoints, events, quotas, turns
from core.store.clock import now_ms
from core.store.errors import NotAllowed, NotFound
from core.store.events import EventKind
from core.store.moves import lock
from core.store.ranks import change_priority, rank
from core.store.session import actor_of
from core.store.slots import device_of
from core.store.tables import LARGEST, AnyRow, curve_rows, experiments, is_id, workers
from core.store.workers import NAME


@dataclass(frozen=True, slots=True)
class ExperimentError:
    """Why it failed."""

    kind: ErrorKind
    message: str
    traceback: str | None = None


class LastRow(NamedTuple):
    """Of its curve, as far as it has come: how many images were predicted as the base class."""

    epoch: int
    base_in_domain: int
    n_in_domain: int
    finite_in_domain: int  # images whose logits are all finite
    base_out_of_domain: int
    n_out_of_domain: int
    finite_out_of_domain: int


@dataclass(frozen=True, slots=True)
class Experiment:
    id: int
    revision: int
    name: str
    state: State
    spec: dict[str, Any]  # every field filled
    digest: str
    pack_key: str
    dataset: str
    model: str
    importance_weight: str
    sweep_id: int | None
    position: int | None
    owner: str
    device: DeviceType
    priority: int
    queued_ms: int
    requeued_ms: int | None
    rank: int
    attempt: int
    failures: int
    epochs_done: int
    attempt_epoch: int
    epochs_total: int
    checkpoint_row: int
    checkpoint_step: int
    checkpoint_device_kind: str | None  # on which the newest was written
    requested: Wish | None
    worker_id: int | None
    worker: str | None  # "host:pid" of who holds it
    lease_until_ms: int | None
    error: ExperimentError | None
    extends: int | None
    diverged_at: int | None
    replay_mismatch_from: int | None
    provenance: dict[str, Any] | None
    epoch_seconds: float | None
    progress_ms: int | None
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    last_row: LastRow | None  # None: there is none yet
    read_ms: int = field(compare=False)  # the database's time of this reading


def submit(tx: Connection, spec: Spec, priority: int = 0, device: DeviceType = DeviceType.ANY) -> Experiment:
    """A new experiment, queued; its owner is who acts. Raises QueueFull, WrongDevice."""
    owner = actor_of(tx)
    columns = _spec_columns(spec)
    quotas.require_room(tx, [owner])
    turns.remember(tx, owner)
    row = _insert_queued(priority, owner).values(columns | {"device": device_of(spec, device)})
    experiment_id: int = tx.execute(row.returning(experiments.c.id)).scalar_one()
    _record_submitted(tx, [experiment_id], [spec])
    return get(tx, experiment_id)


def submit_members(
    tx: Connection,
    specs: Sequence[Spec],
    devices: Sequence[DeviceType],
    priority: int,
    sweep_id: int,
    owner: str,
    *,
    seeds: Sequence[int],
    first_position: int = 0,
) -> None:
    """New members of an owner's sweep, at `first_position` and after in the order of `specs`; queued seed by seed, in
    the order of `seeds`, which is empty where all have the same. `devices`: on what each may train. Raises
    QueueFull."""
    if not specs:
        return
    quotas.require_room(tx, repeat(owner, len(specs)))
    places = {seed: place for place, seed in enumerate(seeds)}
    queue = sorted(enumerate(specs, first_position), key=lambda member: places.get(member[1].seed, 0))
    # Ids in the order of the queue, which they decide wherever ranks are equal (core/store/README.md, "The queue").
    rows = [
        _spec_columns(spec) | {"position": position, "device": devices[position - first_position]}
        for position, spec in queue
    ]
    # Without RETURNING, which takes thrice as long on PostgreSQL; positions are never given again.
    tx.execute(_insert_queued(priority, owner).values(sweep_id=sweep_id), rows)
    added = tx.execute(
        select(experiments.c.id)
        .where(experiments.c.sweep_id == sweep_id, experiments.c.position >= first_position)
        .order_by(experiments.c.position)
    )
    _record_submitted(tx, list(added.scalars()), specs)


def _insert_queued(priority: int, owner: str) -> Insert:
    return insert(experiments).values(
        owner=owner,
        revision=1,
        state=State.QUEUED,
        priority=priority,
        queued_ms=now_ms(),
        requeued_ms=now_ms(),
        rank=rank(priority),
        attempt=0,
        failures=0,
        epochs_done=0,
        attempt_epoch=0,
        created_ms=now_ms(),
    )


def _spec_columns(spec: Spec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "spec": spec.model_dump_json(),
        "digest": spec.digest,
        "pack_key": spec.pack_key,
        "dataset": spec.dataset.name,
        "model": spec.model.name,
        "importance_weight": spec.importance_weight,
        "epochs_total": spec.epochs,
    }


def _record_submitted(tx: Connection, ids: Sequence[int], specs: Sequence[Spec]) -> None:
    events.record_all(tx, EventKind.SUBMITTED, [{"experiment_id": each} for each in ids], to_state=State.QUEUED)
    warnings = [
        {"experiment_id": each, "detail": sentence}
        for each, spec in zip(ids, specs, strict=True)
        for sentence in spec.warnings()
    ]
    events.record_all(tx, EventKind.WARNING, warnings)


_LAST_ROW = [curve_rows.c[name].label(f"last_{name}") for name in LastRow._fields]

# An experiment, the name of who holds it, and the last row of its curve, both by their keys.
_SELECT = (
    select(experiments, NAME.label("worker"), now_ms().label("read_ms"), *_LAST_ROW)
    .outerjoin(workers, workers.c.id == experiments.c.worker_id)
    .outerjoin(
        curve_rows,
        (curve_rows.c.experiment_id == experiments.c.id) & (curve_rows.c.epoch == experiments.c.epochs_done),
    )
)


def get(tx: Connection, experiment_id: int) -> Experiment:
    """The experiment. Raises NotFound."""
    if not is_id(experiment_id):
        raise NotFound(experiment_id)
    row = tx.execute(_SELECT.where(experiments.c.id == experiment_id)).one_or_none()
    if row is None:
        raise NotFound(experiment_id)
    return _experiment(row)


def owner_of(tx: Connection, experiment_id: int) -> str:
    """Raises NotFound."""
    found = select(experiments.c.owner).where(experiments.c.id == min(experiment_id, LARGEST))
    owner: str | None = tx.execute(found).scalar()
    if owner is None:
        raise NotFound(experiment_id)
    return owner


def list_newest(
    tx: Connection,
    *,
    state: State | None = None,
    sweep_id: int | None = None,
    dataset: str | None = None,
    model: str | None = None,
    importance_weight: str | None = None,
    limit: int,
    before: int | None = None,
) -> list[Experiment]:
    """At most `limit` experiments that match, newest first; with `before`, those with a smaller id."""
    wanted = {
        "state": state,
        "sweep_id": None if sweep_id is None else min(sweep_id, LARGEST),
        "dataset": dataset,
        "model": model,
        "importance_weight": importance_weight,
    }
    query = _SELECT.order_by(experiments.c.id.desc()).limit(limit)
    for column, value in wanted.items():
        if value is not None:
            query = query.where(experiments.c[column] == value)
    if before is not None:
        query = query.where(experiments.c.id < min(max(before, 0), LARGEST))
    return [_experiment(row) for row in tx.execute(query)]


def members(tx: Connection, sweep_id: int, limit: int, first_position: int = 0) -> list[Experiment]:
    """At most `limit` members of a sweep, at `first_position` and after, in the order of their positions."""
    position = experiments.c.position
    of_sweep = _SELECT.where(experiments.c.sweep_id == sweep_id, position >= min(first_position, LARGEST))
    return [_experiment(row) for row in tx.execute(of_sweep.order_by(position).limit(limit))]


def newest_with_digest(tx: Connection, spec: Spec) -> Experiment | None:
    """The newest experiment of the same digest that has neither failed nor been cancelled, nor is going to be; None if
    there is none. Whoever looks for the same digest meanwhile waits for the end of this transaction."""
    lock_digest(tx, spec.digest)
    row = tx.execute(
        _SELECT.where(
            experiments.c.digest == spec.digest,
            experiments.c.state.not_in((State.FAILED, State.CANCELLED)),
            experiments.c.requested.is_distinct_from(Wish.CANCEL),
        )
        .order_by(experiments.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _experiment(row)


def lock_digest(tx: Connection, digest: str) -> None:
    """Whoever looks for this digest meanwhile waits for the end of this transaction."""
    if tx.dialect.name == "postgresql":  # SQLite's write transaction is such a lock by itself
        number = int.from_bytes(bytes.fromhex(digest)[:8], signed=True)
        tx.execute(select(func.pg_advisory_xact_lock(number)))


def set_priority(tx: Connection, experiment_id: int, priority: int) -> Experiment:
    """Another place in the queue. Raises NotFound, and NotAllowed where it does not wait."""
    now = lock(tx, experiment_id)
    if now.state not in WAITING:
        raise NotAllowed(experiment_id, State(now.state), "only one that is queued or paused has a place in the queue")
    change_priority(tx, [now], priority)
    return get(tx, experiment_id)


def remove(tx: Connection, experiment_id: int) -> set[str]:
    """Delete it with all that was measured. Returns the folders of its checkpoints, for `files.tidy`. Raises NotFound,
    and NotAllowed before it has ended."""
    now = lock(tx, experiment_id)
    if now.state not in ENDED:
        raise NotAllowed(experiment_id, State(now.state), "only one that has ended can be deleted: cancel it first")
    folders = checkpoints.folders_of(tx, [experiment_id])
    tx.execute(delete(experiments).where(experiments.c.id == experiment_id))
    return folders


def _experiment(row: AnyRow) -> Experiment:
    fields = dict(row._mapping)
    kind, message, traceback = (fields.pop(f"error_{part}") for part in ("kind", "message", "traceback"))
    last = LastRow(*(fields.pop(column.name) for column in _LAST_ROW))
    fields["last_row"] = None if last.epoch is None else last
    fields["error"] = ExperimentError(ErrorKind(kind), message, traceback) if kind else None
    fields["state"] = State(row.state)
    fields["device"] = DeviceType(row.device)
    fields["checkpoint_device_kind"] = fields.pop("checkpoint_kind")
    fields["spec"] = json.loads(row.spec)
    fields["requested"] = Wish(row.requested) if row.requested else None
    fields["provenance"] = json.loads(row.provenance) if row.provenance else None
    return Experiment(**fields)


def error_columns(error: ExperimentError) -> dict[str, str | None]:
    """How it is stored: `_experiment` the other way round."""
    return {
        "error_kind": error.kind,
        "error_message": events.storable(error.message),
        "error_traceback": events.storable(error.traceback) if error.traceback else None,
    }
