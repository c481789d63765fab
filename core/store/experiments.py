"""Experiments: submitted, read, listed, cancelled; and the one place where a state changes (`move`)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select, update

from core.spec import Spec
from core.states import ENDED, MOVES, ErrorKind, State, Wish
from core.store import events
from core.store.clock import now_ms
from core.store.errors import ClaimLost, NotAllowed, NotFound
from core.store.tables import LARGEST, AnyRow, experiments, is_id, literally, workers
from core.store.workers import NAME

_HOUR_MS = 3_600_000  # a point of priority is worth an hour of waiting


@dataclass(frozen=True, slots=True)
class ExperimentError:
    """Why it failed."""

    kind: ErrorKind
    message: str
    traceback: str | None = None


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
    priority: int
    queued_ms: int
    rank: int
    attempt: int
    failures: int
    epochs_done: int
    epochs_total: int
    requested: Wish | None
    worker_id: int | None
    worker: str | None  # "host:pid" of who holds it
    lease_until_ms: int | None
    error: ExperimentError | None
    extends: int | None
    diverged_at: int | None
    replay_mismatch_from: int | None
    provenance: dict[str, Any] | None
    created_ms: int
    started_ms: int | None
    ended_ms: int | None


def rank(priority: int | ColumnElement[int]) -> ColumnElement[int]:
    """The place in the queue of what is queued now."""
    return now_ms() - priority * _HOUR_MS


def submit(tx: Connection, spec: Spec, priority: int = 0) -> Experiment:
    """A new experiment, queued."""
    row = insert(experiments).values(
        revision=1,
        name=spec.name,
        state=State.QUEUED,
        spec=spec.model_dump_json(),
        digest=spec.digest,
        pack_key=spec.pack_key,
        dataset=spec.dataset.name,
        model=spec.model.name,
        importance_weight=spec.importance_weight,
        priority=priority,
        queued_ms=now_ms(),
        rank=rank(priority),
        attempt=0,
        failures=0,
        epochs_done=0,
        epochs_total=spec.epochs,
        created_ms=now_ms(),
    )
    experiment_id: int = tx.execute(row.returning(experiments.c.id)).scalar_one()
    events.record(tx, experiment_id, "submitted", to_state=State.QUEUED)
    for sentence in spec.warnings():
        events.record(tx, experiment_id, "warning", detail=sentence)
    return get(tx, experiment_id)


_SELECT = select(experiments, NAME.label("worker")).outerjoin(workers, workers.c.id == experiments.c.worker_id)


def get(tx: Connection, experiment_id: int) -> Experiment:
    """The experiment. Raises NotFound."""
    if not is_id(experiment_id):
        raise NotFound(experiment_id)
    row = tx.execute(_SELECT.where(experiments.c.id == experiment_id)).one_or_none()
    if row is None:
        raise NotFound(experiment_id)
    return _experiment(row)


def list_newest(
    tx: Connection,
    *,
    state: State | None = None,
    dataset: str | None = None,
    model: str | None = None,
    importance_weight: str | None = None,
    limit: int,
    before: int | None = None,
) -> list[Experiment]:
    """At most `limit` experiments that match, newest first; with `before`, those with a smaller id."""
    wanted = {"state": state, "dataset": dataset, "model": model, "importance_weight": importance_weight}
    query = _SELECT.order_by(experiments.c.id.desc()).limit(limit)
    for column, value in wanted.items():
        if value is not None:
            query = query.where(experiments.c[column] == value)
    if before is not None:
        query = query.where(experiments.c.id < min(max(before, 0), LARGEST))
    return [_experiment(row) for row in tx.execute(query)]


def cancel(tx: Connection, experiment_id: int) -> Experiment:
    """Cancelled at once, or asked for where a worker must obey first; the same again changes nothing.

    Raises NotFound, and NotAllowed once it has succeeded or failed.
    """
    now = _lock(tx, experiment_id)
    match now.state:
        case State.QUEUED | State.PAUSED:
            move(tx, experiment_id, now.attempt, State(now.state), State.CANCELLED)
        case State.RUNNING if now.requested != Wish.CANCEL:
            _request(tx, now, Wish.CANCEL)
        case State.SUCCEEDED | State.FAILED:
            raise NotAllowed(experiment_id, State(now.state), State.CANCELLED)
    return get(tx, experiment_id)


def move(
    tx: Connection,
    experiment_id: int,
    attempt: int,
    origin: State,
    to: State,
    *,
    kind: str | None = None,
    worker_id: int | None = None,
    detail: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Change the state by compare-and-set on (state, attempt), and what else `changes` with it; with the event, whose
    kind is the new state unless said.

    Raises ClaimLost if another was faster, NotAllowed if there is no such move.
    """
    if to not in MOVES[origin]:
        raise NotAllowed(experiment_id, origin, to)
    values: dict[str, Any] = {"state": to, "revision": experiments.c.revision + 1, **(changes or {})}
    if origin is State.RUNNING:
        values |= {"worker_id": None, "lease_until_ms": None, "requested": None}
    if to in ENDED:
        values["ended_ms"] = now_ms()
    # Only the state and the attempt that the caller has seen may change.
    moved = tx.execute(
        update(experiments)
        .where(
            experiments.c.id == experiment_id,
            experiments.c.attempt == attempt,
            experiments.c.state == literally(origin),
        )
        .values(values)
        .returning(experiments.c.attempt)
    ).one_or_none()
    if moved is None:
        raise ClaimLost(experiment_id, attempt)
    events.record(
        tx,
        experiment_id,
        kind or str(to),
        from_state=origin,
        to_state=to,
        attempt=moved.attempt,
        worker_id=worker_id,
        detail=detail,
    )


def _lock(tx: Connection, experiment_id: int) -> AnyRow:
    if not is_id(experiment_id):
        raise NotFound(experiment_id)
    # What a wish depends on, held until the end of the transaction.
    row = tx.execute(
        select(
            experiments.c.id,
            experiments.c.state,
            experiments.c.attempt,
            experiments.c.requested,
            experiments.c.worker_id,
        )
        .where(experiments.c.id == experiment_id)
        .with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        raise NotFound(experiment_id)
    return row


def _request(tx: Connection, now: AnyRow, wish: Wish) -> None:
    tx.execute(
        update(experiments)
        .where(experiments.c.id == now.id)
        .values(requested=wish, revision=experiments.c.revision + 1)
    )
    events.record(tx, now.id, "requested", attempt=now.attempt, worker_id=now.worker_id, detail=wish)


def _experiment(row: AnyRow) -> Experiment:
    fields = dict(row._mapping)
    kind, message, traceback = (fields.pop(f"error_{part}") for part in ("kind", "message", "traceback"))
    fields["error"] = ExperimentError(ErrorKind(kind), message, traceback) if kind else None
    fields["state"] = State(row.state)
    fields["spec"] = json.loads(row.spec)
    fields["requested"] = Wish(row.requested) if row.requested else None
    fields["provenance"] = json.loads(row.provenance) if row.provenance else None
    return Experiment(**fields)
