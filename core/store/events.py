"""What happened to an experiment, in order. Written in the transaction that made it happen, never changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from core.states import State
from core.store.clock import now_ms
from core.store.tables import events, is_id, workers
from core.store.workers import NAME


@dataclass(frozen=True, slots=True)
class Event:
    id: int
    experiment_id: int
    at_ms: int
    # submitted, extends, warning, priority, claimed, resumed, numerics_changed, requested, withdrawn, released,
    # lease_lost, replay_mismatch, checkpoint_damaged, checkpoint_unreachable, checkpoint_failed, or
    # the state it came to
    kind: str
    from_state: State | None
    to_state: State | None
    attempt: int
    worker: str | None  # "host:pid"
    detail: str | None


def record(
    tx: Connection,
    experiment_id: int,
    kind: str,
    *,
    attempt: int = 0,
    from_state: State | None = None,
    to_state: State | None = None,
    worker_id: int | None = None,
    detail: str | None = None,
) -> None:
    own = {"experiment_id": experiment_id, "attempt": attempt, "worker_id": worker_id}
    record_all(tx, kind, [own], from_state=from_state, to_state=to_state, detail=storable(detail) if detail else None)


def record_all(tx: Connection, kind: str, own: Sequence[Mapping[str, Any]], **shared: str | None) -> None:
    """One event for each of `own`: its experiment, and the columns that differ between them."""
    if own:
        tx.execute(insert(events).values({"at_ms": now_ms(), "kind": kind, "attempt": 0, **shared}), own)


def storable(text: str) -> str:
    """Without what PostgreSQL refuses in a text: a file's name may hold half a surrogate pair, a message a NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def read(tx: Connection, experiment_id: int) -> list[Event]:
    """The events of an experiment, oldest first; none if there is no such experiment."""
    if not is_id(experiment_id):
        return []
    # All events of one experiment, with the name of the worker that each concerns.
    rows = tx.execute(
        select(events, NAME.label("worker"))
        .outerjoin(workers, workers.c.id == events.c.worker_id)
        .where(events.c.experiment_id == experiment_id)
        .order_by(events.c.id)
    )
    return [
        Event(
            id=row.id,
            experiment_id=row.experiment_id,
            at_ms=row.at_ms,
            kind=row.kind,
            from_state=State(row.from_state) if row.from_state else None,
            to_state=State(row.to_state) if row.to_state else None,
            attempt=row.attempt,
            worker=row.worker,
            detail=row.detail,
        )
        for row in rows
    ]
