"""The one place where the state of an experiment changes, with its event; and the locks on experiments' rows.

A change is a compare-and-set on (state, attempt), or is made to rows that the transaction has locked. What else changes
with a state is said by whoever moves it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, select, update

from core.states import ENDED, MOVES, State
from core.store import events
from core.store.clock import now_ms
from core.store.errors import ClaimLost, NotAllowed, NotFound
from core.store.events import EventKind
from core.store.tables import AnyRow, experiments, is_id, literally

_Each = TypeVar("_Each")


def lock(tx: Connection, experiment_id: int) -> AnyRow:
    """An experiment's row, locked until the end of the transaction: what may become of it depends on it. Raises
    NotFound."""
    rows = lock_all(tx, experiments.c.id == experiment_id) if is_id(experiment_id) else []
    if not rows:
        raise NotFound(experiment_id)
    return rows[0]


def lock_all(tx: Connection, which: ColumnElement[bool], limit: int | None = None) -> Sequence[AnyRow]:
    """The rows of several, in the order of their ids: two that lock so never wait for each other."""
    return tx.execute(
        select(
            experiments.c.id,
            experiments.c.state,
            experiments.c.attempt,
            experiments.c.requested,
            experiments.c.worker_id,
            experiments.c.priority,
            experiments.c.error_kind,
        )
        .where(which)
        .order_by(experiments.c.id)
        .limit(limit)
        .with_for_update(key_share=True)
    ).all()


def move(
    tx: Connection,
    experiment_id: int,
    attempt: int,
    origin: State,
    to: State,
    *,
    kind: EventKind | None = None,
    worker_id: int | None = None,
    detail: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Change the state by compare-and-set on (state, attempt), and what else `changes` with it; with the event, whose
    kind is the new state unless said.

    Raises ClaimLost if another was faster, NotAllowed if there is no such move.
    """
    if to not in MOVES[origin]:
        raise NotAllowed(experiment_id, origin, f"it cannot become {to}")
    # Only the state and the attempt that the caller has seen may change.
    moved = tx.execute(
        update(experiments)
        .where(
            experiments.c.id == experiment_id,
            experiments.c.attempt == attempt,
            experiments.c.state == literally(origin),
        )
        .values(_columns(origin, to, changes))
        .returning(experiments.c.attempt)
    ).one_or_none()
    if moved is None:
        raise ClaimLost(experiment_id, attempt)
    events.record(
        tx,
        experiment_id,
        kind or EventKind(to),
        from_state=origin,
        to_state=to,
        attempt=moved.attempt,
        worker_id=worker_id,
        detail=detail,
    )


def move_all(
    tx: Connection, locked: Sequence[AnyRow], origin: State, to: State, *, changes: Mapping[str, Any] | None = None
) -> None:
    """`move` for many that wait or have ended, all in `origin`, whose rows this transaction has locked."""
    if to not in MOVES[origin] or origin is State.RUNNING:
        raise ValueError(f"{origin} to {to}")
    values = _columns(origin, to, changes)
    for part in in_parts(locked):
        tx.execute(update(experiments).where(experiments.c.id.in_([row.id for row in part])).values(values))
    moved = [{"experiment_id": row.id, "attempt": row.attempt} for row in locked]
    events.record_all(tx, EventKind(to), moved, from_state=origin, to_state=to)


def _columns(origin: State, to: State, changes: Mapping[str, Any] | None) -> dict[str, Any]:
    columns = {"state": to, "revision": experiments.c.revision + 1, **(changes or {})}
    if origin is State.RUNNING:
        columns |= {"worker_id": None, "lease_until_ms": None, "requested": None, "attempt_epoch": 0}
    if to in ENDED:
        columns["ended_ms"] = now_ms()
    if to is State.QUEUED:
        columns["requeued_ms"] = now_ms()
    return columns


def in_parts(rows: Sequence[_Each]) -> Iterator[Sequence[_Each]]:
    """A statement takes only so many parameters."""
    return (rows[start : start + 1000] for start in range(0, len(rows), 1000))
