"""What happened to an experiment, in order: written in the transaction that made it happen, never changed. Nothing is
decided by an event; they are for people.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, insert, select

from core.states import State
from core.store.clock import now_ms
from core.store.session import actor_of
from core.store.tables import events, is_id, workers
from core.store.workers import NAME


class EventKind(StrEnum):
    """What an event tells. Where nothing more is to be said of a move, it is the state that was come to."""

    SUBMITTED = "submitted"  # it is there, and queued
    EXTENDS = "extends"  # it goes on from where another ended
    WARNING = "warning"  # its spec is allowed, and seldom meant, or slow where it is trained
    PRIORITY = "priority"  # it got another place in the queue
    CLAIMED = "claimed"  # a worker holds it and trains it: an attempt begins
    RESUMED = "resumed"  # the attempt goes on from a checkpoint
    NUMERICS_CHANGED = "numerics_changed"  # that was trained under another numerics key: bits may differ from here on
    REQUESTED = "requested"  # its worker is asked to cancel or pause it
    WITHDRAWN = "withdrawn"  # and is asked no more
    RELEASED = "released"  # its worker gave it back on purpose, to its old place in the queue
    LEASE_LOST = "lease_lost"  # its worker fell silent, and it was taken back
    REPLAY_MISMATCH = "replay_mismatch"  # an epoch, trained again, came out otherwise than the row that stands
    CHECKPOINT_DAMAGED = "checkpoint_damaged"  # its bytes are not those that were written: given up
    CHECKPOINT_UNREACHABLE = "checkpoint_unreachable"  # the attempt begins before it
    CHECKPOINT_FAILED = "checkpoint_failed"  # it could not be written: training goes on
    QUEUED = "queued"  # resumed or retried by its user
    PAUSED = "paused"  # as its user wished
    CANCELLED = "cancelled"  # as its user wished
    SUCCEEDED = "succeeded"  # its curve is whole
    FAILED = "failed"  # ended by an error


@dataclass(frozen=True, slots=True)
class Event:
    id: int
    experiment_id: int
    at_ms: int
    kind: str  # an EventKind, or what a newer Ballast has recorded
    from_state: State | None
    to_state: State | None
    attempt: int
    worker: str | None  # "host:pid"
    detail: str | None
    actor: str | None  # in whose name: of a token, `local` or `worker`; None where nobody has kept it


def record(
    tx: Connection,
    experiment_id: int,
    kind: EventKind,
    *,
    attempt: int = 0,
    from_state: State | None = None,
    to_state: State | None = None,
    worker_id: int | None = None,
    detail: str | None = None,
) -> None:
    own = {"experiment_id": experiment_id, "attempt": attempt, "worker_id": worker_id}
    record_all(tx, kind, [own], from_state=from_state, to_state=to_state, detail=storable(detail) if detail else None)


def record_all(tx: Connection, kind: EventKind, own: Sequence[Mapping[str, Any]], **shared: str | None) -> None:
    """One event for each of `own`: its experiment, and the columns that differ between them."""
    if own:
        columns = {"at_ms": now_ms(), "kind": kind, "attempt": 0, "actor": actor_of(tx), **shared}
        tx.execute(insert(events).values(columns), own)


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
            actor=row.actor,
        )
        for row in rows
    ]
